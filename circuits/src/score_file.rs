//! Scores on disk: `edges.parquet`, a row an edge, and `scores.json`, what they are of.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bootstrap::ranks;
use crate::{Error, Graph, Intervals, ScoreOptions, Scores};

/// Version of `scores.json`.
const FORMAT_VERSION: u32 = 2;

/// What `scores.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreFile {
    format_version: u32,
    /// [`lm::Model::file_hash`] of the model.
    pub model: String,
    /// Its blocks, heads, heads of keys and values, and whether attention and MLP are parallel.
    pub graph: (usize, usize, usize, bool),
    /// How the scores were made.
    pub options: ScoreOptions,
    /// Where the pairs came from, as the config says.
    pub pairs: Value,
    /// Whether the scores are another program's, so that nothing is known of single pairs; the method is then what they are called.
    pub imported: bool,
    /// How many.
    pub n_pairs: usize,
    /// Share of pairs whose clean run has a metric above 0: the model says what is right rather than what is wrong.
    /// None where the metric is a divergence.
    pub accuracy: Option<f64>,
    /// Edges of the set that `overlap` is of.
    pub top: usize,
    /// Intersection over union of the best edges with those of a resample, on average; none of a single pair.
    pub overlap: Option<f64>,
    /// Mean metric of the clean runs.
    pub clean: f64,
    /// Mean metric of the corrupted runs.
    pub corrupted: f64,
    /// SHA-256 of `edges.parquet`.
    pub edges: String,
}

/// The graph that sizes stand for.
pub(crate) fn graph((layers, heads, shared, parallel): (usize, usize, usize, bool)) -> Option<Graph> {
    // More blocks or heads than any model has would ask for memory that no machine has.
    let is_plausible = (1..=1000).contains(&layers) && (1..=1000).contains(&heads) && shared > 0 && heads % shared == 0;
    is_plausible.then(|| Graph::of(layers, heads, shared, parallel))
}

pub(crate) fn sizes(graph: &Graph) -> (usize, usize, usize, bool) {
    (graph.n_layer(), graph.n_head(), graph.n_kv_head(), graph.parallel())
}

impl ScoreFile {
    /// Writes scores into a folder: `edges.parquet`, then `scores.json`.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to.
    pub fn write(
        folder: &Path,
        scores: &Scores,
        intervals: Option<&Intervals>,
        options: &ScoreOptions,
        model: &str,
        pairs: Value,
    ) -> Result<Self, Error> {
        let bytes = edges_parquet(scores, intervals)?;
        let right = scores.clean.iter().filter(|&&metric| metric > 0.0).count();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let file = Self {
            format_version: FORMAT_VERSION,
            model: model.to_owned(),
            graph: sizes(&scores.graph),
            options: *options,
            pairs,
            imported: scores.by_pair.is_empty(),
            n_pairs: scores.clean.len(),
            accuracy: options
                .metric
                .judges()
                .then(|| right as f64 / scores.clean.len().max(1) as f64),
            top: intervals.map_or(0, |intervals| intervals.top),
            overlap: intervals.map(|intervals| intervals.overlap),
            clean: mean(&scores.clean),
            corrupted: mean(&scores.corrupted),
            edges: artifacts::sha256_hex(&bytes),
        };
        artifacts::write_atomic(&folder.join("edges.parquet"), |out| out.write_all(&bytes))?;
        artifacts::write_json(&folder.join("scores.json"), &file)?;
        Ok(file)
    }

    /// Reads what [`ScoreFile::write`] wrote: what the scores are of, the graph, and a score for each of its edges.
    ///
    /// # Errors
    ///
    /// Files that are missing or damaged, or do not belong to each other.
    pub fn read(folder: &Path) -> Result<(Self, Graph, Vec<f64>), Error> {
        let path = folder.join("scores.json");
        let damaged = |path: &PathBuf, reason: String| Error::File {
            path: path.clone(),
            reason: format!("{reason}; run `saelab circuit score` again"),
        };
        let value: Value = artifacts::read_json(&path)?;
        if value["format_version"] != FORMAT_VERSION {
            return Err(damaged(&path, "is of another version".to_owned()));
        }
        let file: Self =
            serde_json::from_value(value).map_err(|error| damaged(&path, format!("is damaged: {error}")))?;
        let graph = graph(file.graph).ok_or_else(|| damaged(&path, "has a graph of no model".to_owned()))?;
        let edges = folder.join("edges.parquet");
        if artifacts::sha256_file(&edges)? != file.edges {
            return Err(damaged(
                &edges,
                "is not the file that scores.json was written with".to_owned(),
            ));
        }
        let scores = read_edges(&edges, &graph)?;
        Ok((file, graph, scores))
    }
}

/// Scores as a Parquet file.
fn edges_parquet(scores: &Scores, intervals: Option<&Intervals>) -> Result<Vec<u8>, Error> {
    let graph = &scores.graph;
    let destinations = || graph.edges().map(|edge| graph.destination(edge.destination));
    let sources = graph.edges().map(|edge| Some(graph.source(edge.source).to_string()));
    let nodes = destinations().map(|destination| Some(destination.node.to_string()));
    let slots = destinations().map(|destination| destination.slot.map(|slot| slot.to_string()));
    let of_rank = |rank: &dyn Fn(usize) -> usize| -> ArrayRef {
        Arc::new(
            (0..graph.n_edges())
                .map(|edge| rank(edge) as u64)
                .collect::<UInt64Array>(),
        )
    };
    let in_order = ranks(&scores.values);
    let mut columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("source", Arc::new(sources.collect::<StringArray>()), false),
        ("destination", Arc::new(nodes.collect::<StringArray>()), false),
        ("slot", Arc::new(slots.collect::<StringArray>()), true),
        ("score", Arc::new(Float64Array::from(scores.values.clone())), false),
        (
            "standard_error",
            Arc::new(Float64Array::from(scores.errors.clone())),
            true,
        ),
        ("rank", of_rank(&|edge| in_order[edge]), false),
    ];
    if let Some(intervals) = intervals {
        let end = |place: usize| -> ArrayRef {
            Arc::new(
                intervals
                    .scores
                    .iter()
                    .map(|ends| ends[place])
                    .collect::<Float64Array>(),
            )
        };
        columns.extend([
            ("score_low", end(0), false),
            ("score_high", end(1), false),
            ("rank_low", of_rank(&|edge| intervals.ranks[edge][0]), false),
            ("rank_high", of_rank(&|edge| intervals.ranks[edge][1]), false),
        ]);
    }
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

/// The scores of `edges.parquet` in the order of the graph's edges.
fn read_edges(path: &Path, graph: &Graph) -> Result<Vec<f64>, Error> {
    let damaged = |reason: &str| Error::File {
        path: path.to_owned(),
        reason: format!("{reason}; run `saelab circuit score` again"),
    };
    let file = File::open(path).map_err(|error| damaged(&format!("cannot be read: {error}")))?;
    let mut scores: Vec<Option<f64>> = vec![None; graph.n_edges()];
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let text = |name: &str| {
            batch
                .column_by_name(name)
                .and_then(|column| column.as_any().downcast_ref::<StringArray>().cloned())
        };
        let score = batch
            .column_by_name("score")
            .and_then(|column| column.as_any().downcast_ref::<Float64Array>().cloned());
        let columns = text("source").zip(text("destination")).zip(text("slot").zip(score));
        let ((source, destination), (slot, score)) =
            columns.ok_or_else(|| damaged("lacks one of its columns source, destination, slot and score"))?;
        for row in 0..batch.num_rows() {
            let slot = slot.is_valid(row).then(|| slot.value(row));
            let edge = graph.find(source.value(row), destination.value(row), slot)?;
            scores[graph.edge_number(edge)] = Some(score.value(row)).filter(|score| score.is_finite());
        }
    }
    scores
        .into_iter()
        .collect::<Option<Vec<f64>>>()
        .ok_or_else(|| damaged("lacks the score of an edge"))
}
