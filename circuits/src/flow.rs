//! Information flow routes: how much of what a destination reads is there because of each source, from one forward pass.
//!
//! At a position where the residual stream is `x` and a source added `z`, the source's part is `max(|x| - |x - z|, 0)` with sums of
//! absolute values, as a share of the parts of all sources that the destination sees. A score is the mean over positions.

use burn::tensor::Tensor;

use crate::graph::Graph;
use crate::runs::{Batch, Run};
use crate::sources;

/// Numbers of the largest tensor: 64 MB.
const LARGEST: usize = 16 << 20;

/// Parts below which a position says nothing of any source.
const SMALLEST: f32 = 1e-12;

/// The scores of all edges, of each pair, `[B, edges]`.
pub(crate) fn score(batch: &Batch<'_>, graph: &Graph, clean: &Run) -> Vec<f32> {
    let (b, edges, t) = (batch.rows(), graph.n_edges(), batch.clean.len());
    let spec = batch.model.spec();
    let mut values = vec![0.0_f32; b * edges];
    for group in graph.groups() {
        let stream = clean.streams[&sources::stream_hook(group, spec)].clone(); // [B, T, D]
        let seen = graph.sources_of_group(group);
        let parts = kernels::to_vec(shares(stream, clean.stack.clone().narrow(1, 0, seen))); // [B, S of the group]
        for destination in graph.group(group) {
            let first = graph.edges_into(destination).start;
            for (row, parts) in parts.chunks(seen).enumerate() {
                let from = row * edges + first;
                for (value, part) in values[from..from + seen].iter_mut().zip(parts) {
                    *value = part / t as f32;
                }
            }
        }
    }
    values
}

/// The share of each source at each position, summed over positions, `[B, n]`.
fn shares(stream: Tensor<3>, added: Tensor<3>) -> Tensor<2> {
    let ([b, t, d], [_, n, _]) = (stream.dims(), added.dims());
    let whole = stream.clone().abs().sum_dim(2).reshape([b, 1, t]); // [B, 1, T]
    let at_once = (LARGEST / (b * t * d)).max(1);
    let parts = (0..n).step_by(at_once).map(|from| {
        let m = at_once.min(n - from);
        let of = added.clone().narrow(1, from, m).reshape([b, m, t, d]); // [B, m, T, D]
        let without = stream.clone().unsqueeze_dim::<4>(1) - of; // [B, m, T, D]
        without.abs().sum_dim(3).reshape([b, m, t]) // [B, m, T]
    });
    let without: Tensor<3> = Tensor::cat(parts.collect(), 1); // [B, n, T]
    let parts = (whole - without).clamp_min(0.0); // [B, n, T]
    let all = parts.clone().sum_dim(1).clamp_min(SMALLEST); // [B, 1, T]
    (parts / all).sum_dim(2).reshape([b, n]) // [B, n]
}
