//! Causal attention.

use burn::tensor::Tensor;

use super::plain;
use crate::from_vec;
use crate::gemm::{Matrix, gemm_over};
use crate::host::{flex_slice, zeros_by_tasks};
use crate::vector::{self, simd};

/// Queries whose scores are taken at a time; keys after the last of them are not looked at.
const QUERIES: usize = 64;

/// Keys that are taken together.
const VECTOR: usize = 32;

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
    let qkv_of_all = flex_slice(&host);
    let (out, _) = zeros_by_tasks(b * t * queries, t * queries, |row, out| {
        let qkv = &qkv_of_all[row * t * all..][..t * all];
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
                gemm_over(
                    &mut scores,
                    rows(head, from, to),
                    rows(key_head, first, to).transposed(),
                ); // [queries, keys]
                simd!(|| {
                    for (query, scores) in (from..to).zip(scores.chunks_exact_mut(to - first)) {
                        let passed = attention
                            .window
                            .map_or(0, |window| (query + 1).saturating_sub(window) - first);
                        pattern(scores, passed, query + 1 - first, attention);
                    }
                });
                gemm_over(
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

/// Turns the scores of one query into its pattern: it sees keys `from..to`, all others become 0.
#[inline(always)]
fn pattern(scores: &mut [f32], from: usize, to: usize, attention: Attention) {
    // Hidden keys up to the next whole vector are taken along: numbers one by one would cost more than all others.
    let end = to.next_multiple_of(VECTOR).min(scores.len());
    let seen = &mut scores[from..end];
    let scale = match attention.cap {
        Some(cap) => {
            bound(seen, attention.scale as f32, cap as f32);
            1.0
        }
        None => attention.scale as f32,
    };
    seen[to - from..].fill(f32::NEG_INFINITY);
    softmax(seen, scale);
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
}

/// `cap tanh(scale x / cap)` in place.
#[inline(always)]
fn bound(x: &mut [f32], scale: f32, cap: f32) {
    let inner = 2.0 * scale / cap;
    for x in x.iter_mut() {
        // tanh u = 1 - 2 / (e^2u + 1)
        *x = cap * (1.0 - 2.0 / (vector::exp(*x * inner) + 1.0));
    }
}

/// Softmax of `scale x`, in place; what is minus infinity becomes less than 2^-125.
#[inline(always)]
fn softmax(x: &mut [f32], scale: f32) {
    let most = vector::max(x);
    by_vectors(
        x,
        #[inline(always)]
        |x| vector::exp((x - most) * scale),
    );
    let factor = 1.0 / vector::sum(x);
    by_vectors(
        x,
        #[inline(always)]
        |x| x * factor,
    );
}

/// Replaces every number by a function of it, whole vectors first: the compiler's own loop leaves up to three of them to a slower one.
#[inline(always)]
fn by_vectors(x: &mut [f32], function: impl Fn(f32) -> f32) {
    let (vectors, rest) = x.as_chunks_mut::<VECTOR>();
    for vector in vectors {
        vector.iter_mut().for_each(|x| *x = function(*x));
    }
    rest.iter_mut().for_each(|x| *x = function(*x));
}
