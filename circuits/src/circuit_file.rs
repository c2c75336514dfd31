//! A circuit on disk: `circuit.json`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::score_file::{graph, sizes};
use crate::{Circuit, Error, ScoreOptions, Selection};

/// Version of `circuit.json`.
const FORMAT_VERSION: u32 = 3;

/// What `circuit.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CircuitFile {
    format_version: u32,
    /// [`lm::Model::file_hash`] of the model.
    pub model: String,
    /// SHA-256 of the `edges.parquet` that the edges were chosen from.
    pub edges_parquet: String,
    /// The model's blocks, heads, heads of keys and values, and whether attention and MLP are parallel.
    pub graph: (usize, usize, usize, bool),
    /// Edges of the graph.
    pub n_edges: usize,
    /// How the scores were made.
    pub scores: ScoreOptions,
    /// Where the pairs of the scores came from.
    pub pairs: Value,
    /// How the edges were chosen; none where another program's file marked them.
    pub selection: Option<Selection>,
    /// Edges that are left after pruning.
    pub kept: usize,
    edges: Vec<KeptEdge>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptEdge {
    source: String,
    destination: String,
    slot: Option<String>,
    score: f64,
}

impl CircuitFile {
    /// What is to be written of a circuit that was chosen from `scores` as `file` says.
    pub fn new(circuit: &Circuit, scores: &[f64], file: &crate::ScoreFile, selection: Option<Selection>) -> Self {
        let graph = circuit.graph();
        let edges = circuit.edges().map(|edge| {
            let destination = graph.destination(edge.destination);
            KeptEdge {
                source: graph.source(edge.source).to_string(),
                destination: destination.node.to_string(),
                slot: destination.slot.map(|slot| slot.to_string()),
                score: scores[graph.edge_number(edge)],
            }
        });
        Self {
            format_version: FORMAT_VERSION,
            model: file.model.clone(),
            edges_parquet: file.edges.clone(),
            graph: sizes(graph),
            n_edges: graph.n_edges(),
            scores: file.options,
            pairs: file.pairs.clone(),
            selection,
            kept: circuit.len(),
            edges: edges.collect(),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// A path that cannot be written to.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        Ok(artifacts::write_json(path, self)?)
    }

    /// Reads a circuit, and the scores of its edges; all other scores are 0.
    ///
    /// # Errors
    ///
    /// A file that is missing or damaged; an edge that its graph does not have.
    pub fn read(path: &Path) -> Result<(Self, Circuit, Vec<f64>), Error> {
        let fail = |reason: String| Error::File {
            path: path.to_owned(),
            reason: format!("{reason}; run `saelab circuit select` again"),
        };
        let value: Value = artifacts::read_json(path)?;
        if value["format_version"] != FORMAT_VERSION {
            return Err(fail("is no circuit of this version".to_owned()));
        }
        let file: Self = serde_json::from_value(value).map_err(|error| fail(format!("is damaged: {error}")))?;
        let graph = graph(file.graph).ok_or_else(|| fail("has a graph of no model".to_owned()))?;
        let mut scores = vec![0.0; graph.n_edges()];
        let mut numbers = Vec::new();
        for edge in &file.edges {
            let found = graph.find(&edge.source, &edge.destination, edge.slot.as_deref());
            let number = graph.edge_number(found.map_err(|error| fail(error.to_string()))?);
            scores[number] = edge.score;
            numbers.push(number);
        }
        Ok((file, Circuit::new(graph, numbers), scores))
    }

    /// Refuses a model that the circuit is not of.
    ///
    /// # Errors
    ///
    /// Another model, by both hashes.
    pub fn check_model(&self, path: &Path, model: &lm::Model) -> Result<(), Error> {
        let start = |hash: &str| hash.chars().take(12).collect::<String>();
        match self.model == model.file_hash() {
            true => Ok(()),
            false => Err(Error::File {
                path: path.to_owned(),
                reason: format!(
                    "is a circuit of another model ({}..., not {}...): give the model that its scores were made with",
                    start(&self.model),
                    start(model.file_hash())
                ),
            }),
        }
    }
}
