//! `saelab circuit select`: the edges of a circuit.

use std::path::PathBuf;

use circuits::Rule;

use crate::output;

/// Arguments of `saelab circuit select`.
#[derive(Debug, clap::Args)]
pub(super) struct Select {
    /// Folder of `saelab circuit score`
    scores: PathBuf,
    /// Edges to choose, before pruning
    #[arg(long, conflicts_with = "share")]
    edges: Option<usize>,
    /// Share of all edges to choose, before pruning
    #[arg(long)]
    share: Option<f64>,
    /// greedy (from the logits backwards) or top-n (wherever they are)
    #[arg(long, default_value_t = Rule::Greedy)]
    rule: Rule,
    /// Rank by signed scores, so that harmful edges come last
    #[arg(long)]
    signed: bool,
    /// Circuit to write [default: circuit.json in the folder of the scores]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Select {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let settings = lab::circuit::select::Settings {
            scores: self.scores,
            edges: self.edges,
            share: self.share,
            rule: self.rule,
            signed: self.signed,
            out: self.out,
        };
        output::outcome(&settings.run()?)
    }
}
