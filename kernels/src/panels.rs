//! The sums of `sparse.rs` over matrices that no core's cache holds.
//!
//! The rows that a sum gathers come in the order in which latents are active, which no prefetcher foresees, so rows of a matrix
//! beyond a core's own cache come from a slower one at every entry. Here such a matrix is cut into panels of [`PANEL`] columns,
//! one at a time: all entries gather from a panel that stays in cache, and their sums stay in registers. Sums over rows have the
//! same bytes either way; a product of two rows is the sum of its panels' products.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use std::ops::Range;

use rayon::prelude::*;

use crate::ActiveSet;
use crate::vector::{dot, simd};

/// Latents that one task of the thread pool takes at a time.
pub(crate) const LATENTS_PER_TASK: usize = 32;
/// Rows that one task of the thread pool takes at a time.
pub(crate) const ROWS_PER_TASK: usize = 32;
/// Columns of a panel: four registers of AVX-512; 4,096 rows of a panel take 1 MiB.
const PANEL: usize = 64;
/// Numbers of a matrix that a core's own cache holds: 2 MiB.
const IN_CACHE: usize = 1 << 19;
/// Times that each row is gathered, on average, from where on panels cost less than they save: at D = 768, F = 6,144, batch 4,096 the
/// decoder's rows (gathered 21 times by k = 32) are slower in panels, 19 ms for 14, and faster at 64, 27 ms for 31.
const GATHERED: usize = 24;
/// Rows that one task copies to a panel.
const COPIED_PER_TASK: usize = 256;

/// Whether sums of `entries` rows of a matrix of `numbers` in rows of `d` are made panel by panel.
pub(crate) fn pay(numbers: usize, d: usize, entries: usize) -> bool {
    numbers > IN_CACHE && entries >= GATHERED * (numbers / d)
}

/// Calls `work` with each panel of a matrix of `d` columns: which columns they are, and these of every row, zeros behind the last.
fn for_panels(matrix: &[f32], d: usize, mut work: impl FnMut(Range<usize>, &[[f32; PANEL]])) {
    let mut panel = vec![[0.0_f32; PANEL]; matrix.len() / d];
    for first in (0..d).step_by(PANEL) {
        let columns = first..d.min(first + PANEL);
        panel
            .par_iter_mut()
            .zip(matrix.par_chunks_exact(d))
            .with_min_len(COPIED_PER_TASK)
            .for_each(|(to, row)| {
                to[..columns.len()].copy_from_slice(&row[columns.clone()]);
                to[columns.len()..].fill(0.0);
            });
        work(columns, &panel);
    }
}

/// Adds `factor * x` to `sums`.
#[inline(always)]
fn add_scaled(sums: &mut [f32; PANEL], factor: f32, x: &[f32; PANEL]) {
    for column in 0..PANEL {
        sums[column] += factor * x[column];
    }
}

/// As [`crate::sparse::decode`].
pub(crate) fn decode(values: &[f32], w_dec: &[f32], d: usize, set: &ActiveSet) -> Vec<f32> {
    let mut out = vec![0.0_f32; set.n_rows() * d];
    decode_panels(&mut out, values, w_dec, d, set, |_, _, sum| sum);
    out
}

/// Writes `finish` of the row, the column and the decoded number to each number of `out`, `[B, D]`.
fn decode_panels(
    out: &mut [f32],
    values: &[f32],
    w_dec: &[f32],
    d: usize,
    set: &ActiveSet,
    finish: impl Fn(usize, usize, f32) -> f32 + Sync,
) {
    for_panels(w_dec, d, |columns, panel| {
        out.par_chunks_mut(ROWS_PER_TASK * d)
            .enumerate()
            .for_each(|(task, rows)| {
                simd!(|| {
                    for (row, out) in (task * ROWS_PER_TASK..).zip(rows.chunks_exact_mut(d)) {
                        let mut sums = [0.0_f32; PANEL];
                        for entry in set.row(row) {
                            add_scaled(&mut sums, values[entry], &panel[set.latents()[entry] as usize]);
                        }
                        for ((column, out), sum) in columns.clone().zip(&mut out[columns.clone()]).zip(sums) {
                            *out = finish(row, column, sum);
                        }
                    }
                });
            });
    });
}

/// As [`crate::sparse::residual`], without the sum of squares.
pub(crate) fn residual(values: &[f32], w_dec: &[f32], b_dec: &[f32], target: &[f32], set: &ActiveSet) -> Vec<f32> {
    let d = b_dec.len();
    let mut out = vec![0.0_f32; set.n_rows() * d];
    decode_panels(&mut out, values, w_dec, d, set, |row, column, sum| {
        target[row * d + column] - (sum + b_dec[column])
    });
    out
}

/// What an entry adds to the sum of its latent: a row of the batch, times a factor.
#[derive(Debug, Clone, Copy)]
struct Term {
    row: u32,
    factor: f32,
}

/// The terms of all entries by latent, `[N]`; `factors` is `[N]`, by row.
fn terms(factors: &[f32], scale: f32, set: &ActiveSet) -> Vec<Term> {
    let term = |&entry: &u32| Term {
        row: set.row_of(entry) as u32,
        factor: scale * factors[entry as usize],
    };
    set.by_latent().par_iter().map(term).collect()
}

/// As [`crate::sparse::decode_backward`].
pub(crate) fn decode_backward(
    gradient: &[f32],
    values: &[f32],
    w_dec: &[f32],
    factor: f32,
    d: usize,
    set: &ActiveSet,
) -> (Vec<f32>, Vec<f32>) {
    let terms = terms(values, factor, set);
    let mut of_decoder = vec![0.0_f32; set.n_latents() * d];
    let mut products = vec![0.0_f32; set.len()]; // by latent
    for_panels(gradient, d, |columns, panel| {
        let tasks: Vec<(&mut [f32], &mut [f32])> = of_decoder
            .chunks_mut(LATENTS_PER_TASK * d)
            .zip(by_tasks(&mut products, set))
            .collect();
        tasks.into_par_iter().enumerate().for_each(|(task, (rows, products))| {
            let first = task * LATENTS_PER_TASK;
            let before = set.range_of_latent(first).start;
            simd!(|| {
                for (latent, row) in (first..).zip(rows.chunks_exact_mut(d)) {
                    let entries = set.range_of_latent(latent);
                    let mut direction = [0.0_f32; PANEL];
                    direction[..columns.len()].copy_from_slice(&w_dec[latent * d..][columns.clone()]);
                    let mut sums = [0.0_f32; PANEL];
                    let products = &mut products[entries.start - before..entries.end - before];
                    for (term, product) in terms[entries].iter().zip(products) {
                        let g = &panel[term.row as usize];
                        *product += dot(g, &direction);
                        add_scaled(&mut sums, term.factor, g);
                    }
                    row[columns.clone()].copy_from_slice(&sums[..columns.len()]);
                }
            });
        });
    });
    let of_values = products.into_iter().map(|product| factor * product);
    (set.in_row_order(of_values), of_decoder)
}

/// Cuts numbers of all entries by latent, `[N]`, into those of each task's latents.
fn by_tasks<'a>(mut numbers: &'a mut [f32], set: &ActiveSet) -> Vec<&'a mut [f32]> {
    let firsts = (0..set.n_latents()).step_by(LATENTS_PER_TASK);
    let parts = firsts.map(|first| {
        let last = (first + LATENTS_PER_TASK).min(set.n_latents()) - 1;
        let n = set.range_of_latent(last).end - set.range_of_latent(first).start;
        let (part, rest) = std::mem::take(&mut numbers).split_at_mut(n);
        numbers = rest;
        part
    });
    parts.collect()
}

/// The first of the gradients of [`crate::sparse::encode_backward`], `[F, D]`.
pub(crate) fn encoder_gradient(gradient: &[f32], x: &[f32], d: usize, set: &ActiveSet) -> Vec<f32> {
    let terms = terms(gradient, 1.0, set);
    let mut of_encoder = vec![0.0_f32; set.n_latents() * d];
    for_panels(x, d, |columns, panel| {
        of_encoder
            .par_chunks_mut(LATENTS_PER_TASK * d)
            .enumerate()
            .for_each(|(task, rows)| {
                simd!(|| {
                    for (latent, row) in (task * LATENTS_PER_TASK..).zip(rows.chunks_exact_mut(d)) {
                        let mut sums = [0.0_f32; PANEL];
                        for term in &terms[set.range_of_latent(latent)] {
                            add_scaled(&mut sums, term.factor, &panel[term.row as usize]);
                        }
                        row[columns.clone()].copy_from_slice(&sums[..columns.len()]);
                    }
                });
            });
    });
    of_encoder
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random, sparse};

    const ROWS: usize = 70;
    const LATENTS: usize = 75;

    fn draw(name: &str, n: usize) -> Vec<f32> {
        random::normal(&mut random::rng(5, name), n, 1.0)
    }

    /// A few latents of each row; one latent is never active, and one row has none.
    fn entries() -> ActiveSet {
        let latents = |row: usize| -> Vec<u32> {
            let n = if row == 3 { 0 } else { 9 };
            let mut latents: Vec<u32> = (0..n).map(|i| ((row * 31 + i * 17) % (LATENTS - 1)) as u32).collect();
            latents.sort_unstable();
            latents.dedup();
            latents
        };
        ActiveSet::from_rows(LATENTS, &(0..ROWS).map(latents).collect::<Vec<_>>())
    }

    #[test]
    fn sums_are_those_of_whole_rows() {
        for d in [5, 64, 150] {
            let set = entries();
            assert!(!pay(ROWS * d, d, set.len()), "the other functions would call these");
            let values = draw("values", set.len());
            let (w_dec, b_dec) = (draw("decoder", LATENTS * d), draw("bias", d));
            let (x, gradient) = (draw("x", ROWS * d), draw("gradient", ROWS * d));

            assert_eq!(
                decode(&values, &w_dec, d, &set),
                sparse::decode(&values, &w_dec, d, &set)
            );
            let (of_rows, _) = sparse::residual(&values, &w_dec, &b_dec, &x, &set);
            assert_eq!(residual(&values, &w_dec, &b_dec, &x, &set), of_rows);
            let (of_encoder, _) = sparse::encode_backward(&values, &x, d, &set);
            assert_eq!(encoder_gradient(&values, &x, d, &set), of_encoder);

            let (of_values, of_decoder) = decode_backward(&gradient, &values, &w_dec, 0.7, d, &set);
            let (expected, of_rows) = sparse::decode_backward(&gradient, &values, &w_dec, 0.7, d, &set);
            assert_eq!(of_decoder, of_rows);
            for (found, expected) in of_values.iter().zip(&expected) {
                assert!((found - expected).abs() <= 1e-6 * d as f32, "{found}, {expected}");
            }
        }
    }
}
