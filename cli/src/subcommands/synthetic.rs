//! `saelab synthetic`: autoencoders on activations whose features are known.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;
use crate::output;

/// Arguments of `saelab synthetic`.
#[derive(Debug, clap::Args)]
pub(crate) struct Synthetic {
    /// Config, for example configs/synthetic/quick.toml
    config: PathBuf,
    /// Folder for the results; autoencoders that are finished there are not trained again
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    set: Overrides,
}

impl Synthetic {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::synthetic::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
