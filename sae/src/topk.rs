//! TopK: the `k` largest pre-activations of each row (Gao et al. 2024, <https://arxiv.org/abs/2406.04093>).
//!
//! Shapes: `B` rows, `F` latents.

use burn::tensor::Tensor;

/// All but the `k` largest positive entries of each row zeroed; the gradient reaches the kept entries only.
///
/// # Shapes
///
/// - pre_activations, output: `[B, F]`
pub(crate) fn activate(pre_activations: Tensor<2>, k: usize) -> Tensor<2> {
    kernels::top_k(pre_activations, k)
}
