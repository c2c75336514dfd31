//! `saelab circuit`: which edges of a model carry a behaviour, and how faithful they are alone.

use std::path::PathBuf;

use clap::Subcommand;

use super::Context;
use super::weights::WeightArgs;

mod check;
mod compare;
mod draw;
mod export;
mod import;
mod latents;
mod score;
mod select;
mod split;

/// Arguments of `saelab circuit`.
#[derive(Debug, clap::Args)]
pub(crate) struct CircuitArgs {
    #[command(subcommand)]
    command: CircuitCommand,
}

#[derive(Debug, Subcommand)]
enum CircuitCommand {
    /// Score every edge of a model by how much it matters to a behaviour
    Score(score::Score),
    /// Choose the edges of a circuit from scores
    Select(select::Select),
    /// Measure how much of the behaviour a circuit keeps
    Check(check::Check),
    /// Compare scores of several methods: agreement, overlap and faithfulness at every size
    Compare(compare::Compare),
    /// Split edges by position, by neuron, or by latent of a dictionary with its error term
    Split(split::Split),
    /// Show which latents of an experiment's dictionaries carry an attribute, beside those that its evaluation chooses
    Latents(latents::Latents),
    /// Draw a circuit as SVG and DOT
    Draw(draw::Draw),
    /// Write scores and a circuit as EAP-IG's library and MIB read them
    Export(export::Export),
    /// Read scores, and a circuit, written by EAP-IG's library or MIB
    Import(import::Import),
}

/// Where a model is, and what its pairs are; the same for all subcommands that run one.
#[derive(Debug, clap::Args)]
struct ModelArg {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
}

impl CircuitArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.command {
            CircuitCommand::Score(command) => command.run(context),
            CircuitCommand::Select(command) => command.run(),
            CircuitCommand::Check(command) => command.run(context),
            CircuitCommand::Compare(command) => command.run(context),
            CircuitCommand::Split(command) => command.run(context),
            CircuitCommand::Latents(command) => command.run(context),
            CircuitCommand::Draw(command) => command.run(),
            CircuitCommand::Export(command) => command.run(context),
            CircuitCommand::Import(command) => command.run(context),
        }
    }
}
