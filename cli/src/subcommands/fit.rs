//! `saelab fit`: supervised dictionaries from cached activations, one per node, method and parametrization.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;

/// Arguments of `saelab fit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Fit {
    /// Config, for example configs/ioi/fit.toml
    config: PathBuf,
    /// Folder of the experiment; holds activations/
    #[arg(long)]
    run: PathBuf,
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    /// Overwrite dictionaries of other settings or activations
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    set: Overrides,
}

impl Fit {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::fit::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            run: self.run,
            sites: self.sites,
            replace: self.replace,
        };
        Ok(settings.run(context)?)
    }
}
