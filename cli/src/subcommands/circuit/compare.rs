//! `saelab circuit compare`: scores of several methods side by side, or circuits of several tasks.

use std::path::PathBuf;

use circuits::Rule;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;

/// Arguments of `saelab circuit compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    /// Folders of `saelab circuit score` for one model; the others are compared with the first, so name exact patching first
    #[arg(required = true)]
    scores: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArg,
    /// The folders are of several tasks: run the circuit of each on the pairs of all, and say how much the circuits have in common
    #[arg(long, conflicts_with_all = ["shares", "no_controls"])]
    across: bool,
    /// Share of all edges in the circuits of several tasks
    #[arg(long, default_value_t = 0.05, requires = "across")]
    share: f64,
    /// Shares of all edges at which circuits are measured
    #[arg(long, value_delimiter = ',', default_values_t = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])]
    shares: Vec<f64>,
    /// greedy or top-n
    #[arg(long, default_value_t = Rule::Greedy)]
    rule: Rule,
    /// Rank by signed scores
    #[arg(long)]
    signed: bool,
    /// Leave out the controls: circuits with as many edges, chosen by random scores and by the norms of weights
    #[arg(long)]
    no_controls: bool,
    /// Use the pairs that edges were scored on, as published
    #[arg(long)]
    discovery: bool,
    /// Bootstrap samples of pairs
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// JSON file to write
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Compare {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::compare::Settings {
            scores: self.scores,
            model: self.model.model,
            load: self.model.weights.options(),
            across: self.across,
            share: self.share,
            shares: self.shares,
            rule: self.rule,
            signed: self.signed,
            no_controls: self.no_controls,
            discovery: self.discovery,
            resamples: self.resamples,
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
