//! The dense matrix product.

use burn::tensor::Tensor;

/// Product of two matrices, differentiable.
///
/// # Shapes
///
/// - a: `[M, N]`, b: `[N, P]`
/// - output: `[M, P]`
pub fn matmul(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    a.matmul(b)
}
