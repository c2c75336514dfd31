//! Sums that come out the same every time.

use burn::tensor::Tensor;

/// The sum of all numbers, `[1]`; on a GPU in an order that their number alone says. Nothing is differentiated.
pub fn sum(tensor: Tensor<2>) -> Tensor<1> {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(sum) = crate::sum_gpu::sum(&tensor) {
        return sum;
    }
    tensor.sum()
}
