//! `saelab circuit export`: scores and a circuit as other programs read them.

use std::path::{Path, PathBuf};

use circuits::finer::positions;
use circuits::{Circuit, CircuitFile, Edge, ScoreFile, ShownPrompt, write_attribution_graph, write_graph_json};
use lm::{LoadOptions, Logits, Model, Request, Start, TokenBatch};
use text::Tokenizer;

use super::source::Sources;
use crate::run_folder;
use crate::{Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of `saelab circuit score`.
    pub scores: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// Circuit whose edges are marked as kept, or shown; none where none is named.
    pub circuit: Option<PathBuf>,
    /// Who is to read it.
    pub format: Format,
    /// JSON file to write; for circuit-tracer the folder of its graphs.
    pub out: PathBuf,
}

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// EAP-IG's library and the MIB benchmark
    EapIg,
    /// The page of circuit-tracer: the circuit on the first pair's clean prompt
    CircuitTracer,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        let (file, graph, scores) = ScoreFile::read(&self.scores)?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        ensure!(
            file.model == model.file_hash(),
            "{} has scores of another model: give the model that they were made with",
            self.scores.display()
        );
        let circuit = match &self.circuit {
            None => Circuit::empty(graph),
            Some(path) => {
                let (file, circuit, _) = CircuitFile::read(path)?;
                file.check_model(path, &model)?;
                circuit
            }
        };
        let path = match self.format {
            Format::EapIg => {
                write_graph_json(&self.out, &circuit, &scores, model.spec().d_model)?;
                self.out
            }
            Format::CircuitTracer => {
                ensure!(
                    !circuit.is_empty(),
                    "the page shows a circuit: name one that keeps edges with --circuit"
                );
                shown(&self.out, &file, &circuit, &scores, (&model, &tokenizer), context)?
            }
        };
        let said = format!("{} edges, {} kept: {}", scores.len(), circuit.len(), path.display());
        Ok(Outcome::new((), said))
    }
}

/// Writes the circuit on the first pair's clean prompt; returns where.
fn shown(
    folder: &Path,
    file: &ScoreFile,
    circuit: &Circuit,
    scores: &[f64],
    (model, tokenizer): (&Model, &Tokenizer),
    context: &Context,
) -> Result<PathBuf> {
    let sources: Sources = serde_json::from_value(file.pairs.clone())?;
    let slug = sources
        .score
        .name()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
        .to_lowercase();
    let pairs = &sources.score.open(tokenizer, context)?[..1];
    let of_input: Vec<Edge> = circuit.edges().filter(|edge| edge.source == 0).collect();
    let of_input = positions(model, pairs, &file.options, &of_input)?;
    let ids = &pairs[0].clean;
    let request = Request {
        logits: Logits::At(vec![ids.len() - 1]),
        ..Request::default()
    };
    let trace = model.run(Start::Tokens(&TokenBatch::new(&[ids])?), &request)?;
    let probabilities = kernels::to_vec(burn::tensor::activation::softmax(trace.logits_at()?, 1));
    let text = |id: u32| tokenizer.decode(&[id]);
    let texts: Vec<String> = ids.iter().map(|&id| text(id)).collect::<Result<_, _>>()?;
    let answer = |&id: &u32| Ok((id, text(id)?, f64::from(probabilities[id as usize])));
    let answers: Vec<_> = pairs[0].answer.iter().map(answer).collect::<Result<_, text::Error>>()?;
    let prompt = ShownPrompt {
        ids,
        texts: &texts,
        answers: &answers,
    };
    write_attribution_graph(folder, &slug, &file.model, circuit, scores, &prompt, &of_input)?;
    Ok(folder.join(format!("{slug}.json")))
}
