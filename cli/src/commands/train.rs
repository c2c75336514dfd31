//! `saelab train`: sparse autoencoders on cached activations, all of a site on one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use activations::{Store, Stream, StreamConfig};
use anyhow::Context as _;
use indicatif::ProgressBar;
use lm::files;
use sae::{
    Autoencoder, Finished, Grid, Origin, Outcome, Rows, StepReport, Summary, TrainConfig, TrainFile, Trained, Variant,
};

use super::Context;
use super::run_folder::{self, RunFolder};
use super::training_site::TrainingSite as Site;
use crate::config::{self, ConfigError};
use crate::metrics::Metrics;
use crate::output;

/// Steps between two lines of metrics.
const LOG_EVERY: usize = 50;

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
    /// Go on from the last checkpoint; what was finished with the same settings is kept in any case
    #[arg(long)]
    resume: bool,
    /// Read activations of a text from disk batch by batch instead of keeping all in memory; the order of the rows is another
    #[arg(long)]
    stream: bool,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Train {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: TrainFile = config::read(&self.config, &self.set)?;
        let config =
            TrainConfig::try_from(file).map_err(|error| ConfigError(format!("{}: {error}", self.config.display())))?;
        let run = RunFolder(self.run.clone());
        let store = Store::open(&self.activations.clone().unwrap_or_else(|| run.activations()))?;
        let sites = self.sites(&store)?;
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
                let nodes = run_folder::read_sites(path)?.nodes();
                let places: BTreeSet<_> = nodes.into_iter().map(|node| (node.hook, node.head)).collect();
                Ok(places.into_iter().map(|(hook, head)| Site::Hook(hook, head)).collect())
            }
            Some(path) => {
                let sites = run_folder::read_sites(path)?;
                run_folder::check_task(store, &sites)?;
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
        let folder = |variant: &Variant| run.sae().join(&variant.name).join(site.dir_name());
        let mut variants = config.variants.clone();
        let settings = |variant: &Variant| match self.stream {
            true => format!("{}, streamed", config.hash(variant)),
            false => config.hash(variant),
        };
        variants.retain(|variant| !finished(&folder(variant), &settings(variant), store.hash(), context));
        for variant in variants
            .iter()
            .filter(|variant| folder(variant).join("config.json").exists())
        {
            let (name, dir) = (&variant.name, folder(variant));
            output::note(&format!(
                "train: {name} at {site} is made anew: that in {} is of other settings or activations",
                dir.display()
            ));
        }
        let checkpoints = run.checkpoints().join(site.dir_name());
        if variants.is_empty() {
            return Ok(files::remove_folder(&checkpoints)?);
        }
        let (mut shards, mut kept) = (usize::MAX, None);
        let mut rows_at = |site: Site| -> anyhow::Result<Rows> {
            if !self.stream {
                let rows = site.rows(store)?;
                if config.part == [0, 1] {
                    return Ok(rows);
                }
                // The targets of transcoders stand in the order of their inputs.
                return Ok(rows.select(kept.get_or_insert_with(|| rows.part(config.part))));
            }
            if config.part != [0, 1] {
                return Err(ConfigError("`part`: not with --stream, which takes all rows".to_owned()).into());
            }
            let (rows, trained) = site.sample(store, config.held_out)?;
            shards = trained;
            Ok(rows)
        };
        let rows = rows_at(site)?;
        let mut targets = BTreeMap::new();
        let hooks: BTreeSet<_> = variants.iter().filter_map(|variant| variant.target).collect();
        for &hook in &hooks {
            targets.insert(hook, rows_at(site.at(hook))?);
        }
        estimate(&rows, &variants, config, context);
        // A checkpoint of the other way to read is another run's.
        let mut parent = store.hash().to_owned();
        let mut grid = if self.stream {
            parent.push_str(", streamed");
            let places = std::iter::once(site).chain(hooks.iter().map(|&hook| site.at(hook)));
            let stream = StreamConfig {
                hooks: places.map(|site| site.place()).collect(),
                shards: 0..shards,
                ..StreamConfig::of(site.place().0, site.place().1, config.batch, config.seed)
            };
            let config = TrainConfig {
                held_out: held_out_share(store, site, shards, rows.len()),
                ..config.clone()
            };
            Grid::new(rows, targets, variants.clone(), &config, &context.device)?
                .with_stream(Stream::new(store, stream)?)
        } else {
            Grid::new(rows, targets, variants.clone(), config, &context.device)?
        };
        let first = match self.resume {
            true => grid.resume(&checkpoints, &parent)?.unwrap_or(0),
            false => {
                if checkpoints.exists() {
                    output::note(&format!(
                        "train: {site} begins again; --resume would have gone on from its checkpoint"
                    ));
                }
                files::remove_folder(&checkpoints)?;
                0
            }
        };
        if first > 0 {
            output::note(&format!("train: {site} goes on at step {first}"));
        }
        let mut log = Log::open(&variants, first, config, folder, context)?;
        while grid.steps_done() < config.steps {
            let mut outcomes = Vec::with_capacity(variants.len());
            grid.step(&mut |variant, outcome| outcomes.push((variant.name.clone(), outcome.clone())))?;
            let done = grid.steps_done();
            log.write(done - 1, &outcomes, grid.waited())?;
            if done.is_multiple_of(config.checkpoint_every) && done < config.steps {
                grid.save(&checkpoints, &parent)?;
            }
        }
        log.bar.finish_and_clear();
        for Finished {
            variant,
            model,
            summary,
        } in grid.finish()?
        {
            let origin = Origin::Trained(Box::new(Trained {
                site: site.to_string(),
                parent: store.hash().to_owned(),
                model: store.manifest().provenance.model_hash.clone(),
                config: settings(&variant),
                variant: variant.clone(),
                summary,
            }));
            model.save(&folder(&variant), &origin)?;
            output::note(&describe(&variant, site, &summary));
        }
        Ok(files::remove_folder(&checkpoints)?)
    }
}

/// The share of a sample's rows that come from shards that are not trained on, a little more than exact so that rounding
/// down gives their number.
fn held_out_share(store: &Store, site: Site, trained: usize, rows: usize) -> f64 {
    let entry = store.manifest().hooks.get(&site.place().0);
    let held = entry.into_iter().flat_map(|entry| entry.shards.iter().skip(trained));
    let held: usize = held.map(|shard| shard.rows).sum();
    (held as f64 + 0.5) / rows.max(1) as f64
}

/// Says what a site will cost: the time from one encoder product on this machine, memory and disk from the sizes.
fn estimate(rows: &Rows, variants: &[Variant], config: &TrainConfig, context: &Context) {
    let (d, f, n) = (rows.width, rows.width * config.expansion, variants.len());
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
    let memory =
        rows.values.len() as f64 * 4.0 + parameters * (16 * n + 4) as f64 + (config.batch * (f + 4 * d) * 8) as f64;
    let disk = parameters * (4 + 2 * 12) as f64 * n as f64;
    output::note(&format!(
        "train: about {:.0} s, {:.0} MB of memory and {:.0} MB of disk for {n} of width {d} with {f} latents on {} rows",
        (step * config.steps as f64).ceil(),
        memory / 1e6,
        disk / 1e6,
        rows.len()
    ));
}

/// Whether `dir` holds this autoencoder already, trained with the same settings on the same activations.
fn finished(dir: &Path, settings: &str, store: &str, context: &Context) -> bool {
    matches!(
        Autoencoder::load(dir, &context.device),
        Ok((_, Origin::Trained(trained))) if trained.config == settings && trained.parent == store
    )
}

fn describe(variant: &Variant, site: Site, summary: &Summary) -> String {
    format!(
        "train: {} {site}: unexplained variance {}, {:.1} active latents, {:.0} % dead",
        variant.name,
        summary.fvu.map_or("undefined".to_owned(), |fvu| format!("{fvu:.3}")),
        summary.l0,
        summary.dead * 100.0
    )
}

/// Metrics and progress of the autoencoders of one site.
struct Log {
    members: BTreeMap<String, (Metrics, ProgressBar)>,
    bar: ProgressBar,
    steps: usize,
    batch: usize,
    /// When the last lines were written, at which step, and how long steps had waited for activations until then.
    since: (Instant, usize, Duration),
}

impl Log {
    fn open(
        variants: &[Variant],
        first: usize,
        config: &TrainConfig,
        folder: impl Fn(&Variant) -> PathBuf,
        context: &Context,
    ) -> anyhow::Result<Self> {
        let group = context.progress.group("train", config.steps);
        group.main.set_position(first as u64);
        let mut members = BTreeMap::new();
        for variant in variants {
            let dir = folder(variant);
            let metrics = Metrics::open(&dir, first).with_context(|| format!("cannot write into {}", dir.display()))?;
            members.insert(variant.name.clone(), (metrics, group.line()));
        }
        Ok(Self {
            members,
            bar: group.main,
            steps: config.steps,
            batch: config.batch,
            since: (Instant::now(), first, Duration::ZERO),
        })
    }

    /// Takes note of a step of every member; what it has come to is read only where it is told.
    fn write(&mut self, step: usize, outcomes: &[(String, Outcome)], waited: Duration) -> anyhow::Result<()> {
        self.bar.inc(1);
        if !step.is_multiple_of(LOG_EVERY) && step + 1 != self.steps {
            return Ok(());
        }
        let told = outcomes.iter().map(|(name, outcome)| Ok((name, outcome.read()?)));
        let reports = told.collect::<Result<Vec<(&String, StepReport)>, sae::Error>>()?;
        let (start, first, waited_before) = self.since;
        let seconds = start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        let speed = (self.batch * (step + 1 - first)) as f64 / seconds;
        let share = (waited - waited_before).as_secs_f64() / seconds;
        self.since = (Instant::now(), step + 1, waited);
        for (name, report) in reports {
            let Some((metrics, line)) = self.members.get_mut(name) else {
                continue;
            };
            line.set_message(format!(
                "{name:<28} unexplained {:.3}, active {:.1}, dead {:.3}",
                report.fvu, report.l0, report.dead
            ));
            let serde_json::Value::Object(mut numbers) = serde_json::json!(report) else {
                continue;
            };
            numbers.insert("tokens_per_s".to_owned(), speed.round().into());
            numbers.insert("waiting".to_owned(), ((share * 1e4).round() / 1e4).into());
            let path = metrics.path().to_owned();
            metrics
                .write(step, &numbers)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}
