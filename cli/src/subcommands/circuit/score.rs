//! `saelab circuit score`: scores of all edges.

use std::path::PathBuf;

use lab::ConfigFile;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;
use crate::subcommands::overrides::Overrides;

/// Arguments of `saelab circuit score`.
#[derive(Debug, clap::Args)]
pub(super) struct Score {
    /// Config, for example configs/circuits/ioi.toml
    config: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Folder for edges.parquet and scores.json
    #[arg(long)]
    out: PathBuf,
    /// Overwrite scores of other settings or of another model
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    set: Overrides,
}

impl Score {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::score::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model.model,
            load: self.model.weights.options(),
            out: self.out,
            replace: self.replace,
        };
        output::outcome(&settings.run(context)?)
    }
}
