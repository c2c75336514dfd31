//! Principal components: the orthogonal directions of most variance, around the mean activation.
//!
//! The best basis there is for the squared error at any number of axes, and one that knows nothing of sparsity. Axis 0 has
//! the most variance; all `D` axes are kept, so the reconstruction is exact and edits choose among them.
//!
//! Shape legend: `N` rows of activations, `D` width of a node.

use super::{SignedBasis, checked};
use crate::{Error, Rows};
use burn::tensor::Device;
use nalgebra::{DMatrix, SymmetricEigen};

/// Rows that are multiplied at once, so that they stay in cache.
const CHUNK: usize = 256;

/// The principal components of activations `[N, D]`, the largest entry of each positive.
///
/// # Errors
/// [`Error::Baseline`] for no rows, or numbers that are not finite.
pub fn pca(values: &[f32], width: usize, device: &Device) -> Result<SignedBasis, Error> {
    let rows = checked("pca", values, width)?;
    let mean = rows.mean();
    let SymmetricEigen {
        eigenvalues,
        eigenvectors,
    } = SymmetricEigen::new(scatter(&rows, &mean));
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
    let mut axes = Vec::with_capacity(width * width);
    for axis in order {
        let axis = eigenvectors.column(axis);
        let sign = axis[axis.icamax()].signum();
        axes.extend(axis.iter().map(|&value| (sign * value) as f32));
    }
    Ok(SignedBasis::new(axes, mean, device))
}

/// Sum over the rows of the products of their centred entries, `[D, D]`.
fn scatter(rows: &Rows, mean: &[f32]) -> DMatrix<f64> {
    let width = rows.width();
    let mut sums = DMatrix::zeros(width, width);
    for chunk in rows.values().chunks(CHUNK * width) {
        let centred = chunk.chunks_exact(width).flat_map(|row| {
            let entries = row.iter().zip(mean);
            entries.map(|(&value, &mean)| f64::from(value) - f64::from(mean))
        });
        let columns = DMatrix::from_iterator(width, chunk.len() / width, centred); // [D, CHUNK]
        sums.gemm(1.0, &columns, &columns.transpose(), 1.0); // [D, D]
    }
    sums
}
