//! `saelab circuit check`: what a circuit keeps of a behaviour.

use std::path::PathBuf;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;

/// Arguments of `saelab circuit check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Circuit written by `saelab circuit select`
    circuit: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// File of pairs (JSON lines), instead of the one that the circuit names
    #[arg(long)]
    pairs: Option<PathBuf>,
    /// Use the pairs that edges were scored on, as published
    #[arg(long, conflicts_with = "pairs")]
    discovery: bool,
    /// Bootstrap samples of pairs
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// File to write [default: check.json beside the circuit]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::check::Settings {
            circuit: self.circuit,
            model: self.model.model,
            load: self.model.weights.options(),
            pairs: self.pairs,
            discovery: self.discovery,
            resamples: self.resamples,
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
