//! Least-squares features: those that rebuild the activations best.
//!
//! Minimises `sum_k |(a_k - mean) - sum_i u_(i, a_i(k))|^2` by back-fitting: each feature in turn becomes the mean, over
//! the rows of its value, of what the other attributes leave over (Gauss-Seidel on the normal equations). Only counts
//! and sums are needed, so a sweep does not depend on the number of rows.
//!
//! The minimum is not unique: a constant can move from one attribute's features to another's. Starting from zero, each
//! step keeps the mean of an attribute's features over the rows at zero, as mean features have it, and that fixes the
//! constant. Edits, which are differences within one attribute, do not depend on it.
//!
//! Shapes: `D` width, `F` latents.

use std::collections::BTreeMap;

use tasks::Labels;

use crate::Error;
use crate::columns::Columns;
use crate::moments::Moments;

/// Sweeps after which the fit is given up; 5 to 20 do for attributes that are nearly independent.
const MAX_SWEEPS: usize = 200;
/// Relative change of all features in one sweep below which they count as settled.
const TOLERANCE: f64 = 1e-6;

/// The features, `[F, D]`. `labels` are those of the rows that the moments were taken from.
pub(crate) fn features(moments: &Moments, labels: &[Labels]) -> Result<Vec<f64>, Error> {
    let width = moments.width;
    let together = co_occurrences(moments.columns, labels);
    let mut features = vec![0.0; moments.sums.len()];
    let mut change = f64::INFINITY;
    for _ in 0..MAX_SWEEPS {
        let (mut moved, mut size) = (0.0, 0.0);
        for (column, &count) in moments.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let own = column * width..(column + 1) * width;
            let mut rest = moments.sums[own.clone()].to_vec(); // [D]
            for &(other, times) in &together[column] {
                let feature = &features[other * width..(other + 1) * width];
                rest.iter_mut()
                    .zip(feature)
                    .for_each(|(rest, value)| *rest -= times * value);
            }
            for (old, rest) in features[own].iter_mut().zip(rest) {
                let new = rest / count as f64;
                moved += (new - *old).powi(2);
                size += new.powi(2);
                *old = new;
            }
        }
        change = if moved == 0.0 { 0.0 } else { (moved / size).sqrt() };
        if change < TOLERANCE {
            return Ok(features);
        }
    }
    Err(Error::NotConverged {
        sweeps: MAX_SWEEPS,
        change,
    })
}

/// For each latent the latents of other attributes that share rows with it, and in how many rows.
fn co_occurrences(columns: Columns, labels: &[Labels]) -> Vec<Vec<(usize, f64)>> {
    let mut counts: Vec<BTreeMap<usize, f64>> = vec![BTreeMap::new(); columns.len()];
    for labels in labels {
        let active: Vec<usize> = columns.active(labels).collect();
        for &column in &active {
            for &other in active.iter().filter(|&&other| other != column) {
                *counts[column].entry(other).or_default() += 1.0;
            }
        }
    }
    counts.into_iter().map(|row| row.into_iter().collect()).collect()
}
