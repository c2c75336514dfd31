//! `saelab train`: sparse autoencoders on cached activations, all of a site on one stream.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use activations::Store;
use activations::store::HookEntry;
use dictionaries::{Origin, Trained, Variant};
use sae::{Checkpoints, Finished, Grid, Resumed, TrainConfig, TrainFile};
use work::{Share, Unit, Work, WorkList};

use crate::error::WithContext as _;
use crate::finished_notes;
use crate::interrupt::Watch;
use crate::made::Made;
use crate::run_folder::{self, RunFolder};
use crate::share;
use crate::training_cost::{self, TrainingCost};
use crate::training_folder::{Standing, TrainingFolder, TrainingLock};
use crate::training_log::TrainingLog;
use crate::training_rows::TrainingRows;
use crate::training_site::TrainingSite as Site;
use crate::training_source::TrainingSource;
use crate::wording::counted;
use crate::{ConfigError, ConfigFile, Context, Error, Result, usage};

/// Settings of the stage.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Config, for example configs/ioi/train.toml.
    pub config: ConfigFile,
    /// Folder of the experiment; holds activations/.
    pub run: PathBuf,
    /// Store of activations, if it is not that of the experiment's folder.
    pub activations: Option<PathBuf>,
    /// Harvest config of a text: the model runs beside the training, which reads its activations as they come. The bytes are those of
    /// a harvest and then a training with `stream`.
    pub harvest: Option<PathBuf>,
    /// Whether what `harvest` computes is kept, as a store in activations/ of the experiment's folder.
    pub keep: bool,
    /// Sites file; of a store made from text the hooks of its nodes, without it every hook.
    pub sites: Option<PathBuf>,
    /// Fail where a checkpoint of the same autoencoders with other settings is there and none with these; with the same settings
    /// a training that broke off is resumed in any case.
    pub resume: bool,
    /// Overwrite what stands in the folder of an autoencoder and was made with other settings, from other activations or by another
    /// library; it stays until its successor is finished.
    pub replace: bool,
    /// Read activations of a text from disk batch by batch instead of keeping all in memory; the batches are the same.
    pub stream: bool,
    /// Do one part of several, for example 1/4, in processes that share the folder of the experiment: each trains its own autoencoders,
    /// then those that nobody works on; all end with the bytes that one process makes.
    pub shard: Option<Share>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<()> {
        let config = read_config(&self.config, self.stream || self.harvest.is_some())?;
        let run = RunFolder(self.run.clone());
        let source = match &self.harvest {
            Some(harvest) => TrainingSource::harvested(harvest, &run, self.keep, context)?,
            None => TrainingSource::stored(&self.activations.clone().unwrap_or_else(|| run.activations()))?,
        };
        let sites = self.sites(&source.store)?;
        if let Some(share) = self.shard {
            return self.train_share(share, &sites, &config, &run, &source, context);
        }
        // Before the first step of any of them.
        for &site in &sites {
            for variant in &config.variants {
                TrainingFolder::new(&run, variant, site, &config, source.store.hash())
                    .check(&context.device, self.replace)?;
            }
        }
        let start = Instant::now();
        context.note(&format!(
            "train: {} of {} steps at {}",
            counted(config.variants.len(), "autoencoder"),
            config.steps,
            counted(sites.len(), "site")
        ));
        for site in sites {
            self.train_site(site, &config, &run, &source, context)
                .with_context(|| format!("train {site}"))?;
        }
        source.finish(context)?;
        let memory = usage::peak_memory_mb().map_or(String::new(), |peak| format!(" and {peak} MB of memory"));
        context.note(&format!(
            "train: took {:.0} s{memory}",
            start.elapsed().as_secs_f64().ceil()
        ));
        Ok(())
    }

    /// Trains the autoencoders of one share of the grid, as units of the experiment's work list.
    fn train_share(
        &self,
        share: Share,
        sites: &[Site],
        config: &TrainConfig,
        run: &RunFolder,
        source: &TrainingSource,
        context: &Context,
    ) -> Result<()> {
        let store = &source.store;
        let (units, places) = units(sites, config, store);
        let hashes: Vec<String> = config.variants.iter().map(|variant| config.hash(variant)).collect();
        let key = share::key(&[], &hashes, &format!("{} {}", store.hash(), joined(sites)))?;
        let list = WorkList::open(&share::folder(&run.0), "train", &key, units)?;
        let worker = list.worker(share, share::usage)?;
        // Claims of workers elsewhere are not seen here, so none of theirs is taken over.
        let worker = if storage::process::is_remote(&run.0) {
            worker.own_only()
        } else {
            worker
        };
        let mut grid = GridShare {
            train: self,
            config,
            run,
            source,
            context,
            places,
        };
        // Before the first step of any of them.
        for unit in &list.units()[worker.own()] {
            grid.is_done(unit)?;
        }
        context.note(&format!(
            "train: {} of {} of {} steps at {}",
            worker.own().len(),
            counted(list.units().len(), "autoencoder"),
            config.steps,
            counted(sites.len(), "site")
        ));
        let outcome = worker.run(&mut grid)?;
        context.note(&format!(
            "train: part {share}: {} autoencoders trained, {} failed, {} are trained by other processes now",
            outcome.done, outcome.failed, outcome.elsewhere
        ));
        outcome.error.map_or(Ok(()), Err)
    }

    fn sites(&self, store: &Store) -> Result<Vec<Site>> {
        let manifest = store.manifest();
        match &self.sites {
            Some(path) if manifest.roles.is_empty() => {
                let nodes = run_folder::read_sites(path)?.0.nodes();
                let places: BTreeSet<_> = nodes.into_iter().map(|node| (node.hook, node.head)).collect();
                Ok(places.into_iter().map(|(hook, head)| Site::Hook(hook, head)).collect())
            }
            Some(path) => {
                let (sites, schema) = run_folder::read_sites(path)?;
                run_folder::check_task(store, &sites, &schema)?;
                Ok(sites.nodes().into_iter().map(Site::Node).collect())
            }
            None if manifest.roles.is_empty() => Ok(manifest
                .hooks
                .iter()
                .flat_map(|(&hook, entry)| {
                    let heads = entry.heads.map_or(vec![None], |heads| (0..heads).map(Some).collect());
                    heads.into_iter().map(move |head| Site::Hook(hook, head))
                })
                .collect()),
            None => Err(ConfigError("--sites is missing: the store holds prompts".to_owned()).into()),
        }
    }

    fn train_site(
        &self,
        site: Site,
        config: &TrainConfig,
        run: &RunFolder,
        source: &TrainingSource,
        context: &Context,
    ) -> Result<()> {
        let store = &source.store;
        let folder = |variant: &Variant| TrainingFolder::new(run, variant, site, config, store.hash());
        let checkpoints = checkpoints(run, site, config, store);
        let unfinished = || -> Result<Vec<Variant>> {
            let mut unfinished = Vec::new();
            for variant in &config.variants {
                if folder(variant).check(&context.device, self.replace)? != Standing::Finished {
                    unfinished.push(variant.clone());
                }
            }
            Ok(unfinished)
        };
        let to_train = unfinished()?.len();
        if to_train < config.variants.len() {
            context.note(&format!(
                "train: {site}: {} already trained with these settings",
                match config.variants.len() - to_train {
                    1 => "1 autoencoder is".to_owned(),
                    n => format!("{n} autoencoders are"),
                }
            ));
        }
        if to_train == 0 {
            // A process that was killed right after it had finished leaves both.
            checkpoints.remove()?;
            for variant in &config.variants {
                TrainingLock::remove_abandoned(&checkpoints.dir, &variant.name);
            }
            return Ok(());
        }
        let mut names: Vec<&str> = config.variants.iter().map(|variant| variant.name.as_str()).collect();
        // All processes in the same order, so that none waits for another that waits for it.
        names.sort_unstable();
        let locks = names
            .into_iter()
            .map(|name| TrainingLock::take(&checkpoints.dir, name, site, context));
        let _locks = locks.collect::<Result<Vec<_>>>()?;
        // Another process may have finished some meanwhile.
        let variants = unfinished()?;
        if variants.is_empty() {
            return Ok(checkpoints.remove()?);
        }
        let targets: BTreeSet<_> = variants.iter().filter_map(|variant| variant.target).collect();
        let (mut rows, split) = match config.stream {
            true => {
                let rows = TrainingRows::streamed(store, site, targets, config)?;
                source.tell(&rows, site, config, context).map_err(refused)?;
                let sample = rows.sample()?;
                (rows, sample)
            }
            false => TrainingRows::in_memory(store, site, targets, config)?,
        };
        context.note(&rows.note(config));
        let (n_rows, width, split_targets) = (split.inputs.len(), split.inputs.width, split.targets.len());
        let grid = match config.stream {
            true => rows
                .stream(config)
                .map_err(sae::Error::from)
                .and_then(|stream| Grid::streamed(split, stream, variants.clone(), config, &context.device)),
            false => rows
                .order(&split, config)
                .map_err(sae::Error::from)
                .and_then(|order| Grid::ordered(split, order, variants.clone(), config, &context.device)),
        };
        let mut grid = grid.map_err(refused)?;
        let cost = TrainingCost {
            rows: n_rows,
            store_rows: store.manifest().rows,
            measured: match config.stream {
                true => n_rows + rows.held_out_rows() + rows.other_rows(),
                false => n_rows,
            },
            width,
            hooks: 1 + split_targets,
            pool: config.stream.then(|| rows.pool_bytes(config)),
        };
        context.note(&format!("train: {}", cost.estimate(&variants, config, context)));
        let first = self.resume(&mut grid, site, &checkpoints, context)?;
        for variant in &variants {
            let folder = folder(variant);
            folder.begin()?;
            // From the beginning, so that a folder in training tells how, too.
            let settings = serde_json::json!({
                "site": site.to_string(), "train": config.settings(variant), "harvest": store.manifest().provenance.settings,
            });
            let made = Made::by(context, "train", settings).with_model(source.model.clone());
            made.with_parent("activations", store.hash())
                .write(&folder.unfinished)?;
        }
        let mut log = TrainingLog::open(&variants, first, config, |variant| folder(variant).unfinished, context)?;
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
            if (done.is_multiple_of(config.checkpoint_every) && done < config.steps)
                || (done == config.steps && config.stream)
            {
                grid.save(&checkpoints)?;
            }
            if watch.is_requested() {
                grid.save(&checkpoints)?;
                log.bar.finish_and_clear();
                bail!(
                    "interrupted; the checkpoint of step {done} is in {}, run the same command again to resume",
                    checkpoints.dir.display()
                );
            }
        }
        drop(watch);
        log.bar.finish_and_clear();
        let falls: BTreeMap<String, Option<f64>> = variants
            .iter()
            .map(|variant| (variant.name.clone(), log.last_fall(&variant.name)))
            .collect();
        drop(log);
        let finished = match config.stream {
            true => finish_streamed(grid, &mut rows, run)?,
            false => grid.finish()?,
        };
        let mut told = BTreeSet::new();
        for finished in finished {
            let (variant, folder) = (&finished.variant, folder(&finished.variant));
            let origin = Origin::Trained(Box::new(Trained {
                site: site.to_string(),
                parent: store.hash().to_owned(),
                model: store.manifest().provenance.model_hash.clone(),
                model_name: source.model.as_ref().and_then(|model| model.name.clone()),
                harvest: store.manifest().provenance.settings.clone(),
                config: config.hash(variant),
                settings: config.settings(variant),
                variant: variant.clone(),
                summary: finished.summary,
            }));
            finished.model.save(&folder.unfinished, &origin)?;
            if let Err(error) = folder.publish(self.replace) {
                // On a disk without locks another process may have published the same one.
                match folder.standing(&context.device)? {
                    Standing::Finished => folder.drop_unfinished()?,
                    _ => return Err(error),
                }
            }
            let note = finished_notes::of_activations(site, variant, &finished.summary);
            if let Some(note) = note.filter(|_| told.insert(variant.target)) {
                context.note(&note);
            }
            let fall = falls.get(&variant.name).copied().flatten();
            context.note(&finished_notes::of_autoencoder(site, &finished, fall));
        }
        Ok(checkpoints.remove()?)
    }

    /// Goes to the last checkpoint; gives its step, or 0.
    fn resume(&self, grid: &mut Grid, site: Site, checkpoints: &Checkpoints, context: &Context) -> Result<usize> {
        match grid.resume(checkpoints)? {
            Resumed::Nothing => Ok(0),
            Resumed::At(step) => {
                context.note(&format!("train: {site} resumes from its checkpoint of step {step}"));
                Ok(step)
            }
            Resumed::Other { path, differences } if self.resume => bail!(
                "{} is of other settings ({differences}), and there is no checkpoint of these; take them back, or leave out \
                 --resume to begin beside it",
                path.display()
            ),
            Resumed::Other { path, differences } => {
                context.note(&format!(
                    "train: {site} begins at step 0; {} is of other settings ({differences}) and stays",
                    path.display()
                ));
                Ok(0)
            }
        }
    }
}

/// The checkpoints of the autoencoders of a config at a site.
fn checkpoints(run: &RunFolder, site: Site, config: &TrainConfig, store: &Store) -> Checkpoints {
    let hashes: Vec<String> = config.variants.iter().map(|variant| config.hash(variant)).collect();
    Checkpoints {
        dir: run.checkpoints().join(site.dir_name()),
        training: artifacts::sha256_hex(format!("{} {}", hashes.join(" "), store.hash()).as_bytes()),
        parent: store.hash().to_owned(),
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

/// The autoencoders of a streamed training, measured on what was held out.
fn finish_streamed(grid: Grid, rows: &mut TrainingRows<'_>, run: &RunFolder) -> Result<Vec<Finished>, sae::Error> {
    let rows = RefCell::new(rows);
    grid.finish_on(&mut |part| rows.borrow_mut().held_out_of(part, &run.0), &mut |part| {
        rows.borrow().others(part)
    })
}

/// Reads the config of a training.
pub(crate) fn read_config(file: &ConfigFile, stream: bool) -> Result<TrainConfig, ConfigError> {
    let config = TrainConfig::try_from(file.read::<TrainFile>()?).map_err(|error| file.refused(error))?;
    Ok(TrainConfig { stream, ..config })
}

/// The autoencoders of a grid as units, those of a site in one group, and where each is: its site and its place among the variants.
fn units(sites: &[Site], config: &TrainConfig, store: &Store) -> (Vec<Unit>, BTreeMap<String, (Site, usize)>) {
    let (mut units, mut places) = (Vec::new(), BTreeMap::new());
    for &site in sites {
        let (hook, head) = site.place();
        let entry = store.manifest().hooks.get(&hook);
        let heads = |entry: &HookEntry| head.and(entry.heads).unwrap_or(1);
        let width = entry.map_or(1, |entry| entry.width / heads(entry));
        for (place, variant) in config.variants.iter().enumerate() {
            let name = format!("{site} {}", variant.name);
            places.insert(name.clone(), (site, place));
            units.push(Unit {
                name,
                group: site.to_string(),
                // The latents of a site are a multiple of its width.
                cost: training_cost::products(variant) * (width * width) as f64,
            });
        }
    }
    (units, places)
}

fn joined(sites: &[Site]) -> String {
    let names: Vec<String> = sites.iter().map(Site::to_string).collect();
    names.join(" ")
}

/// The autoencoders of a grid, as the units of a work list.
struct GridShare<'a> {
    train: &'a Settings,
    config: &'a TrainConfig,
    run: &'a RunFolder,
    source: &'a TrainingSource,
    context: &'a Context,
    places: BTreeMap<String, (Site, usize)>,
}

impl Work for GridShare<'_> {
    type Error = Error;

    fn is_done(&mut self, unit: &Unit) -> Result<bool> {
        let (site, place) = self.places[&unit.name];
        let variant = &self.config.variants[place];
        let folder = TrainingFolder::new(self.run, variant, site, self.config, self.source.store.hash());
        Ok(folder.check(&self.context.device, self.train.replace)? == Standing::Finished)
    }

    fn run(&mut self, units: &[&Unit]) -> Result<()> {
        let places: Vec<(Site, usize)> = units.iter().map(|unit| self.places[&unit.name]).collect();
        let Some(&(site, _)) = places.first() else {
            return Ok(());
        };
        let variants = places.iter().map(|&(_, place)| self.config.variants[place].clone());
        let config = TrainConfig {
            variants: variants.collect(),
            ..self.config.clone()
        };
        let trained = self
            .train
            .train_site(site, &config, self.run, self.source, self.context);
        trained.with_context(|| format!("train {site}"))
    }
}
