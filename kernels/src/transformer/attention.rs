//! Causal attention.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::plain;
use crate::from_vec;
use crate::gemm::{Matrix, gemm};
use crate::host::flex_slice;
use crate::vector::{self, simd};

/// Queries whose scores are taken at a time; keys after the last of them are not looked at.
const QUERIES: usize = 64;

/// What attention computes: `softmax(cap tanh(scale q kᵀ / cap)) v`, over the keys in the window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Heads of queries, `H`.
    pub query: usize,
    /// Heads of keys and of values, `K`; query head `h` uses head `h K / H` of them.
    pub key_value: usize,
    /// Width of a head, `Dh`.
    pub width: usize,
    /// Factor of the scores.
    pub scale: f64,
    /// Bound of the scores, approached along a hyperbolic tangent.
    pub cap: Option<f64>,
    /// Keys that a query sees, itself included; all earlier ones where there is none.
    pub window: Option<usize>,
}

/// Causal attention of all heads; `None` where the tensor is not a plain one of the CPU.
///
/// # Shapes
///
/// - qkv: `[B, T, (H + 2 K) Dh]`, queries, keys and values side by side, in each the heads side by side
/// - output: `[B, T, H Dh]`
pub fn causal_attention(qkv: &Tensor<3>, attention: Attention) -> Option<Tensor<3>> {
    let [b, t, all] = qkv.dims();
    let (queries, width) = (attention.query * attention.width, attention.width);
    let host = plain(qkv)?;
    let mut out = vec![0.0; b * t * queries];
    out.par_chunks_mut(t * queries)
        .zip(flex_slice(&host).par_chunks(t * all))
        .for_each(|(out, qkv)| {
            let (mut scores, mut z) = (Vec::new(), Vec::new());
            for head in 0..attention.query {
                let key_head = attention.query + head * attention.key_value / attention.query;
                // Rows of one head, counted over queries, keys and values.
                let rows = |head: usize, from: usize, to: usize| {
                    Matrix::strided(&qkv[from * all + head * width..], to - from, width, all)
                };
                for from in (0..t).step_by(QUERIES) {
                    let to = (from + QUERIES).min(t);
                    // The first key that the first of these queries sees.
                    let first = attention.window.map_or(0, |window| (from + 1).saturating_sub(window));
                    scores.clear();
                    scores.resize((to - from) * (to - first), 0.0);
                    gemm(
                        &mut scores,
                        rows(head, from, to),
                        rows(key_head, first, to).transposed(),
                    ); // [queries, keys]
                    simd!(|| {
                        for (query, scores) in (from..to).zip(scores.chunks_exact_mut(to - first)) {
                            let (seen, hidden) = scores.split_at_mut(query + 1 - first);
                            hidden.fill(0.0);
                            let passed = attention
                                .window
                                .map_or(0, |window| (query + 1).saturating_sub(window) - first);
                            let (passed, seen) = seen.split_at_mut(passed);
                            passed.fill(0.0);
                            softmax(seen, attention.scale as f32, attention.cap);
                        }
                    });
                    z.clear();
                    z.resize((to - from) * width, 0.0);
                    gemm(
                        &mut z,
                        Matrix::rows(&scores, to - first),
                        rows(key_head + attention.key_value, first, to),
                    ); // [queries, Dh]
                    for (query, z) in (from..to).zip(z.chunks_exact(width)) {
                        out[query * queries + head * width..][..width].copy_from_slice(z);
                    }
                }
            }
        });
    Some(from_vec(out, [b, t, queries], &qkv.device())) // [B, T, H Dh]
}

/// Softmax of `scale x`, bounded by the cap if there is one, in place.
#[inline(always)]
fn softmax(x: &mut [f32], mut scale: f32, cap: Option<f64>) {
    if let Some(cap) = cap {
        let (cap, inner) = (cap as f32, 2.0 * scale / cap as f32);
        for x in x.iter_mut() {
            // tanh u = 1 - 2 / (e^2u + 1)
            *x = cap * (1.0 - 2.0 / (vector::exp(*x * inner) + 1.0));
        }
        scale = 1.0;
    }
    let most = vector::max(x);
    for x in x.iter_mut() {
        *x = vector::exp((*x - most) * scale);
    }
    let factor = 1.0 / vector::sum(x);
    for x in x.iter_mut() {
        *x *= factor;
    }
}
