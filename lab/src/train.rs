//! `saelab train`: sparse autoencoders on cached activations, all of a site on one stream.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use activations::Store;
use sae::{TrainConfig, TrainFile};
use work::Share;

use crate::error::WithContext as _;
use crate::run_folder::{self, RunFolder};
use crate::train_share::GridShare;
use crate::train_site::SiteTraining;
use crate::training_folder::TrainingFolder;
use crate::training_site::TrainingSite as Site;
use crate::training_source::TrainingSource;
use crate::wording::counted;
use crate::{ConfigError, ConfigFile, Context, Result, usage};

/// A training as it was asked for, with its config, where it writes and what it reads.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) config: &'a TrainConfig,
    pub(crate) run: &'a RunFolder,
    pub(crate) source: &'a TrainingSource,
    pub(crate) context: &'a Context,
}

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
        let asked = Asked {
            settings: &self,
            config: &config,
            run: &run,
            source: &source,
            context,
        };
        if let Some(share) = self.shard {
            return GridShare::train(asked, share, &sites);
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
            SiteTraining::new(asked, site, &config)
                .run()
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
}

/// Reads the config of a training.
pub(crate) fn read_config(file: &ConfigFile, stream: bool) -> Result<TrainConfig, ConfigError> {
    let config = TrainConfig::try_from(file.read::<TrainFile>()?).map_err(|error| file.refused(error))?;
    Ok(TrainConfig { stream, ..config })
}
