//! Decoder and gradients of an autoencoder, touching nothing but active entries.
//!
//! Written out by hand after the formulas of Gao et al. 2024 (<https://arxiv.org/abs/2406.04093>, appendix on kernels):
//! both weight gradients are sums over the rows in which a latent is active, so entries sorted by latent turn them into
//! segment sums: each row of a gradient is written once, by one thread, in the order of the batch. Results are the same
//! for any number of threads.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use rayon::prelude::*;

use crate::ActiveSet;
use crate::vector::{add_scaled, dot, simd};

/// Latents that one task of the thread pool takes at a time.
const LATENTS_PER_TASK: usize = 32;
/// Rows that one task of the thread pool takes at a time.
const ROWS_PER_TASK: usize = 32;

/// Sum of the decoder rows of each batch row's active latents, times their values: `[B, D]`.
///
/// `values` is `[N]`, `w_dec` `[F, D]`.
pub(crate) fn decode(values: &[f32], w_dec: &[f32], d: usize, set: &ActiveSet) -> Vec<f32> {
    let mut out = vec![0.0_f32; set.n_rows() * d];
    out.par_chunks_mut(ROWS_PER_TASK * d)
        .enumerate()
        .for_each(|(task, out)| {
            simd!(|| {
                for (i, out) in out.chunks_exact_mut(d).enumerate() {
                    for entry in set.row(task * ROWS_PER_TASK + i) {
                        let latent = set.latents()[entry] as usize;
                        add_scaled(out, values[entry], &w_dec[latent * d..][..d]);
                    }
                }
            });
        });
    out
}

/// Gradients of [`decode`] for a gradient `[B, D]` of its output: of the values `[N]` and of the decoder `[F, D]`.
pub(crate) fn decode_backward(
    gradient: &[f32],
    values: &[f32],
    w_dec: &[f32],
    d: usize,
    set: &ActiveSet,
) -> (Vec<f32>, Vec<f32>) {
    let mut of_decoder = vec![0.0_f32; set.n_latents() * d];
    let mut by_latent = vec![0.0_f32; set.len()];
    tasks(&mut of_decoder, &mut by_latent, d, set)
        .into_par_iter()
        .for_each(|task| {
            simd!(|| {
                let mut slots = task.of_entries.iter_mut();
                for (i, row) in task.of_weights.chunks_exact_mut(d).enumerate() {
                    let latent = task.first_latent + i;
                    let direction = &w_dec[latent * d..][..d];
                    for (&entry, slot) in set.of_latent(latent).iter().zip(slots.by_ref()) {
                        let g = &gradient[set.row_of(entry) * d..][..d];
                        *slot = dot(g, direction);
                        add_scaled(row, values[entry as usize], g);
                    }
                }
            });
        });
    let mut of_values = vec![0.0_f32; set.len()];
    for (&entry, gradient) in set.by_latent().iter().zip(by_latent) {
        of_values[entry as usize] = gradient;
    }
    (of_values, of_decoder)
}

/// Gradients of the pre-activations `x · W_enc + b_enc` of the active entries, for their gradient `[N]`: of the encoder
/// `[F, D]` (row i belongs to latent i) and of its bias `[F]`. `x` is `[B, D]`.
pub(crate) fn encode_backward(gradient: &[f32], x: &[f32], d: usize, set: &ActiveSet) -> (Vec<f32>, Vec<f32>) {
    let mut of_encoder = vec![0.0_f32; set.n_latents() * d];
    of_encoder
        .par_chunks_mut(LATENTS_PER_TASK * d)
        .enumerate()
        .for_each(|(task, rows)| {
            simd!(|| {
                for (i, row) in rows.chunks_exact_mut(d).enumerate() {
                    for &entry in set.of_latent(task * LATENTS_PER_TASK + i) {
                        add_scaled(row, gradient[entry as usize], &x[set.row_of(entry) * d..][..d]);
                    }
                }
            });
        });
    let of_bias = (0..set.n_latents())
        .map(|latent| {
            set.of_latent(latent)
                .iter()
                .map(|&entry| gradient[entry as usize])
                .sum()
        })
        .collect();
    (of_encoder, of_bias)
}

/// `weights`-fold sum of the rows of `matrix` `[F, D]`: `[D]`. `weights` is `[F]`.
///
/// The gradient of a bias that is subtracted before the encoder is minus this sum for the gradient of the encoder's own
/// bias; no gradient of the input, `[B, D]`, is formed.
pub(crate) fn weighted_row_sum(weights: &[f32], matrix: &[f32], d: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = matrix
        .par_chunks(LATENTS_PER_TASK * d)
        .zip(weights.par_chunks(LATENTS_PER_TASK))
        .map(|(rows, weights)| {
            let mut sum = vec![0.0_f32; d];
            simd!(|| {
                for (row, &weight) in rows.chunks_exact(d).zip(weights) {
                    add_scaled(&mut sum, weight, row);
                }
            });
            sum
        })
        .collect();
    let mut total = vec![0.0_f32; d];
    for sum in partial {
        add_scaled(&mut total, 1.0, &sum);
    }
    total
}

/// The part of two outputs that belongs to some latents.
struct Task<'a> {
    first_latent: usize,
    /// Rows of a `[F, D]` matrix.
    of_weights: &'a mut [f32],
    /// Entries of these latents, in their order by latent.
    of_entries: &'a mut [f32],
}

/// Cuts a `[F, D]` matrix and entries sorted by latent at the same latents.
fn tasks<'a>(weights: &'a mut [f32], mut entries: &'a mut [f32], d: usize, set: &ActiveSet) -> Vec<Task<'a>> {
    weights
        .chunks_mut(LATENTS_PER_TASK * d)
        .enumerate()
        .map(|(task, of_weights)| {
            let first_latent = task * LATENTS_PER_TASK;
            let n_latents = of_weights.len() / d;
            let n = (first_latent..first_latent + n_latents)
                .map(|latent| set.of_latent(latent).len())
                .sum();
            let (of_entries, rest) = std::mem::take(&mut entries).split_at_mut(n);
            entries = rest;
            Task {
                first_latent,
                of_weights,
                of_entries,
            }
        })
        .collect()
}
