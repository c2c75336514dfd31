//! Neurons: the dimensions of the activation itself, around the mean activation.
//!
//! The comparison that Chaudhary and Geiger ([arXiv 2409.04478](https://arxiv.org/abs/2409.04478)) found autoencoders
//! hardly to pass. In the residual stream and in heads the axes have no meaning of their own, which is the point.
//!
//! Shape legend: `N` rows of activations, `D` width of a node.

use super::{SignedBasis, checked};
use crate::Error;
use burn::tensor::Device;

/// The standard basis around the mean of activations `[N, D]`.
///
/// # Errors
/// [`Error::Baseline`] for no rows, or numbers that are not finite.
pub fn neurons(values: &[f32], width: usize, device: &Device) -> Result<SignedBasis, Error> {
    let mean = checked("neurons", values, width)?.mean();
    let mut axes = vec![0.0; width * width];
    axes.iter_mut().step_by(width + 1).for_each(|diagonal| *diagonal = 1.0);
    Ok(SignedBasis::new(axes, mean, device))
}
