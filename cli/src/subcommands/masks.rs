//! `saelab masks`: which latents carry an attribute, by masks that are learned from the model's gradients.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;
use crate::output;

/// Arguments of `saelab masks`.
#[derive(Debug, clap::Args)]
pub(crate) struct MasksArgs {
    /// Config, for example configs/eval/masks.toml
    config: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    /// Folder of the experiment; holds activations/, supervised/ and sae/, and receives masks.json
    #[arg(long)]
    run: PathBuf,
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    #[command(flatten)]
    set: Overrides,
}

impl MasksArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::masks::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model,
            run: self.run,
            sites: self.sites,
        };
        output::outcome(&settings.run(context)?)
    }
}
