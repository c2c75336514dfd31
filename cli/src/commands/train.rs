//! `saelab train`: sparse autoencoders on cached activations, one per node and architecture.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use activations::Store;
use lm::files;
use sae::{Architecture, Autoencoder, Origin, TrainConfig, TrainFile, train};

use super::Context;
use super::run_folder::{self, RunFolder};
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
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Train {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: TrainFile = config::read(&self.config, &self.set)?;
        let config =
            TrainConfig::try_from(file).map_err(|error| ConfigError(format!("{}: {error}", self.config.display())))?;
        let run = RunFolder(self.run);
        let store = Store::open(&run.activations())?;
        let nodes = run_folder::read_sites(&self.sites)?.nodes();
        let steps = nodes.len() * config.variants.len() * config.steps;
        output::note(&format!(
            "train: {} autoencoders of {} steps",
            nodes.len() * config.variants.len(),
            config.steps
        ));
        let bar = context.progress.bar("train", steps);
        for node in nodes {
            let rows = store.node(&node)?;
            for &architecture in &config.variants {
                let dir = run.sae().join(architecture.dictionary_name()).join(node.dir_name());
                let settings = config.hash(architecture);
                if finished(&dir, &settings, store.hash(), context) {
                    bar.inc(config.steps as u64);
                    continue;
                }
                let mut metrics = String::new();
                let (model, summary) = train(
                    &rows.values,
                    rows.width,
                    architecture,
                    &config,
                    &context.device,
                    &mut |report| {
                        bar.inc(1);
                        if report.step % 50 == 0 || report.step + 1 == config.steps {
                            // Writing to a string cannot fail.
                            let _ = writeln!(metrics, "{}", serde_json::json!(report));
                        }
                    },
                )?;
                files::write_atomic(&dir.join("metrics.jsonl"), |file| file.write_all(metrics.as_bytes()))?;
                model.save(
                    &dir,
                    &Origin {
                        training: architecture,
                        node,
                        parent: store.hash().to_owned(),
                        config: settings,
                        summary,
                    },
                )?;
                output::note(&describe(architecture, &node.to_string(), &summary));
            }
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Whether `dir` holds this autoencoder already, trained with the same settings on the same activations.
fn finished(dir: &Path, settings: &str, store: &str, context: &Context) -> bool {
    Autoencoder::load(dir, &context.device).is_ok_and(|(_, origin)| origin.config == settings && origin.parent == store)
}

fn describe(architecture: Architecture, node: &str, summary: &sae::Summary) -> String {
    format!(
        "train: {} {node}: unexplained variance {:.3}, {:.1} active latents, {:.0} % dead",
        architecture.dictionary_name(),
        summary.fvu,
        summary.l0,
        summary.dead * 100.0
    )
}
