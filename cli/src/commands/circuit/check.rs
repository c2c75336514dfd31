//! `saelab circuit check`: what a circuit keeps of a behaviour.

use std::path::PathBuf;

use anyhow::Context as _;
use circuits::{CircuitFile, Faithfulness, evaluate};
use serde::Serialize;

use super::super::{Context, run_folder};
use super::ModelArg;
use super::source::{CheckPairs, PairsSource, Sources};
use crate::output;

/// Arguments of `saelab circuit check`.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Circuit of `saelab circuit select`
    circuit: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Another file of pairs (JSON lines) than the circuit names
    #[arg(long)]
    pairs: Option<PathBuf>,
    /// On the pairs that edges were scored on, as published
    #[arg(long, conflicts_with = "pairs")]
    discovery: bool,
    /// Bootstrap samples of pairs
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// File to write; check.json beside the circuit where none is named
    #[arg(long)]
    out: Option<PathBuf>,
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

impl Check {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let (file, circuit, _) = CircuitFile::read(&self.circuit)?;
        let (model, tokenizer) =
            run_folder::load_model(&self.model.model, self.model.weights.options(), &context.device)?;
        file.check_model(&self.circuit, &model)?;
        let sources: Sources = serde_json::from_value(file.pairs.clone())
            .with_context(|| format!("{} is damaged", self.circuit.display()))?;
        let CheckPairs { source, pairs } = match self.pairs {
            Some(path) => {
                let source = PairsSource::of_file(path);
                let pairs = source.open(&tokenizer)?;
                CheckPairs { source, pairs }
            }
            None => sources.check_pairs(self.discovery, &tokenizer, "circuit check")?,
        };
        output::note(&format!(
            "circuit check: {} runs of {} pairs, of the circuit, of all other edges, clean and corrupted",
            4,
            pairs.len()
        ));
        let both = [circuit.clone(), circuit.complement()];
        let bar = context.progress.bar("circuit check", 2 * pairs.len());
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
        output::result(&table(&file, of_circuit, of_complement))?;
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
        output::note(&format!("circuit check: {}", path.display()));
        Ok(())
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
