//! `saelab pretrain`: trains tokenizer and language model on the written world.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;

/// Arguments of `saelab pretrain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pretrain {
    /// Config, for example configs/pretrain/small-world.toml
    config: PathBuf,
    /// Folder for the model in Hugging Face layout
    #[arg(long)]
    out: PathBuf,
    /// Continue from the last checkpoint in the output folder
    #[arg(long)]
    resume: bool,
    /// Start even if the output folder holds something else; a model there stays until the new one is complete
    #[arg(long, conflicts_with = "resume")]
    replace: bool,
    #[command(flatten)]
    set: Overrides,
}

impl Pretrain {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::pretrain::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            out: self.out,
            resume: self.resume,
            replace: self.replace,
        };
        Ok(settings.run(context)?)
    }
}
