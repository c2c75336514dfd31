//! `saelab circuit check`: what a circuit keeps of a behaviour.

use std::path::PathBuf;

use circuits::{CircuitFile, Faithfulness, evaluate, forward_flops};
use lm::LoadOptions;
use serde::Serialize;

use super::source::{CheckPairs, PairsSource, Sources};
use crate::error::WithContext as _;
use crate::estimate;
use crate::run_folder;
use crate::{Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Circuit of `saelab circuit select`.
    pub circuit: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// Another file of pairs (JSON lines) than the circuit names.
    pub pairs: Option<PathBuf>,
    /// On the pairs that edges were scored on, as published.
    pub discovery: bool,
    /// Bootstrap samples of pairs.
    pub resamples: usize,
    /// File to write; check.json beside the circuit where none is named.
    pub out: Option<PathBuf>,
}

/// What `check.json` holds.
#[derive(Debug, Serialize)]
struct CheckFile {
    model: String,
    /// SHA-256 of the circuit's file.
    circuit_json: String,
    metric: circuits::Metric,
    pairs: serde_json::Value,
    kept: usize,
    n_edges: usize,
    circuit: Faithfulness,
    /// Of all edges that the circuit does not keep.
    complement: Faithfulness,
    /// 1 where the other edges keep nothing of the behaviour.
    completeness: Option<f64>,
    per_pair: PerPair,
}

/// The metric of every pair.
#[derive(Debug, Serialize)]
struct PerPair {
    clean: Vec<f64>,
    corrupted: Vec<f64>,
    circuit: Vec<f64>,
    complement: Vec<f64>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        let (file, circuit, _) = CircuitFile::read(&self.circuit)?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        file.check_model(&self.circuit, &model)?;
        let sources: Sources = serde_json::from_value(file.pairs.clone())
            .with_context(|| format!("{} is damaged", self.circuit.display()))?;
        let CheckPairs { source, pairs } = match self.pairs {
            Some(path) => {
                let source = PairsSource::of_file(path);
                let pairs = source.open(&tokenizer, context)?;
                CheckPairs { source, pairs }
            }
            None => sources.check_pairs(self.discovery, &tokenizer, "circuit check", context)?,
        };
        context.note(&format!(
            "circuit check: 4 runs of {} pairs, of the circuit, of all other edges, clean and corrupted, about {:.0} s",
            pairs.len(),
            estimate::of_circuits(4.0 * forward_flops(model.spec(), &pairs), &model, context)
        ));
        let both = [circuit.clone(), circuit.complement()];
        let bar = context.bar("circuit check", 2 * pairs.len());
        let metric = file.scores.metric;
        let found = evaluate(&model, &pairs, &both, metric, file.scores.batch, &|done| {
            bar.set_position(done as u64)
        })?;
        bar.finish_and_clear();
        let [of_circuit, of_complement] = [0, 1].map(|place| {
            Faithfulness::of(
                &found.clean,
                &found.corrupted,
                &found.circuits[place],
                self.resamples,
                0,
            )
        });
        let table = table(&file, of_circuit, of_complement);
        let mut runs = found.circuits.into_iter();
        let check = CheckFile {
            model: file.model,
            circuit_json: artifacts::sha256_file(&self.circuit)?,
            metric,
            pairs: serde_json::to_value(source)?,
            kept: file.kept,
            n_edges: file.n_edges,
            circuit: of_circuit,
            complement: of_complement,
            completeness: of_complement.faithfulness.map(|share| 1.0 - share),
            per_pair: PerPair {
                clean: found.clean,
                corrupted: found.corrupted,
                circuit: runs.next().unwrap_or_default(),
                complement: runs.next().unwrap_or_default(),
            },
        };
        let path = self.out.unwrap_or_else(|| self.circuit.with_file_name("check.json"));
        artifacts::write_json(&path, &check)?;
        Ok(Outcome::new((), table).remark(format!("circuit check: {}", path.display())))
    }
}

fn table(file: &CircuitFile, circuit: Faithfulness, complement: Faithfulness) -> String {
    let share = |of: Faithfulness| match (of.faithfulness, of.interval) {
        (None, _) => "undefined: clean and corrupted runs have one metric".to_owned(),
        (Some(share), None) => format!("{share:.3}"),
        (Some(share), Some([low, high])) => format!("{share:.3} [{low:.3}, {high:.3}]"),
    };
    let row = |name: &str, metric: f64, text: String| format!("{name:<28} {metric:>10.4}  {text}\n");
    let mut out = format!(
        "{:<28} {:>10}  faithfulness, 95 % over pairs\n",
        "",
        file.scores.metric.to_string()
    );
    out += &row("model, clean prompts", circuit.clean, String::new());
    out += &row("model, corrupted prompts", circuit.corrupted, String::new());
    out += &row(
        &format!("circuit of {} edges", file.kept),
        circuit.circuit,
        share(circuit),
    );
    out += &row(
        &format!("the other {} edges", file.n_edges - file.kept),
        complement.circuit,
        share(complement),
    );
    out
}
