//! `saelab harvest`: caches activations in Parquet.

use std::path::PathBuf;

use activations::{HarvestConfig, HarvestFile, HarvestPlan, Node, Selection, Source, SourceConfig, harvest};
use tasks::{IoiTask, Sample};

use super::{Context, run_folder};
use crate::config::{self, ConfigError};
use crate::output;

/// Arguments of `saelab harvest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Harvest {
    /// Config, for example configs/ioi/harvest.toml
    config: PathBuf,
    /// Folder for the store; a complete store of the same config is reused
    #[arg(long)]
    out: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Harvest {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: HarvestFile = config::read(&self.config, &self.set)?;
        let config = HarvestConfig::try_from(file)
            .map_err(|error| ConfigError(format!("{}: {error}", self.config.display())))?;
        let (model, tokenizer) = run_folder::load_model_with(&config.model, config.load, &context.device)?;
        let source = match &config.source {
            SourceConfig::Ioi { n, seed } => {
                Source::Prompts(IoiTask::new(&tokenizer)?.sample(Sample::Train, *n, *seed))
            }
            text => {
                let (documents, context) = run_folder::read_text(text)?;
                Source::Text { documents, context }
            }
        };
        let plan = match config.selection {
            Selection::Sites(path) => {
                let sites = run_folder::read_sites(&path)?;
                sites.check(&model)?;
                let nodes: Vec<Node> = sites.nodes().into_iter().collect();
                HarvestPlan::for_nodes(&nodes, source, config.batch, config.rows_per_shard)
            }
            Selection::Hooks { hooks, roles } => HarvestPlan {
                hooks,
                roles,
                source,
                batch: config.batch,
                rows_per_shard: config.rows_per_shard,
            },
        };
        let bar = context.progress.bar("harvest", 0);
        let manifest = harvest(&model, &tokenizer, &plan, &self.out, &mut |progress| {
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        })?;
        bar.finish_and_clear();
        output::note(&format!(
            "harvest: {} hooks in {}",
            manifest.hooks.len(),
            self.out.display()
        ));
        Ok(())
    }
}
