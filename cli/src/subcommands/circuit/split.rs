//! `saelab circuit split`: edges by positions, neurons, or latents of a dictionary.

use std::path::PathBuf;

use lab::ConfigFile;
use lm::HookPoint;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;
use crate::subcommands::overrides::Overrides;

/// Arguments of `saelab circuit split`.
#[derive(Debug, clap::Args)]
pub(super) struct Split {
    /// Config, for example configs/circuits/ioi.toml
    config: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Edges, written as in a circuit's file.
    #[arg(
        long = "edge",
        required = true,
        help = "Edges as they are written, \"m0->a1.h0<v>\"; by parts of a source all have one source, by those of a destination \
                one destination"
    )]
    edges: Vec<String>,
    /// Parts into which edges are split
    #[arg(long)]
    by: By,
    /// Folder of an autoencoder of the source's or destination's hook_mlp_out or hook_z, or of a transcoder that replaces it
    #[arg(long, required_if_eq_any([("by", "latents"), ("by", "to-latents")]))]
    dictionary: Option<PathBuf>,
    /// The hook that a transcoder reads
    #[arg(long, requires = "dictionary")]
    reads: Option<HookPoint>,
    /// Number of parts to print for each edge
    #[arg(long, default_value_t = 10)]
    shown: usize,
    /// JSON file to write
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    set: Overrides,
}

/// What edges are taken apart into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The positions that they carry, from the last one backwards
    Positions,
    /// The neurons of the MLP that they come from
    Neurons,
    /// The neurons of the MLP that they lead to
    ToNeurons,
    /// The latents of a dictionary that is spliced in at their destination, and its error term
    ToLatents,
    /// The latents of a dictionary of their source, and its error term
    Latents,
}

impl Split {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::split::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model.model,
            load: self.model.weights.options(),
            edges: self.edges,
            by: match self.by {
                By::Positions => lab::circuit::split::By::Positions,
                By::Neurons => lab::circuit::split::By::Neurons,
                By::ToNeurons => lab::circuit::split::By::ToNeurons,
                By::ToLatents => lab::circuit::split::By::ToLatents,
                By::Latents => lab::circuit::split::By::Latents,
            },
            dictionary: self.dictionary,
            reads: self.reads,
            shown: self.shown,
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
