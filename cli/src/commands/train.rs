//! `saelab train`: sparse autoencoders on cached activations, all of a site on one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use activations::Store;
use anyhow::Context as _;
use dictionaries::{Origin, Trained, Variant};
use sae::{Checkpoints, Error, Grid, Resumed, TrainConfig, TrainFile};

use super::Context;
use super::finished_notes;
use super::run_folder::{self, RunFolder};
use super::training_folder::{Standing, TrainingFolder, TrainingLock};
use super::training_log::TrainingLog;
use super::training_rows::TrainingRows;
use super::training_site::TrainingSite as Site;
use crate::config::{self, ConfigError};
use crate::output;

/// Arguments of `saelab train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// Config, for example configs/ioi/train.toml
    config: PathBuf,
    /// Folder of the experiment; holds activations/
    #[arg(long)]
    run: PathBuf,
    /// Store of activations, if it is not that of the experiment's folder
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Sites file; of a store made from text the hooks of its nodes, without it every hook
    #[arg(long)]
    sites: Option<PathBuf>,
    /// Fail where a checkpoint of the same autoencoders with other settings is there and none with these; with the same settings
    /// a training that broke off is resumed in any case
    #[arg(long)]
    resume: bool,
    /// Overwrite what stands in the folder of an autoencoder and was made with other settings, from other activations or by another
    /// library; it stays until its successor is finished
    #[arg(long)]
    replace: bool,
    /// Read activations of a text from disk batch by batch instead of keeping all in memory; the batches are the same
    #[arg(long)]
    stream: bool,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Train {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: TrainFile = config::read(&self.config, &self.set)?;
        let mut config =
            TrainConfig::try_from(file).map_err(|error| ConfigError(format!("{}: {error}", self.config.display())))?;
        config.stream = self.stream;
        let run = RunFolder(self.run.clone());
        let store = Store::open(&self.activations.clone().unwrap_or_else(|| run.activations()))?;
        let sites = self.sites(&store)?;
        // Before the first step of any of them.
        for &site in &sites {
            for variant in &config.variants {
                TrainingFolder::new(&run, variant, site, &config, store.hash()).check(&context.device, self.replace)?;
            }
        }
        output::note(&format!(
            "train: {} autoencoders of {} steps at {} sites",
            config.variants.len(),
            config.steps,
            sites.len()
        ));
        for site in sites {
            self.train_site(site, &config, &run, &store, context)
                .with_context(|| format!("train {site}"))?;
        }
        Ok(())
    }

    fn sites(&self, store: &Store) -> anyhow::Result<Vec<Site>> {
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
        store: &Store,
        context: &Context,
    ) -> anyhow::Result<()> {
        let folder = |variant: &Variant| TrainingFolder::new(run, variant, site, config, store.hash());
        let checkpoints = checkpoints(run, site, config, store);
        let unfinished = || -> anyhow::Result<Vec<Variant>> {
            let mut unfinished = Vec::new();
            for variant in &config.variants {
                if folder(variant).check(&context.device, self.replace)? != Standing::Finished {
                    unfinished.push(variant.clone());
                }
            }
            Ok(unfinished)
        };
        if unfinished()?.is_empty() {
            return Ok(checkpoints.remove()?);
        }
        let mut names: Vec<&str> = config.variants.iter().map(|variant| variant.name.as_str()).collect();
        // All processes in the same order, so that none waits for another that waits for it.
        names.sort_unstable();
        let locks = names
            .into_iter()
            .map(|name| TrainingLock::take(&checkpoints.dir, name, site));
        let _locks = locks.collect::<anyhow::Result<Vec<_>>>()?;
        // Another process may have finished some meanwhile.
        let variants = unfinished()?;
        if variants.is_empty() {
            return Ok(checkpoints.remove()?);
        }
        let targets: BTreeSet<_> = variants.iter().filter_map(|variant| variant.target).collect();
        let (rows, split) = match self.stream {
            true => TrainingRows::streamed(store, site, targets, config)?,
            false => TrainingRows::in_memory(store, site, targets, config)?,
        };
        output::note(&rows.note(config));
        let (n_rows, width) = (split.inputs.len(), split.inputs.width);
        let grid = match self.stream {
            true => rows
                .stream(config)
                .map_err(Error::from)
                .and_then(|stream| Grid::streamed(split, stream, variants.clone(), config, &context.device)),
            false => rows
                .order(&split, config)
                .map_err(Error::from)
                .and_then(|order| Grid::ordered(split, order, variants.clone(), config, &context.device)),
        };
        let mut grid = grid.map_err(refused)?;
        estimate(n_rows, width, &variants, config, context);
        let first = self.resume(&mut grid, site, &checkpoints)?;
        for variant in &variants {
            folder(variant).begin()?;
        }
        let mut log = TrainingLog::open(&variants, first, config, |variant| folder(variant).unfinished, context)?;
        while grid.steps_done() < config.steps {
            let mut outcomes = Vec::with_capacity(variants.len());
            grid.step(&mut |variant, outcome| outcomes.push((variant.name.clone(), outcome.clone())))?;
            let done = grid.steps_done();
            log.write(done - 1, &outcomes, grid.waited())?;
            // To measure takes long only where the store is read again.
            if (done.is_multiple_of(config.checkpoint_every) && done < config.steps)
                || (done == config.steps && self.stream)
            {
                grid.save(&checkpoints)?;
            }
        }
        log.bar.finish_and_clear();
        let falls: BTreeMap<String, Option<f64>> = variants
            .iter()
            .map(|variant| (variant.name.clone(), log.last_fall(&variant.name)))
            .collect();
        drop(log);
        let finished = match self.stream {
            true => grid.finish_on(&mut |shard| rows.shard(shard))?,
            false => grid.finish()?,
        };
        let mut told = BTreeSet::new();
        for finished in finished {
            let (variant, folder) = (&finished.variant, folder(&finished.variant));
            let origin = Origin::Trained(Box::new(Trained {
                site: site.to_string(),
                parent: store.hash().to_owned(),
                model: store.manifest().provenance.model_hash.clone(),
                config: config.hash(variant),
                settings: config.settings(variant),
                variant: variant.clone(),
                summary: finished.summary,
            }));
            finished.model.save(&folder.unfinished, &origin)?;
            folder.publish(self.replace)?;
            let note = finished_notes::of_activations(site, variant, &finished.summary);
            if let Some(note) = note.filter(|_| told.insert(variant.target)) {
                output::note(&note);
            }
            let fall = falls.get(&variant.name).copied().flatten();
            output::note(&finished_notes::of_autoencoder(site, &finished, fall));
        }
        Ok(checkpoints.remove()?)
    }

    /// Goes to the last checkpoint; gives its step, or 0.
    fn resume(&self, grid: &mut Grid, site: Site, checkpoints: &Checkpoints) -> anyhow::Result<usize> {
        match grid.resume(checkpoints)? {
            Resumed::Nothing => Ok(0),
            Resumed::At(step) => {
                output::note(&format!("train: {site} goes on at step {step} of its checkpoint"));
                Ok(step)
            }
            Resumed::Other { path, differences } if self.resume => anyhow::bail!(
                "{} is of other settings ({differences}), and there is no checkpoint of these; take them back, or leave out \
                 --resume to begin beside it",
                path.display()
            ),
            Resumed::Other { path, differences } => {
                output::note(&format!(
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
fn refused(error: Error) -> anyhow::Error {
    match error {
        Error::Config { .. } | Error::Activations(activations::Error::Stream { .. }) => {
            ConfigError(error.to_string()).into()
        }
        other => other.into(),
    }
}

/// Says what a site will cost: the time from one encoder product on this machine, memory and disk from the sizes.
fn estimate(n_rows: usize, d: usize, variants: &[Variant], config: &TrainConfig, context: &Context) {
    let (f, n) = (d * config.expansion, variants.len());
    let values = vec![1.0; config.batch.max(f) * d];
    let matrix = |rows: usize| kernels::from_vec::<2>(values[..rows * d].to_vec(), [rows, d], &context.device);
    let (x, w_enc) = (matrix(config.batch), matrix(f));
    let product = |_| {
        let start = Instant::now();
        kernels::to_vec(kernels::matmul(x.clone(), w_enc.clone().transpose()));
        start.elapsed().as_secs_f64()
    };
    let product = (0..3).map(product).fold(f64::INFINITY, f64::min);
    // A sparse step takes 1.5 products and a dense one 7 (`saelab bench train`), and small ones half a millisecond more.
    let products = |variant: &Variant| if variant.architecture.k().is_some() { 1.5 } else { 7.0 };
    let step: f64 = variants.iter().map(|variant| products(variant) * product + 5e-4).sum();
    let parameters = (2 * f * d + 2 * f + d) as f64;
    let memory = (n_rows * d) as f64 * 4.0 + parameters * (16 * n + 4) as f64 + (config.batch * (f + 4 * d) * 8) as f64;
    let disk = parameters * (4 + 2 * 12) as f64 * n as f64;
    output::note(&format!(
        "train: about {:.0} s, {:.0} MB of memory and {:.0} MB of disk for {n} of width {d} with {f} latents on {} rows",
        (step * config.steps as f64).ceil(),
        memory / 1e6,
        disk / 1e6,
        n_rows
    ));
}
