//! How much each edge matters: the scores of all edges on pairs of prompts.
//!
//! A score is how much the metric falls when the edge carries what its source adds in the corrupted run: positive where the edge
//! helps. Exact patching measures it; the gradient methods reckon it as the difference of the source's outputs times a gradient at
//! the destination, summed over positions and dimensions: one product of matrices for each group of destinations.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use lm::{Grouping, Model, Passes};

use crate::attribution::Runs;
use crate::graph::Graph;
use crate::kept::{BatchScores, Kept};
use crate::runs::{Batch, numbers};
use crate::{Ablation, Error, Method, Pair, ScoreOptions, ablation, exact, flow, pairs, patched};

/// Scores of all edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The graph.
    pub graph: Graph,
    /// Mean over pairs, in the order of the edges.
    pub values: Vec<f64>,
    /// Standard error of each mean; none of a single pair.
    pub errors: Vec<Option<f64>>,
    /// Of each pair all edges, `[pairs, edges]`; nothing of imported scores.
    pub by_pair: Vec<f32>,
    /// The metric of each pair's clean run.
    pub clean: Vec<f64>,
    /// The metric of each pair's corrupted run, with what is right for the clean one.
    pub corrupted: Vec<f64>,
}

/// Scores every edge of a model on `pairs`; `on_progress` hears how many pairs are done.
///
/// Pairs of equal length are run together, so clean prompts are not padded, and a pair's scores do not depend on its batch. With a
/// folder `keep`, each finished batch is kept there and taken from there when the same scores are asked for again; the folder is
/// removed at the end. That is for exact patching, which takes hours on larger models.
///
/// # Errors
///
/// Pairs that the model cannot run; settings that do not go together; scores that are not finite; a folder that cannot be written to.
pub fn score(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    keep: Option<&Path>,
    on_progress: &(dyn Fn(usize) + Sync),
) -> Result<Scores, Error> {
    pairs::check(pairs, model.spec())?;
    options.check()?;
    let graph = Graph::new(model.spec());
    let kept = keep
        .map(|folder| Kept::new(folder, model, pairs, options))
        .transpose()?;
    let means = match options.ablation {
        Ablation::Mean => Some(ablation::means(model, pairs, options.batch)?),
        Ablation::Counterfactual | Ablation::Zero => None,
    };
    let done = AtomicUsize::new(0);
    let passes = Passes::new(model, options.batch).grouped(Grouping::Length);
    let batches = passes.each(pairs, |pass| -> Result<BatchScores, Error> {
        let known = kept
            .as_ref()
            .map(|kept| kept.load(&pass.rows, graph.n_edges()))
            .transpose()?;
        let scores = match known.flatten() {
            Some(scores) => scores,
            None => {
                let batch = Batch::new(model, pass.rows.iter().map(|&row| &pairs[row]).collect())?;
                let scores = of_batch(&batch, &graph, options, means.as_ref(), pass.rows)?;
                kept.as_ref().map(|kept| kept.save(&scores)).transpose()?;
                scores
            }
        };
        on_progress(done.fetch_add(scores.rows.len(), Ordering::Relaxed) + scores.rows.len());
        Ok(scores)
    })?;
    let scores = gather(graph, pairs.len(), batches)?;
    kept.map(Kept::remove).transpose()?;
    Ok(scores)
}

/// Means and their standard errors over all pairs, in double precision.
fn gather(graph: Graph, pairs: usize, batches: Vec<BatchScores>) -> Result<Scores, Error> {
    let edges = graph.n_edges();
    let mut by_pair = vec![0.0_f32; pairs * edges];
    let (mut clean, mut corrupted) = (vec![0.0; pairs], vec![0.0; pairs]);
    for batch in batches {
        for (place, &row) in batch.rows.iter().enumerate() {
            (clean[row], corrupted[row]) = (batch.clean[place], batch.corrupted[place]);
            by_pair[row * edges..(row + 1) * edges].copy_from_slice(&batch.values[place * edges..(place + 1) * edges]);
        }
    }
    let (mut sums, mut squares) = (vec![0.0_f64; edges], vec![0.0_f64; edges]);
    for row in by_pair.chunks(edges) {
        for (edge, &value) in row.iter().enumerate() {
            sums[edge] += f64::from(value);
            squares[edge] += f64::from(value).powi(2);
        }
    }
    let n = pairs as f64;
    let values: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
    if let Some(edge) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite {
            what: graph.name(graph.edge(edge)),
        });
    }
    let error = |(mean, square): (&f64, &f64)| {
        let variance = (square - n * mean * mean).max(0.0) / (n - 1.0);
        (pairs > 1).then(|| (variance / n).sqrt())
    };
    Ok(Scores {
        errors: values.iter().zip(&squares).map(error).collect(),
        graph,
        values,
        by_pair,
        clean,
        corrupted,
    })
}

fn of_batch(
    batch: &Batch<'_>,
    graph: &Graph,
    options: &ScoreOptions,
    means: Option<&Tensor<2>>,
    rows: Vec<usize>,
) -> Result<BatchScores, Error> {
    let spec = batch.model.spec();
    let streams = match options.method {
        Method::Exact => exact::streams(spec),
        Method::EapIgActivations | Method::EapIgActivationsMended => Runs::streams(spec),
        Method::InformationFlow => patched::streams(spec),
        _ => Vec::new(),
    };
    let corrupted = batch.run_corrupted(&[])?;
    let clean = batch.run(&streams)?;
    let metric = batch.metric(options.metric, &clean.logits);
    let [of_clean, of_corrupted] = [&clean, &corrupted].map(|run| numbers(metric.values(run.logits.clone())));
    let values = match options.method {
        Method::InformationFlow => flow::score(batch, graph, &clean),
        method => {
            let difference = ablation::difference(options.ablation, &clean.stack, corrupted.stack, means); // [B, S, T D]
            match method {
                Method::Exact => exact::score(batch, graph, &clean.streams, &difference, &metric, &of_clean)?,
                _ => {
                    let runs = Runs {
                        batch,
                        graph,
                        options,
                        embed: clean.embed,
                        streams: clean.streams,
                        difference,
                        metric,
                    };
                    runs.score()?
                }
            }
        }
    };
    Ok(BatchScores {
        rows,
        values,
        clean: of_clean,
        corrupted: of_corrupted,
    })
}
