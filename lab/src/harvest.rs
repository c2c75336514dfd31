//! `saelab harvest`: caches activations in Parquet.

use std::path::{Path, PathBuf};

use activations::store::SETTINGS_FILE;
use activations::{
    Event, HarvestConfig, HarvestFile, HarvestPlan, Manifest, Node, Part, Selection, Source, SourceConfig, harvest,
};
use artifacts::{Lock, Locking, Sharing};
use lm::Model;
use tasks::{Role, Sample, Schema};
use text::Tokenizer;
use work::{Share, Unit, Work};

use crate::error::WithContext as _;
use crate::estimate;
use crate::made::{MADE, Made, ModelMade};
use crate::wording::counted;
use crate::{ConfigError, ConfigFile, Context, Error, Result};
use crate::{run_folder, share};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/ioi/harvest.toml.
    pub config: ConfigFile,
    /// Folder for the store, new or empty; a complete store of the same config is reused, an unfinished one completed.
    pub out: PathBuf,
    /// Do one part of several, for example 1/4: run each part once, in the same folder or in folders that are then merged.
    pub shard: Option<Share>,
}

/// A harvest that can begin, or whose cost can be told.
pub(crate) struct Prepared {
    pub(crate) model: Model,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) plan: HarvestPlan,
    /// What was skipped in the files, in words.
    pub(crate) skipped: Option<String>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<()> {
        match self.shard {
            None => self.harvest(Part::WHOLE, context),
            Some(share) => self.harvest_share(share, context),
        }
    }

    /// Does one part, and says in the store's work list who does it and what it cost.
    fn harvest_share(self, share: Share, context: &Context) -> Result<()> {
        let part = |index: usize| {
            let name = format!("part {} of {}", index + 1, share.of);
            Unit {
                group: name.clone(),
                name,
                cost: 1.0,
            }
        };
        // What is refused leaves nothing behind.
        self.config()?;
        let key = share::key(&[&self.config.path], &self.config.set, &format!("{}", share.of))?;
        let units = (0..share.of).map(part).collect();
        let list = work::WorkList::open(&share::folder(&self.out), "harvest", &key, units)?;
        let worker = list.worker(share, share::usage)?.own_only();
        let mut part = HarvestPart {
            harvest: &self,
            part: Part {
                index: share.index,
                of: share.of,
            },
            context,
        };
        let outcome = worker.run(&mut part)?;
        if outcome.elsewhere > 0 {
            context.note(&format!("harvest: another process does part {share} now"));
        }
        outcome.error.map_or(Ok(()), Err)
    }

    fn harvest(&self, part: Part, context: &Context) -> Result<()> {
        let Prepared {
            model,
            tokenizer,
            mut plan,
            skipped,
        } = self.prepare(context)?;
        plan.part = part;
        let estimate = estimate::of_harvest(&plan, &model, &tokenizer, context)?;
        context.note(&format!("harvest: {estimate}"));
        let bar = context.bar("harvest", 0);
        let mut on_event = |event| match event {
            Event::Progress(progress) => {
                bar.set_length(progress.total as u64);
                bar.set_position(progress.done as u64);
            }
            Event::Lock(locking) => note_lock(locking, &self.out, context),
        };
        let mut manifest = harvest(&model, &tokenizer, &plan, &self.out, &mut on_event)?;
        // Parts elsewhere may have put the shards that are missing here.
        while manifest.is_none() && storage::process::refresh(&self.out)? {
            manifest = harvest(&model, &tokenizer, &plan, &self.out, &mut on_event)?;
        }
        bar.finish_and_clear();
        // A store that was complete already was made by what its file says.
        if let Some(manifest) = manifest.as_ref().filter(|_| !self.out.join(MADE).exists()) {
            // Under the store's lock: whoever else harvests there clears away what is half written.
            let _lock = Lock::take(&self.out.join(SETTINGS_FILE), Sharing::Alone, &mut |_| ()).ok();
            self.made(manifest, self.model_made(&model)?, context)?
                .write(&self.out)?;
        }
        if let Some(skipped) = skipped {
            context.note(&format!("harvest: {skipped}"));
        }
        context.note(&match manifest {
            Some(manifest) => format!(
                "harvest: {} in {}",
                counted(manifest.hooks.len(), "hook"),
                self.out.display()
            ),
            None => format!(
                "harvest: part {} of {} is in {}, other parts are not; run them, or the same command without --shard",
                part.index + 1,
                part.of,
                self.out.display()
            ),
        });
        Ok(())
    }

    /// The model as it was asked for.
    pub(crate) fn model_made(&self, model: &Model) -> Result<ModelMade> {
        let asked = self.config()?.model;
        Ok(ModelMade::new(&asked, &run_folder::model_folder(&asked)?, model))
    }

    /// What made a store.
    pub(crate) fn made(&self, manifest: &Manifest, of_model: ModelMade, context: &Context) -> Result<Made> {
        let config = self.config()?;
        let mut settings = manifest.provenance.settings.clone();
        if let SourceConfig::Text { path, .. } = &config.source {
            settings["source"]["path"] = serde_json::json!(path.as_slice());
            settings["source"]["text_field"] = config.source.text_field().into();
        }
        let made = Made::by(context, "harvest", settings).with_model(Some(of_model));
        Ok(made.with_parent("tokenizer", &manifest.provenance.tokenizer_hash))
    }

    pub(crate) fn config(&self) -> Result<HarvestConfig, ConfigError> {
        let file: HarvestFile = self.config.read()?;
        HarvestConfig::try_from(file).map_err(|error| self.config.refused(error))
    }

    /// Reads the config, the model and the source; nothing runs yet.
    pub(crate) fn prepare(&self, context: &Context) -> Result<Prepared> {
        let config = self.config()?;
        if let (Selection::Hooks { roles: Some(roles), .. }, SourceConfig::Prompts { task, .. }) =
            (&config.selection, &config.source)
        {
            self.check_roles(roles, &task.schema()?)?;
        }
        let (model, tokenizer) = run_folder::load_model(&config.model, config.load, context)?;
        let tokenizer = config.source.tokenizer(config.bos.of(tokenizer)?);
        let (mut skipped, mut schema) = (None, None);
        let source = match (&config.source, config.source.packing()) {
            (SourceConfig::Prompts { task, n, seed }, _) => {
                let task = run_folder::open_task(task, &tokenizer, context)?;
                run_folder::note_available(task.as_ref(), Sample::Train, *n, "`source.n`", context);
                schema = Some(task.schema().clone());
                Source::Prompts(task.sample(Sample::Train, *n, *seed))
            }
            (text, Some(packing)) => {
                let mut documents = run_folder::documents(text, &tokenizer, context)?;
                let windows = packing.spooled_windows(&mut documents, &tokenizer, &self.out);
                skipped = documents.skipped();
                if let (Err(_), Some(skipped)) = (&windows, &skipped) {
                    context.note(&format!("harvest: {skipped}"));
                }
                let windows = windows?;
                if windows.spelled_special() > 0 {
                    let what = match tokenizer.recognises_control_tokens() {
                        true => "and give its id",
                        false => "which is ordinary text in them",
                    };
                    context.note(&format!(
                        "harvest: documents that spell a special token, {what}: {}",
                        windows.spelled_special()
                    ));
                }
                if windows.lost_characters() > 0 {
                    context.note(&format!(
                        "harvest: characters of the documents that the model does not see, since its vocabulary has no token for \
                         one of their bytes: {}",
                        windows.lost_characters()
                    ));
                }
                Source::Text(windows)
            }
            (_, None) => bail!("this source holds no text"),
        };
        let asked = config
            .asked(schema.as_ref())
            .context("the settings cannot be written as JSON")?;
        let mut plan = match config.selection {
            Selection::Sites(path) => {
                let (sites, of_sites) = run_folder::read_sites(&path)?;
                sites.check(&of_sites, &model)?;
                if let SourceConfig::Prompts { task, .. } = &config.source {
                    ensure!(
                        *task == sites.task,
                        "{}: the sites are those of task {}, the config asks for prompts of task {task}; name the sites file \
                         of the task",
                        path.display(),
                        sites.task
                    );
                }
                let nodes: Vec<Node> = sites.nodes().into_iter().collect();
                let is_text = matches!(source, Source::Text(_));
                let mut plan = HarvestPlan::for_nodes(&nodes, source, config.batch, config.rows_per_shard);
                if is_text {
                    plan.roles.clear();
                }
                plan
            }
            Selection::Hooks { hooks, roles } => HarvestPlan {
                hooks,
                roles: roles.or(schema.map(|schema| schema.roles)).unwrap_or_default(),
                ..HarvestPlan::for_nodes(&[], source, config.batch, config.rows_per_shard)
            },
        };
        (plan.dtype, plan.shuffle, plan.keep_special) = (config.dtype, config.shuffle, config.keep_special);
        plan.asked = asked;
        Ok(Prepared {
            model,
            tokenizer,
            plan,
            skipped,
        })
    }

    /// Refuses roles that the task does not have.
    fn check_roles(&self, roles: &[Role], schema: &Schema) -> Result<(), ConfigError> {
        match roles.iter().find(|role| !schema.roles.contains(role)) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<&str> = schema.roles.iter().map(|role| role.as_str()).collect();
                Err(self.config.refused(format!(
                    "`roles` names {unknown}, task {} has {}",
                    schema.name,
                    known.join(", ")
                )))
            }
        }
    }
}

/// Says what the lock of the store's folder means for this harvest.
pub(crate) fn note_lock(locking: Locking, out: &Path, context: &Context) {
    let out = out.display();
    context.note(&match locking {
        Locking::Waits => format!("harvest: another harvest is writing {out}; waiting until it has ended"),
        Locking::Unsupported { cause } => format!(
            "harvest: the disk of {out} has no file locks ({cause}); start no other harvest in this folder meanwhile"
        ),
    });
}

/// A part of a harvest, as the unit of a work list.
struct HarvestPart<'a> {
    harvest: &'a Settings,
    part: Part,
    context: &'a Context,
}

impl Work for HarvestPart<'_> {
    type Error = Error;

    /// Which shards are whole is found out by the harvest itself, which writes none twice.
    fn is_done(&mut self, _: &Unit) -> Result<bool> {
        Ok(false)
    }

    fn run(&mut self, _: &[&Unit]) -> Result<()> {
        self.harvest.harvest(self.part, self.context)
    }
}
