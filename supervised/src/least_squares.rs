//! Least-squares features: those that rebuild the activations best.
//!
//! Minimises `sum_k |(a_k - mean) - sum_i u_(i, a_i(k))|^2`. With the 0/1 matrix `C` of the latents that are on, `[N, F]`,
//! and the centred activations `A`, `[N, D]`, the features are `(C^T C)^+ C^T A`. The minimum is not unique: a constant can
//! move from one attribute's features to another's, and with coupled attributes one for each value of `Pos`. The
//! pseudo-inverse stands for the solution of least norm, which shares such a constant out evenly. Edits do not depend on it.
//!
//! Conjugate gradients on the normal equations, started from zero, never leave the span of the rows of `C`, so what they
//! converge to is the solution of least norm, without a decomposition. Only counts and sums are needed, so an iteration
//! does not depend on the number of rows. Every dimension of the activations is a system of its own.
//!
//! Shapes: `N` rows, `D` width, `F` latents.

use std::collections::BTreeMap;

use tasks::Labels;

use crate::Error;
use crate::columns::Columns;
use crate::moments::Moments;

/// Iterations after which the fit is given up; 17 to 33 do for 216 names and 20,000 prompts, whatever the parametrization.
const MAX_ITERATIONS: usize = 1000;
/// Norm of the gradient, relative to its start, below which a dimension counts as solved.
const TOLERANCE: f64 = 1e-10;

/// The features, `[F, D]`. `labels` are those of the rows that the moments were taken from.
pub(crate) fn features(moments: &Moments, labels: &[Labels]) -> Result<Vec<f64>, Error> {
    let width = moments.width;
    let gram = gram(&moments.columns, labels);
    let mut features = vec![0.0; moments.sums.len()]; // [F, D]
    let mut residual = moments.sums.clone(); // [F, D]
    let mut direction = residual.clone(); // [F, D]
    let mut image = vec![0.0; residual.len()]; // [F, D]: Gram matrix times direction
    let start = squares(&residual, width); // [D]
    let mut left = start.clone(); // [D]
    for _ in 0..MAX_ITERATIONS {
        let open: Vec<bool> = left
            .iter()
            .zip(&start)
            .map(|(left, start)| *left > TOLERANCE.powi(2) * start)
            .collect();
        if !open.contains(&true) {
            return Ok(features);
        }
        for (row, image) in gram.iter().zip(image.chunks_exact_mut(width)) {
            image.fill(0.0);
            for &(column, times) in row {
                let direction = &direction[column * width..(column + 1) * width];
                image
                    .iter_mut()
                    .zip(direction)
                    .for_each(|(sum, value)| *sum += times * value);
            }
        }
        let curvature = products(&direction, &image, width); // [D]
        let of_open = |d: usize, above: f64, below: f64| if open[d] && below > 0.0 { above / below } else { 0.0 };
        let step: Vec<f64> = (0..width).map(|d| of_open(d, left[d], curvature[d])).collect();
        for (i, (feature, residual)) in features.iter_mut().zip(&mut residual).enumerate() {
            *feature += step[i % width] * direction[i];
            *residual -= step[i % width] * image[i];
        }
        let now = squares(&residual, width); // [D]
        let keep: Vec<f64> = (0..width).map(|d| of_open(d, now[d], left[d])).collect();
        for (i, (direction, residual)) in direction.iter_mut().zip(&residual).enumerate() {
            *direction = residual + keep[i % width] * *direction;
        }
        left = now;
    }
    let ratios = left.iter().zip(&start).map(|(left, start)| (left / start).sqrt());
    Err(Error::NotConverged {
        iterations: MAX_ITERATIONS,
        gradient: ratios.filter(|ratio| ratio.is_finite()).fold(0.0, f64::max),
    })
}

/// Squared norm of each column of a `[F, D]` matrix, `[D]`.
fn squares(values: &[f64], width: usize) -> Vec<f64> {
    products(values, values, width)
}

/// Scalar products of the columns of two `[F, D]` matrices, `[D]`.
fn products(a: &[f64], b: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
        sums.iter_mut()
            .zip(a.iter().zip(b))
            .for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums
}

/// The rows of `C^T C`, `[F, F]`: for each latent those that share rows with it (itself among them), and how many.
fn gram(columns: &Columns, labels: &[Labels]) -> Vec<Vec<(usize, f64)>> {
    let mut counts: Vec<BTreeMap<usize, f64>> = vec![BTreeMap::new(); columns.len()];
    for labels in labels {
        let active: Vec<usize> = columns.active(labels).collect();
        for &column in &active {
            for &other in &active {
                *counts[column].entry(other).or_default() += 1.0;
            }
        }
    }
    counts.into_iter().map(|row| row.into_iter().collect()).collect()
}
