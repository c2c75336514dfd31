//! `saelab circuit import`: scores that EAP-IG's library or MIB wrote, and the circuit that they mark.

use std::path::PathBuf;

use circuits::{Circuit, CircuitFile, ScoreFile, Scores, evaluate, read_graph_json, read_graph_pt};
use lm::LoadOptions;

use super::source::{CircuitConfig, Sources};
use crate::run_folder;
use crate::{ConfigFile, Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Graph of EAP-IG's library or importances of MIB: JSON, or .pt.
    pub graph: PathBuf,
    /// Config that names the pairs and the metric that the scores are of; `method` is what they are called in tables.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// The scores have the sign of the metric: negative where an edge helps.
    pub negate: bool,
    /// Folder for edges.parquet and scores.json, and circuit.json where edges are marked as kept.
    pub out: PathBuf,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        let config: CircuitConfig = self.config.read()?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        let (circuit, scores) = match self.graph.extension().is_some_and(|extension| extension == "pt") {
            true => read_graph_pt(&self.graph, model.spec())?,
            false => read_graph_json(&self.graph, model.spec())?,
        };
        let (pairs, options) = (config.pairs.open(&tokenizer, context)?, config.options());
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
        let said = format!("{} scores{kept}: {}", scores.values.len(), self.out.display());
        Ok(Outcome::new((), said))
    }

    /// Writes the circuit that the file marks, if it marks one; says how many edges it has.
    fn keep(&self, circuit: &Circuit, scores: &Scores, file: &ScoreFile) -> Result<String> {
        if circuit.is_empty() {
            return Ok(String::new());
        }
        CircuitFile::new(circuit, &scores.values, file, None).write(&self.out.join("circuit.json"))?;
        Ok(format!(" and a circuit of {} edges", circuit.len()))
    }
}
