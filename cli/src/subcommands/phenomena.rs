//! `saelab phenomena`: the toys of occlusion and over-splitting.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;
use crate::output;

/// Arguments of `saelab phenomena`.
#[derive(Debug, clap::Args)]
pub(crate) struct Phenomena {
    /// Config, for example configs/phenomena/quick.toml
    config: PathBuf,
    /// Folder for the results; configurations that are finished there are not run again
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    set: Overrides,
}

impl Phenomena {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::phenomena::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
