//! `saelab circuit import`: scores that EAP-IG's library or MIB wrote, and the circuit that they mark.

use std::path::PathBuf;

use lab::ConfigFile;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;

/// Arguments of `saelab circuit import`.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Graph of EAP-IG's library or importances of MIB: JSON, or .pt
    graph: PathBuf,
    /// Config that names the pairs and the metric that the scores are of; `method` is what they are called in tables
    #[arg(long)]
    config: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// The scores have the sign of the metric: negative where an edge helps
    #[arg(long)]
    negate: bool,
    /// Folder for edges.parquet and scores.json, and circuit.json where edges are marked as kept
    #[arg(long)]
    out: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::import::Settings {
            graph: self.graph,
            config: ConfigFile {
                path: self.config,
                set: self.set,
            },
            model: self.model.model,
            load: self.model.weights.options(),
            negate: self.negate,
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
