//! `saelab phenomena`: the toys of occlusion and over-splitting.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use crate::output;

/// Arguments of `saelab phenomena`.
#[derive(Debug, clap::Args)]
pub(crate) struct Phenomena {
    /// Config, for example configs/phenomena/quick.toml
    config: PathBuf,
    /// Folder of the results; configurations that are finished there are not run again
    #[arg(long)]
    out: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Phenomena {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::phenomena::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set,
            },
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
