//! `saelab circuit import`: scores that EAP-IG's library or MIB wrote, and the circuit that they mark.

use std::path::PathBuf;

use lab::ConfigFile;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;
use crate::subcommands::overrides::Overrides;

/// Arguments of `saelab circuit import`.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Graph of EAP-IG's library or importances of MIB: JSON, or .pt
    graph: PathBuf,
    /// Config with the pairs and the metric of the scores; `method` is their name in tables
    #[arg(long)]
    config: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Negate the scores, which are negative where an edge helps
    #[arg(long)]
    negate: bool,
    /// Folder for edges.parquet and scores.json, and circuit.json where edges are marked as kept
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    set: Overrides,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::import::Settings {
            graph: self.graph,
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model.model,
            load: self.model.weights.options(),
            negate: self.negate,
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
