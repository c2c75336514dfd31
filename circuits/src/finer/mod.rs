//! Finer than edges: positions, neurons and latents of dictionaries.
//!
//! A score is linear in the difference of what its source adds, and in the change of what its destination reads, so it falls apart
//! exactly: the parts of an edge add up to its score.
//!
//! * [`positions`]: of an edge, by the position that it carries.
//! * [`source_parts`]: of edges out of one source, by [`Parts`] of it: the neurons of an MLP, or the latents of a dictionary of what an MLP
//!   or a head adds, with what the dictionary leaves over.
//! * [`destination_parts`]: of edges into one destination, by the neurons of the MLP, or the latents of a dictionary that is spliced in at
//!   an MLP or a head.
//! * [`node_latents`]: of all that goes through one vector of a prompt, by the latents of a dictionary of it.
//!
//! Shapes: `B` pairs, `T` tokens, `D` d_model, `P` parts, `M` d_mlp, `F` latents.

mod destination;
mod destination_latents;
mod node;
mod positions;
mod source;

pub use destination::destination_parts;
pub use node::{Latents, Vector, node_latents};
pub use positions::positions;
pub use source::{Parts, source_parts};

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use lm::{Grouping, Model, Passes};

use crate::attribution::Runs;
use crate::runs::{Batch, Run};
use crate::{Edge, Error, Graph, Method, Pair, ScoreOptions, ablation, pairs};

/// Scores of the parts of some edges, each list of one length; the mean over pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeParts {
    /// The edge.
    pub edge: Edge,
    /// The score of each part.
    pub parts: Vec<f64>,
    /// The score of what the parts leave over: the error term of a dictionary; 0 where they leave nothing.
    pub rest: f64,
}

impl EdgeParts {
    /// The score of the edge.
    pub fn total(&self) -> f64 {
        self.parts.iter().sum::<f64>() + self.rest
    }
}

/// Checks what all splits need.
fn check(model: &Model, all: &[Pair], options: &ScoreOptions) -> Result<(), Error> {
    pairs::check(all, model.spec())?;
    options.check()?;
    match options.method {
        Method::Exact | Method::InformationFlow => Err(Error::Setting(format!(
            "scores of {} do not fall apart into parts: take a method with gradients",
            options.method
        ))),
        _ => Ok(()),
    }
}

/// Runs every batch of `all`: clean and corrupted run with `hooks` kept, then `of_batch`, whose numbers are summed over pairs and divided
/// by their number.
fn mean_over_pairs(
    model: &Model,
    all: &[Pair],
    options: &ScoreOptions,
    hooks: &[lm::HookPoint],
    of_batch: impl Fn(&Runs<'_>, [&Run; 2]) -> Result<Vec<f64>, Error> + Sync,
) -> Result<Vec<f64>, Error> {
    check(model, all, options)?;
    let graph = Graph::new(model.spec());
    let means = match options.ablation {
        crate::Ablation::Mean => Some(ablation::means(model, all, options.batch)?),
        _ => None,
    };
    let mut streams = Runs::streams(model.spec());
    streams.extend(hooks);
    let passes = Passes::new(model, options.batch).grouped(Grouping::Length);
    let sums = passes.each(all, |pass| -> Result<Vec<f64>, Error> {
        let batch = Batch::new(model, pass.rows.iter().map(|&row| &all[row]).collect())?;
        let corrupted = batch.run_corrupted(hooks)?;
        let clean = batch.run(&streams)?;
        let metric = batch.metric(options.metric, &clean.logits);
        let runs = Runs {
            batch: &batch,
            graph: &graph,
            options,
            embed: clean.embed.clone(),
            streams: clean.streams.clone(),
            difference: ablation::difference(options.ablation, &clean.stack, corrupted.stack.clone(), means.as_ref()),
            metric,
        };
        of_batch(&runs, [&clean, &corrupted])
    })?;
    let mut total: Vec<f64> = Vec::new();
    for sum in sums {
        total.resize(total.len().max(sum.len()), 0.0);
        total.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
    }
    Ok(total.into_iter().map(|sum| sum / all.len() as f64).collect())
}

/// The gradient that each edge's score is a product with, the mean over the runs of the method, `[B, T, D]` by the edge.
fn edge_gradients(runs: &Runs<'_>, edges: &[Edge]) -> Result<BTreeMap<Edge, Tensor<3>>, Error> {
    let (points, n) = runs.points();
    let (b, t, d) = (
        runs.batch.rows(),
        runs.batch.clean.len(),
        runs.batch.model.spec().d_model,
    );
    let mut found: BTreeMap<Edge, Tensor<3>> = BTreeMap::new();
    for point in points {
        runs.gradients(point.at, |group, gradient| {
            let first = runs.graph.group(group).start;
            let into = edges.iter().filter(|edge| {
                runs.graph.group(group).contains(&edge.destination) && point.sources.contains(&edge.source)
            });
            for &edge in into {
                let one = gradient
                    .clone()
                    .narrow(1, edge.destination - first, 1)
                    .reshape([b, t, d])
                    / n as f32; // [B, T, D]
                let sum = match found.remove(&edge) {
                    Some(before) => before + one,
                    None => one,
                };
                found.insert(edge, sum);
            }
        })?;
    }
    Ok(found)
}

/// What cutting a source changes, `[B, T, D]`.
fn difference_of(runs: &Runs<'_>, source: usize) -> Tensor<3> {
    let (b, t, d) = (
        runs.batch.rows(),
        runs.batch.clean.len(),
        runs.batch.model.spec().d_model,
    );
    runs.difference.clone().narrow(1, source, 1).reshape([b, t, d]) // [B, T, D]
}

/// Numbers of a tensor in double precision.
fn doubles<const N: usize>(tensor: Tensor<N>) -> Vec<f64> {
    kernels::to_vec(tensor).into_iter().map(f64::from).collect()
}
