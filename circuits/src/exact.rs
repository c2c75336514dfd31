//! Exact patching of every edge: a run in which one destination reads the corrupted output of one source.
//!
//! Nothing before the destination changes, so the run begins at its block, where the clean residual stream is, and all sources of a
//! destination are rows of one batch.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use lm::{HookPoint, Logits, Past, Patch, Request, Spec, Start};
use rayon::prelude::*;

use crate::Error;
use crate::graph::{Graph, Group};
use crate::metric::Bound;
use crate::runs::{Batch, numbers};
use crate::sources;

/// Numbers of the largest tensor of a run, the residual stream of every head: 64 MB.
const LARGEST: usize = 16 << 20;

/// The hooks that exact patching begins at.
pub(crate) fn streams(spec: &Spec) -> Vec<HookPoint> {
    let last = HookPoint::ResidPost(spec.n_layer - 1);
    (0..spec.n_layer).map(HookPoint::ResidPre).chain([last]).collect()
}

/// Forward passes for all edges, those that begin at a later block as their share.
pub(crate) fn passes(graph: &Graph) -> f64 {
    let layers = graph.n_layer() as f64;
    let share = |group| match group {
        Group::Heads { layer, .. } | Group::Mlp { layer } => (layers - layer as f64) / layers,
        Group::Logits => 0.0,
    };
    let edges = |group| graph.group(group).len() * graph.sources_of_group(group);
    graph
        .groups()
        .into_iter()
        .map(|group| share(group) * edges(group) as f64)
        .sum()
}

/// The sources of one destination that are patched in one run.
struct Job {
    group: Group,
    destination: usize,
    place: usize,
    from: usize,
    to: usize,
}

/// How much the metric of each pair falls when each edge is patched, `[B, edges]`.
pub(crate) fn score(
    batch: &Batch<'_>,
    graph: &Graph,
    clean: &BTreeMap<HookPoint, Tensor<3>>,
    difference: &Tensor<3>,
    metric: &Bound,
    of_clean: &[f64],
) -> Result<Vec<f32>, Error> {
    let (rows, edges) = (batch.rows(), graph.n_edges());
    let jobs = jobs(graph, rows * batch.clean.len() * batch.model.spec().d_model);
    let found: Vec<(Job, Vec<f64>)> = jobs
        .into_par_iter()
        .map(|job| {
            let logits = logits(batch, clean, difference, &job)?; // [sources B, V]
            Ok((job, numbers(metric.values(logits))))
        })
        .collect::<Result<_, Error>>()?;
    let mut scores = vec![0.0_f32; rows * edges];
    for (job, values) in found {
        let first = graph.edges_into(job.destination).start + job.from;
        for (place, value) in values.into_iter().enumerate() {
            let (source, row) = (place / rows, place % rows);
            scores[row * edges + first + source] = (of_clean[row] - value) as f32;
        }
    }
    Ok(scores)
}

/// All edges in runs of bounded size; `one` is the size of the residual stream of a batch.
fn jobs(graph: &Graph, one: usize) -> Vec<Job> {
    let mut jobs = Vec::new();
    for destination in 0..graph.n_destinations() {
        let (group, place) = graph.group_of(destination);
        let most = (LARGEST / (one * graph.group(group).len()).max(1)).max(1);
        let seen = graph.sources_of(destination);
        for from in (0..seen).step_by(most) {
            jobs.push(Job {
                group,
                destination,
                place,
                from,
                to: (from + most).min(seen),
            });
        }
    }
    jobs
}

/// Logits of the runs of a job, source by source, `[sources B, V]`.
fn logits(
    batch: &Batch<'_>,
    clean: &BTreeMap<HookPoint, Tensor<3>>,
    difference: &Tensor<3>,
    job: &Job,
) -> Result<Tensor<2>, Error> {
    let spec = batch.model.spec();
    let (b, t, d) = (batch.rows(), batch.clean.len(), spec.d_model);
    let n = job.to - job.from;
    let added = difference
        .clone()
        .narrow(1, job.from, n)
        .swap_dims(0, 1)
        .reshape([n * b, t, d]); // [sources B, T, D]
    let (layer, resid, patches, last) = match job.group {
        Group::Logits => {
            let resid = clean[&HookPoint::ResidPost(spec.n_layer - 1)]
                .clone()
                .narrow(1, t - 1, 1); // [B, 1, D]
            let resid = resid.repeat_dim(0, n) + added.narrow(1, t - 1, 1); // [sources B, 1, D]
            (spec.n_layer, resid, Vec::new(), 0)
        }
        Group::Mlp { layer } | Group::Heads { layer, .. } => {
            let resid = clean[&HookPoint::ResidPre(layer)].clone().repeat_dim(0, n); // [sources B, T, D]
            let from = job.place * d;
            let patch = Patch::map(sources::input_hook(job.group, spec), move |x| {
                let patched = x.clone().narrow(2, from, d) + added.clone(); // [sources B, T, D]
                x.slice_assign([0..n * b, 0..t, from..from + d], patched)
            });
            (layer, resid, vec![patch], t - 1)
        }
    };
    let start = Start::Resid {
        layer,
        resid,
        past: Past::default(),
    };
    let request = Request {
        patches,
        logits: Logits::At(vec![last; n * b]),
        ..Request::default()
    };
    Ok(batch.model.run(start, &request)?.logits_at()?)
}
