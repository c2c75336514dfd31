//! ReLU with an L1 penalty: Bricken et al. 2023, "Towards Monosemanticity".
//!
//! Shapes: `B` rows, `F` latents.

use burn::tensor::{Tensor, activation};

/// The positive part of the pre-activations.
///
/// # Shapes
///
/// - pre_activations, output: `[B, F]`
pub(crate) fn activate(pre_activations: Tensor<2>) -> Tensor<2> {
    activation::relu(pre_activations)
}

/// `l1 · mean over rows of the sum of codes`; `warm` rises from 0 to 1 at the start of a run, so that latents find a
/// direction before they are asked to be silent.
pub(crate) fn penalty(codes: Tensor<2>, l1: f64, warm: f64) -> Tensor<1> {
    codes.sum_dim(1).mean() * (l1 * warm) // [1]
}
