//! `saelab circuit import`: scores that EAP-IG's library or MIB wrote, and the circuit that they mark.

use std::path::PathBuf;

use circuits::{Circuit, CircuitFile, ScoreFile, Scores, evaluate, read_graph_json, read_graph_pt};

use super::super::{Context, run_folder};
use super::ModelArg;
use super::source::{CircuitConfig, Sources};
use crate::{config, output};

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
        let config: CircuitConfig = config::read(&self.config, &self.set)?;
        let (model, tokenizer) =
            run_folder::load_model(&self.model.model, self.model.weights.options(), &context.device)?;
        let (circuit, scores) = match self.graph.extension().is_some_and(|extension| extension == "pt") {
            true => read_graph_pt(&self.graph, model.spec())?,
            false => read_graph_json(&self.graph, model.spec())?,
        };
        let (pairs, options) = (config.pairs.open(&tokenizer)?, config.options());
        // What the pairs measure is measured here; the file only has scores.
        let found = evaluate(&model, &pairs, &[], options.metric, options.batch, &|_| ())?;
        let values: Vec<f64> = match self.negate {
            true => scores.into_iter().map(|score| -score).collect(),
            false => scores,
        };
        let scores = Scores {
            graph: circuit.graph().clone(),
            errors: vec![None; values.len()],
            by_pair: Vec::new(),
            values,
            clean: found.clean,
            corrupted: found.corrupted,
        };
        let sources = Sources {
            score: config.pairs,
            check: config.check,
        };
        let pairs = serde_json::to_value(sources)?;
        let file = ScoreFile::write(&self.out, &scores, None, &options, model.file_hash(), pairs)?;
        let kept = self.keep(&circuit, &scores, &file)?;
        output::result(&format!("{} scores{kept}: {}", scores.values.len(), self.out.display()))
    }

    /// Writes the circuit that the file marks, if it marks one; says how many edges it has.
    fn keep(&self, circuit: &Circuit, scores: &Scores, file: &ScoreFile) -> anyhow::Result<String> {
        if circuit.is_empty() {
            return Ok(String::new());
        }
        CircuitFile::new(circuit, &scores.values, file, None).write(&self.out.join("circuit.json"))?;
        Ok(format!(" and a circuit of {} edges", circuit.len()))
    }
}
