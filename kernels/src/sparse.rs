//! Decoder and gradients of an autoencoder, touching nothing but active entries.
//!
//! Written out by hand after the formulas of Gao et al. 2024 (<https://arxiv.org/abs/2406.04093>, appendix on kernels):
//! both weight gradients are sums over the rows in which a latent is active, so entries sorted by latent turn them into
//! segment sums: each row of a gradient is written once, by one thread, in the order of the batch. Results are the same
//! for any number of threads.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use rayon::prelude::*;

use crate::host::zeros_by_tasks;
use crate::panels::{LATENTS_PER_TASK, ROWS_PER_TASK};
use crate::vector::{add_scaled, dot, simd};
use crate::{ActiveSet, panels};

/// Rows that one task of the thread pool adds up.
const SUMMED_ROWS_PER_TASK: usize = 128;

/// Sum of the decoder rows of each batch row's active latents, times their values: `[B, D]`.
///
/// `values` is `[N]`, `w_dec` `[F, D]`.
pub(crate) fn decode(values: &[f32], w_dec: &[f32], d: usize, set: &ActiveSet) -> Vec<f32> {
    if panels::pay(w_dec.len(), d, set.len()) {
        return panels::decode(values, w_dec, d, set);
    }
    let (out, _) = zeros_by_tasks(set.n_rows() * d, ROWS_PER_TASK * d, |task, out| {
        simd!(|| {
            for (row, out) in (task * ROWS_PER_TASK..).zip(out.chunks_exact_mut(d)) {
                add_decoded(out, row, values, w_dec, set);
            }
        });
    });
    out
}

/// Adds the decoder rows of the active latents of batch row `row`, times their values, to `out` `[D]`; to be called inside
/// [`simd!`].
#[inline(always)]
fn add_decoded(out: &mut [f32], row: usize, values: &[f32], w_dec: &[f32], set: &ActiveSet) {
    let d = out.len();
    for entry in set.row(row) {
        let latent = set.latents()[entry] as usize;
        add_scaled(out, values[entry], &w_dec[latent * d..][..d]);
    }
}

/// What a reconstruction leaves over, `target - b_dec - decode(values)`: `[B, D]`, and the sum of its squares.
///
/// `values` is `[N]`, `w_dec` `[F, D]`, `b_dec` `[D]`, `target` `[B, D]`.
pub(crate) fn residual(
    values: &[f32],
    w_dec: &[f32],
    b_dec: &[f32],
    target: &[f32],
    set: &ActiveSet,
) -> (Vec<f32>, f64) {
    let d = b_dec.len();
    if panels::pay(w_dec.len(), d, set.len()) {
        let residual = panels::residual(values, w_dec, b_dec, target, set);
        let squares = residual
            .par_chunks(ROWS_PER_TASK * d)
            .map(|rows| sum_of_squares(rows, d));
        let squares: Vec<f64> = squares.collect();
        return (residual, squares.into_iter().sum());
    }
    let (residual, squares) = zeros_by_tasks(set.n_rows() * d, ROWS_PER_TASK * d, |task, out| {
        let first_row = task * ROWS_PER_TASK;
        simd!(|| {
            for (row, out) in (first_row..).zip(out.chunks_exact_mut(d)) {
                add_decoded(out, row, values, w_dec, set);
                let target = &target[row * d..][..d];
                for ((out, target), bias) in out.iter_mut().zip(target).zip(b_dec) {
                    *out = target - (*out + bias);
                }
            }
        });
        sum_of_squares(out, d)
    });
    (residual, squares.into_iter().sum())
}

/// Sum of the squares of rows of `d` numbers.
fn sum_of_squares(rows: &[f32], d: usize) -> f64 {
    let mut sum = 0.0_f64;
    simd!(|| {
        for row in rows.chunks_exact(d) {
            sum += f64::from(dot(row, row));
        }
    });
    sum
}

/// Gradients of the sum of squares of [`residual`], times `factor`: of the values `[N]`, of the decoder `[F, D]` where it is
/// wanted, and of the bias `[D]`.
pub(crate) fn residual_backward(
    residual: &[f32],
    values: &[f32],
    w_dec: &[f32],
    factor: f32,
    set: &ActiveSet,
    wants_decoder: bool,
) -> (Vec<f32>, Option<Vec<f32>>, Vec<f32>) {
    let d = residual.len() / set.n_rows();
    // The residual falls as the reconstruction rises.
    let factor = -2.0 * factor;
    let (of_values, of_decoder) = if wants_decoder {
        let (of_values, of_decoder) = decode_backward(residual, values, w_dec, factor, d, set);
        (of_values, Some(of_decoder))
    } else {
        let mut of_values = products(residual, w_dec, d, set);
        of_values.iter_mut().for_each(|x| *x *= factor);
        (of_values, None)
    };
    let mut of_bias = column_sums(residual, d);
    of_bias.iter_mut().for_each(|x| *x *= factor);
    (of_values, of_decoder, of_bias)
}

/// Gradients of [`decode`] for `factor` times a gradient `[B, D]` of its output: of the values `[N]` and of the decoder `[F, D]`.
pub(crate) fn decode_backward(
    gradient: &[f32],
    values: &[f32],
    w_dec: &[f32],
    factor: f32,
    d: usize,
    set: &ActiveSet,
) -> (Vec<f32>, Vec<f32>) {
    if panels::pay(gradient.len(), d, set.len()) {
        return panels::decode_backward(gradient, values, w_dec, factor, d, set);
    }
    let (of_decoder, by_latent) = zeros_by_tasks(set.n_latents() * d, LATENTS_PER_TASK * d, |task, rows| {
        let first = task * LATENTS_PER_TASK;
        let mut of_entries = Vec::new();
        simd!(|| {
            for (latent, row) in (first..).zip(rows.chunks_exact_mut(d)) {
                let direction = &w_dec[latent * d..][..d];
                for &entry in set.of_latent(latent) {
                    let g = &gradient[set.row_of(entry) * d..][..d];
                    of_entries.push(factor * dot(g, direction));
                    add_scaled(row, factor * values[entry as usize], g);
                }
            }
        });
        of_entries
    });
    (set.in_row_order(by_latent.into_iter().flatten()), of_decoder)
}

/// Product of each entry's row of `x` `[B, D]` and its latent's row of `w` `[F, D]`: `[N]`.
pub(crate) fn products(x: &[f32], w: &[f32], d: usize, set: &ActiveSet) -> Vec<f32> {
    let tasks = set.n_latents().div_ceil(LATENTS_PER_TASK);
    let of_latents = |task: usize| -> Vec<f32> {
        let mut products = Vec::new();
        simd!(|| {
            for latent in task * LATENTS_PER_TASK..((task + 1) * LATENTS_PER_TASK).min(set.n_latents()) {
                let w = &w[latent * d..][..d];
                for &entry in set.of_latent(latent) {
                    products.push(dot(&x[set.row_of(entry) * d..][..d], w));
                }
            }
        });
        products
    };
    let by_latent: Vec<Vec<f32>> = (0..tasks).into_par_iter().map(of_latents).collect();
    set.in_row_order(by_latent.into_iter().flatten())
}

/// Gradients of the pre-activations `x · W_enc + b_enc` of the active entries, for their gradient `[N]`: of the encoder
/// `[F, D]` (row i belongs to latent i) and of its bias `[F]`. `x` is `[B, D]`.
pub(crate) fn encode_backward(gradient: &[f32], x: &[f32], d: usize, set: &ActiveSet) -> (Vec<f32>, Vec<f32>) {
    if panels::pay(x.len(), d, set.len()) {
        let of_bias = (0..set.n_latents()).into_par_iter().map(|latent| {
            let gradients = set.of_latent(latent).iter().map(|&entry| gradient[entry as usize]);
            gradients.fold(0.0, |sum, g| sum + g)
        });
        return (panels::encoder_gradient(gradient, x, d, set), of_bias.collect());
    }
    let (of_encoder, of_bias) = zeros_by_tasks(set.n_latents() * d, LATENTS_PER_TASK * d, |task, rows| {
        let first = task * LATENTS_PER_TASK;
        let mut of_bias = Vec::with_capacity(LATENTS_PER_TASK);
        simd!(|| {
            for (latent, row) in (first..).zip(rows.chunks_exact_mut(d)) {
                let mut sum = 0.0;
                for &entry in set.of_latent(latent) {
                    let g = gradient[entry as usize];
                    sum += g;
                    add_scaled(row, g, &x[set.row_of(entry) * d..][..d]);
                }
                of_bias.push(sum);
            }
        });
        of_bias
    });
    (of_encoder, of_bias.concat())
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
    total(partial, d)
}

/// Sum of the rows of a matrix of `d` columns: `[D]`.
pub(crate) fn column_sums(matrix: &[f32], d: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = matrix
        .par_chunks(SUMMED_ROWS_PER_TASK * d)
        .map(|rows| {
            let mut sum = vec![0.0_f32; d];
            simd!(|| {
                for row in rows.chunks_exact(d) {
                    for (sum, x) in sum.iter_mut().zip(row) {
                        *sum += x;
                    }
                }
            });
            sum
        })
        .collect();
    total(partial, d)
}

/// Sum of partial sums `[D]`, in their order.
fn total(partial: Vec<Vec<f32>>, d: usize) -> Vec<f32> {
    let mut total = vec![0.0_f32; d];
    for sum in partial {
        add_scaled(&mut total, 1.0, &sum);
    }
    total
}
