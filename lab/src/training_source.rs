//! What a training reads: a store on disk, or a harvest that runs beside it.

use std::path::Path;

use activations::{Cost, Kept, Store};
use sae::{Error, TrainConfig};

use crate::estimate;
use crate::harvest::{self, Prepared, note_lock};
use crate::made::{Made, ModelMade};
use crate::run_folder::RunFolder;
use crate::training_rows::TrainingRows;
use crate::training_site::TrainingSite;
use crate::{ConfigFile, Context, Result};

/// Where activations come from.
pub(crate) struct TrainingSource {
    pub(crate) store: Store,
    /// The model that they are of.
    pub(crate) model: Option<ModelMade>,
    harvest: Option<Beside>,
}

/// A harvest beside a training.
struct Beside {
    harvest: harvest::Settings,
    /// What the whole text takes, and in how many seconds.
    cost: Cost,
    seconds: f64,
}

impl TrainingSource {
    /// The store in a folder.
    pub(crate) fn stored(folder: &Path) -> Result<Self> {
        Ok(Self {
            store: Store::open(folder)?,
            model: Made::read(folder).and_then(|made| made.model),
            harvest: None,
        })
    }

    /// What the harvest of a config would store, or stores in the run's folder of activations where it is to be kept; nothing is run
    /// yet.
    pub(crate) fn harvested(config: &Path, run: &RunFolder, keep: bool, context: &Context) -> Result<Self> {
        let harvest = harvest::Settings {
            config: ConfigFile {
                path: config.to_owned(),
                set: Vec::new(),
            },
            out: if keep { run.activations() } else { run.0.clone() },
            shard: None,
        };
        let Prepared {
            model,
            tokenizer,
            plan,
            skipped,
        } = harvest.prepare(context)?;
        if let Some(skipped) = skipped {
            context.note(&format!("train: {skipped}"));
        }
        let cost = plan.cost(&model, &tokenizer)?;
        let (seconds, made) = (
            estimate::seconds_of(&cost, &model, context),
            harvest.model_made(&model)?,
        );
        let mut on_lock = |locking| note_lock(locking, &harvest.out, context);
        let kept: Option<Kept<'_>> = keep.then_some((harvest.out.as_path(), &mut on_lock));
        if keep {
            context.note(&format!(
                "train: the model reads {} tokens in about {:.0} s beside the training, or those of the shards that are missing; {:.0} MB of \
                 disk for activations in {}, {:.0} MB of memory to shuffle in",
                cost.tokens,
                seconds.ceil(),
                cost.disk as f64 / 1e6,
                harvest.out.display(),
                cost.window as f64 / 1e6
            ));
        }
        Ok(Self {
            store: Store::live(model, &tokenizer, plan, kept)?,
            model: Some(made),
            harvest: Some(Beside { harvest, cost, seconds }),
        })
    }

    /// Ends a store that was kept, and says what it lacks.
    pub(crate) fn finish(&self, context: &Context) -> Result<()> {
        let Some(Beside { harvest, .. }) = self.harvest.as_ref().filter(|_| self.store.is_kept()) else {
            return Ok(());
        };
        let out = harvest.out.display();
        match (self.store.finish()?, self.model.clone()) {
            (Some(manifest), Some(model)) => {
                harvest.made(&manifest, model, context)?.write(&harvest.out)?;
                context.note(&format!("train: the store in {out} is complete"));
            }
            _ => context.note(&format!(
                "train: the store in {out} lacks shards that no step has asked for; `saelab harvest` with the same config and --out {out} \
                 completes it"
            )),
        }
        Ok(())
    }

    /// Says what the model will read while a site is trained, and what of it is on disk.
    pub(crate) fn tell(
        &self,
        rows: &TrainingRows<'_>,
        site: TrainingSite,
        config: &TrainConfig,
        context: &Context,
    ) -> Result<(), Error> {
        let Some(Beside { cost, seconds, .. }) = self.harvest.as_ref().filter(|_| !self.store.is_kept()) else {
            return Ok(());
        };
        let [sample, steps, held_out] = rows.tokens(config)?;
        let all = sample + steps + held_out;
        context.note(&format!(
            "train: {site}: the model reads {all} tokens, {:.2} times the text, in about {:.0} s: {sample} to find mean and scale, {steps} \
             for the steps, {held_out} at most for what is held out and to look for dead latents; no activations are stored; {:.1} MB of tokens and at the end {:.1} MB of \
             held-out activations are in memory, or, each beyond 64 MB, in a file without a name",
            all as f64 / cost.tokens.max(1) as f64,
            (seconds * all as f64 / cost.tokens.max(1) as f64).ceil(),
            (cost.tokens * size_of::<u32>()) as f64 / 1e6,
            rows.held_out_bytes() as f64 / 1e6,
        ));
        Ok(())
    }
}
