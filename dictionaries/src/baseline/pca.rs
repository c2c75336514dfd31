//! Principal components: the orthogonal directions of most variance, around the mean activation.
//!
//! The best basis there is for the squared error at any number of axes, and one that knows nothing of sparsity. Axis 0 has
//! the most variance; all `D` axes are kept, so the reconstruction is exact and edits choose among them.
//!
//! Shape legend: `N` rows of activations, `D` width of a node.

use super::{SignedBasis, checked};
use crate::{Error, Rows};
use burn::tensor::Device;
use kernels::svd::{dot, svd};
use rayon::prelude::*;

/// Rows whose columns are multiplied at once, so that they stay in cache.
const CHUNK: usize = 256;

/// The principal components of activations `[N, D]`.
///
/// # Errors
/// [`Error::Baseline`] for no rows, or numbers that are not finite.
pub fn pca(values: &[f32], width: usize, device: &Device) -> Result<SignedBasis, Error> {
    let rows = checked("pca", values, width)?;
    let mean = rows.mean();
    // Symmetric without negative eigenvalues: its right singular vectors are its eigenvectors.
    let axes = svd(scatter(&rows, &mean))
        .v
        .into_iter()
        .flatten()
        .map(|value| value as f32);
    Ok(SignedBasis::new(axes.collect(), mean, device))
}

/// Sum over the rows of the products of their centred entries, `[D, D]`.
fn scatter(rows: &Rows, mean: &[f32]) -> Vec<Vec<f64>> {
    let width = rows.width();
    let mut sums = vec![vec![0.0; width]; width];
    for chunk in rows.values().chunks(CHUNK * width) {
        let column = |d: usize| {
            let entries = chunk.iter().skip(d).step_by(width);
            entries.map(|&value| f64::from(value) - f64::from(mean[d])).collect()
        };
        let columns: Vec<Vec<f64>> = (0..width).map(column).collect(); // [D, CHUNK]
        sums.par_iter_mut().zip(&columns).for_each(|(sums, left)| {
            sums.iter_mut()
                .zip(&columns)
                .for_each(|(sum, right)| *sum += dot(left, right));
        });
    }
    sums
}
