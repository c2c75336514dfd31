//! `saelab locate`: finds the sites where a model keeps the attributes of the task.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;
use super::weights::WeightArgs;
use crate::output;

/// Arguments of `saelab locate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Locate {
    /// Config, for example configs/ioi/locate.toml
    config: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// Sites file to write
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    set: Overrides,
}

impl Locate {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::locate::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model,
            load: self.weights.options(),
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
