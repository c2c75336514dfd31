//! The autoencoders of a config at one site, trained together on one stream of activations.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dictionaries::{Origin, Trained, Variant};
use sae::{Checkpoints, Finished, Grid, Resumed, TrainConfig};

use crate::finished_notes;
use crate::interrupt::Watch;
use crate::made::Made;
use crate::train::Asked;
use crate::training_cost::TrainingCost;
use crate::training_folder::{Standing, TrainingFolder, TrainingLock};
use crate::training_log::TrainingLog;
use crate::training_rows::TrainingRows;
use crate::training_site::TrainingSite;
use crate::{ConfigError, Error, Result};

/// The training of the autoencoders of a config at one site.
pub(crate) struct SiteTraining<'a> {
    asked: Asked<'a>,
    site: TrainingSite,
    /// Of the autoencoders that this process trains.
    config: &'a TrainConfig,
    checkpoints: Checkpoints,
}

impl<'a> SiteTraining<'a> {
    pub(crate) fn new(asked: Asked<'a>, site: TrainingSite, config: &'a TrainConfig) -> Self {
        let store = &asked.source.store;
        let hashes: Vec<String> = config.variants.iter().map(|variant| config.hash(variant)).collect();
        let checkpoints = Checkpoints {
            dir: asked.run.checkpoints().join(site.dir_name()),
            training: artifacts::sha256_hex(format!("{} {}", hashes.join(" "), store.hash()).as_bytes()),
            parent: store.hash().to_owned(),
        };
        Self {
            asked,
            site,
            config,
            checkpoints,
        }
    }

    /// Trains what is not trained yet with these settings.
    pub(crate) fn run(&self) -> Result<()> {
        let n_variants = self.config.variants.len();
        let to_train = self.unfinished()?.len();
        if to_train < n_variants {
            let trained = match n_variants - to_train {
                1 => "1 autoencoder is".to_owned(),
                n => format!("{n} autoencoders are"),
            };
            self.note(&format!("{}: {trained} already trained with these settings", self.site));
        }
        if to_train == 0 {
            // A process that was killed right after it had finished leaves both.
            self.checkpoints.remove()?;
            for variant in &self.config.variants {
                TrainingLock::remove_abandoned(&self.checkpoints.dir, &variant.name);
            }
            return Ok(());
        }
        let _locks = self.locks()?;
        // Another process may have finished some meanwhile.
        let variants = self.unfinished()?;
        if !variants.is_empty() {
            self.train(&variants)?;
        }
        Ok(self.checkpoints.remove()?)
    }

    /// Trains some of the autoencoders, from the last checkpoint on.
    fn train(&self, variants: &[Variant]) -> Result<()> {
        let (mut grid, mut rows) = self.grid(variants)?;
        let first = self.resume(&mut grid)?;
        for variant in variants {
            self.begin(variant)?;
        }
        let folder = |variant: &Variant| self.folder(variant).unfinished;
        let mut log = TrainingLog::open(variants, first, self.config, folder, self.asked.context)?;
        let done = self.steps(&mut grid, variants, &mut log);
        log.bar.finish_and_clear();
        done?;
        let falls: BTreeMap<String, Option<f64>> = variants
            .iter()
            .map(|variant| (variant.name.clone(), log.last_fall(&variant.name)))
            .collect();
        drop(log);
        let finished = match self.config.stream {
            true => finish_streamed(grid, &mut rows, &self.asked.run.0)?,
            false => grid.finish()?,
        };
        let mut told = BTreeSet::new();
        for finished in finished {
            let (variant, context) = (&finished.variant, self.asked.context);
            self.publish(&finished)?;
            let note = finished_notes::of_activations(self.site, variant, &finished.summary);
            if let Some(note) = note.filter(|_| told.insert(variant.target)) {
                context.note(&note);
            }
            let fall = falls.get(&variant.name).copied().flatten();
            context.note(&finished_notes::of_autoencoder(self.site, &finished, fall));
        }
        Ok(())
    }

    fn note(&self, text: &str) {
        self.asked.context.note(&format!("train: {text}"));
    }

    fn folder(&self, variant: &Variant) -> TrainingFolder {
        let store = &self.asked.source.store;
        TrainingFolder::new(self.asked.run, variant, self.site, self.config, store.hash())
    }

    /// The autoencoders that do not stand in their folders yet.
    fn unfinished(&self) -> Result<Vec<Variant>> {
        let mut unfinished = Vec::new();
        for variant in &self.config.variants {
            let (device, replace) = (&self.asked.context.device, self.asked.settings.replace);
            if self.folder(variant).check(device, replace)? != Standing::Finished {
                unfinished.push(variant.clone());
            }
        }
        Ok(unfinished)
    }

    /// Waits until no other process trains any of the autoencoders here.
    fn locks(&self) -> Result<Vec<TrainingLock>> {
        let mut names: Vec<&str> = self
            .config
            .variants
            .iter()
            .map(|variant| variant.name.as_str())
            .collect();
        // All processes in the same order, so that none waits for another that waits for it.
        names.sort_unstable();
        let locks = names
            .into_iter()
            .map(|name| TrainingLock::take(&self.checkpoints.dir, name, self.site, self.asked.context));
        locks.collect()
    }

    /// The autoencoders before their first step, and the rows that they see. Says what the training costs.
    fn grid(&self, variants: &[Variant]) -> Result<(Grid, TrainingRows<'a>)> {
        let Asked { source, context, .. } = self.asked;
        let (store, config) = (&source.store, self.config);
        let targets: BTreeSet<_> = variants.iter().filter_map(|variant| variant.target).collect();
        let (rows, split) = match config.stream {
            true => {
                let rows = TrainingRows::streamed(store, self.site, targets, config)?;
                source.tell(&rows, self.site, config, context).map_err(refused)?;
                let sample = rows.sample()?;
                (rows, sample)
            }
            false => TrainingRows::in_memory(store, self.site, targets, config)?,
        };
        context.note(&rows.note(config));
        let (n_rows, width, n_targets) = (split.inputs.len(), split.inputs.width, split.targets.len());
        let cost = TrainingCost {
            rows: n_rows,
            store_rows: store.manifest().rows,
            measured: match config.stream {
                true => n_rows + rows.held_out_rows() + rows.other_rows(),
                false => n_rows,
            },
            width,
            hooks: 1 + n_targets,
            pool: config.stream.then(|| rows.pool_bytes(config)),
        };
        let (members, device) = (variants.to_vec(), &context.device);
        let grid = match config.stream {
            true => rows
                .stream(config)
                .map_err(sae::Error::from)
                .and_then(|stream| Grid::streamed(split, stream, members, config, device)),
            false => rows
                .order(&split, config)
                .map_err(sae::Error::from)
                .and_then(|order| Grid::ordered(split, order, members, config, device)),
        };
        let grid = grid.map_err(refused)?;
        self.note(&cost.estimate(variants, config, context).to_string());
        Ok((grid, rows))
    }

    /// Goes to the last checkpoint; gives its step, or 0.
    fn resume(&self, grid: &mut Grid) -> Result<usize> {
        let site = self.site;
        match grid.resume(&self.checkpoints)? {
            Resumed::Nothing => Ok(0),
            Resumed::At(step) => {
                self.note(&format!("{site} resumes from its checkpoint of step {step}"));
                Ok(step)
            }
            Resumed::Other { path, differences } if self.asked.settings.resume => bail!(
                "{} is of other settings ({differences}), and there is no checkpoint of these; take them back, or leave out \
                 --resume to begin beside it",
                path.display()
            ),
            Resumed::Other { path, differences } => {
                self.note(&format!(
                    "{site} begins at step 0; {} is of other settings ({differences}) and stays",
                    path.display()
                ));
                Ok(0)
            }
        }
    }

    /// Makes the folder of an autoencoder, which tells from the beginning how it is trained.
    fn begin(&self, variant: &Variant) -> Result<()> {
        let (folder, source) = (self.folder(variant), self.asked.source);
        folder.begin()?;
        let settings = serde_json::json!({
            "site": self.site.to_string(),
            "train": self.config.settings(variant),
            "harvest": source.store.manifest().provenance.settings,
        });
        let made = Made::by(self.asked.context, "train", settings).with_model(source.model.clone());
        made.with_parent("activations", source.store.hash())
            .write(&folder.unfinished)
    }

    /// Takes all steps, with checkpoints; ends with an error after the signal to stop, when the last step has a checkpoint.
    fn steps(&self, grid: &mut Grid, variants: &[Variant], log: &mut TrainingLog) -> Result<()> {
        let config = self.config;
        let watch = Watch::new();
        while grid.steps_done() < config.steps {
            let before = grid.steps_done();
            let until = TrainingLog::next_line(before).min(config.steps);
            let mut outcomes = Vec::new();
            grid.advance(until, &mut |variant, outcome| {
                outcomes.push((variant.name.clone(), outcome.clone()))
            })?;
            let done = grid.steps_done();
            for (step, outcomes) in (before..done).zip(outcomes.chunks(variants.len())) {
                log.write(step, outcomes, grid.waited())?;
            }
            // To measure takes long only where the store is read again.
            let is_last = done == config.steps;
            if (!is_last && done.is_multiple_of(config.checkpoint_every)) || (is_last && config.stream) {
                grid.save(&self.checkpoints)?;
            }
            if watch.is_requested() {
                grid.save(&self.checkpoints)?;
                bail!(
                    "interrupted; the checkpoint of step {done} is in {}, run the same command again to resume",
                    self.checkpoints.dir.display()
                );
            }
        }
        Ok(())
    }

    /// Writes a finished autoencoder and gives its folder its name.
    fn publish(&self, finished: &Finished) -> Result<()> {
        let (variant, source) = (&finished.variant, self.asked.source);
        let (folder, provenance) = (self.folder(variant), &source.store.manifest().provenance);
        let origin = Origin::Trained(Box::new(Trained {
            site: self.site.to_string(),
            parent: source.store.hash().to_owned(),
            model: provenance.model_hash.clone(),
            model_name: source.model.as_ref().and_then(|model| model.name.clone()),
            harvest: provenance.settings.clone(),
            config: self.config.hash(variant),
            settings: self.config.settings(variant),
            variant: variant.clone(),
            summary: finished.summary,
        }));
        finished.model.save(&folder.unfinished, &origin)?;
        if let Err(error) = folder.publish(self.asked.settings.replace) {
            // On a disk without locks another process may have published the same one.
            match folder.standing(&self.asked.context.device)? {
                Standing::Finished => folder.drop_unfinished()?,
                _ => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a config asks for and the store cannot give is a fault of the config.
fn refused(error: sae::Error) -> Error {
    match error {
        sae::Error::Config { .. } | sae::Error::Activations(activations::Error::Stream { .. }) => {
            ConfigError(error.to_string()).into()
        }
        other => other.into(),
    }
}

/// The autoencoders of a streamed training, measured on what was held out; `scratch` takes what memory does not hold.
fn finish_streamed(grid: Grid, rows: &mut TrainingRows<'_>, scratch: &Path) -> Result<Vec<Finished>, sae::Error> {
    let rows = RefCell::new(rows);
    grid.finish_on(&mut |part| rows.borrow_mut().held_out_of(part, scratch), &mut |part| {
        rows.borrow().others(part)
    })
}
