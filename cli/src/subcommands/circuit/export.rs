//! `saelab circuit export`: scores and a circuit as other programs read them.

use std::path::PathBuf;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;

/// Arguments of `saelab circuit export`.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Folder of `saelab circuit score`
    scores: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Circuit whose edges are marked as kept, or shown [default: none]
    #[arg(long)]
    circuit: Option<PathBuf>,
    /// Program that will read it
    #[arg(long, default_value = "eap-ig")]
    format: Format,
    /// JSON file to write; for circuit-tracer the folder of its graphs
    #[arg(long)]
    out: PathBuf,
}

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// EAP-IG's library and the MIB benchmark
    EapIg,
    /// The page of circuit-tracer: the circuit on the first pair's clean prompt
    CircuitTracer,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::export::Settings {
            scores: self.scores,
            model: self.model.model,
            load: self.model.weights.options(),
            circuit: self.circuit,
            format: match self.format {
                Format::EapIg => lab::circuit::export::Format::EapIg,
                Format::CircuitTracer => lab::circuit::export::Format::CircuitTracer,
            },
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
