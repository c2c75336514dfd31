//! The dense matrix product, in one of three precisions.
//!
//! Mixed precision as Micikevicius et al. 2017 (<https://arxiv.org/abs/1710.03740>): what is multiplied is rounded to 16 bits,
//! everything else stays f32. Autodiff rounds what the two products of the backward pass multiply, too.

use burn::tensor::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

/// What the factors of a product are rounded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits: as they are.
    #[default]
    F32,
    /// 8 bits, and the range of f32.
    Bf16,
    /// 11 bits, up to 65,504.
    F16,
}

impl Precision {
    fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(DType::BF16),
            Self::F16 => Some(DType::F16),
        }
    }

    /// Whether `device` multiplies such numbers.
    pub fn is_supported(self, device: &Device) -> bool {
        self.dtype().is_none_or(|dtype| device.supports_dtype(dtype))
    }

    /// Product of two matrices whose factors are rounded, differentiable.
    ///
    /// # Shapes
    ///
    /// - a: `[M, N]`, b: `[N, P]`
    /// - output: `[M, P]`, of f32
    pub fn matmul(self, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
        match self.dtype() {
            None => matmul(a, b),
            Some(dtype) => a.cast(dtype).matmul(b.cast(dtype)).cast(DType::F32),
        }
    }
}

/// Product of two matrices, differentiable.
///
/// # Shapes
///
/// - a: `[M, N]`, b: `[N, P]`
/// - output: `[M, P]`
pub fn matmul(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    a.matmul(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu, from_vec, to_vec};

    #[test]
    fn factors_are_rounded_to_the_nearest_and_gradients_come_back_as_f32() {
        // The first numbers that 8 and 11 bits do not hold; halves go to the even neighbour.
        for (precision, values, rounded) in [
            (Precision::F32, [2049.0, 2051.0], [2049.0, 2051.0]),
            (Precision::Bf16, [257.0, 259.0], [256.0, 260.0]),
            (Precision::F16, [2049.0, 2051.0], [2048.0, 2052.0]),
        ] {
            assert!(precision.is_supported(&cpu()));
            let device = cpu().autodiff();
            let a = from_vec(values.to_vec(), [1, 2], &device).require_grad();
            let b = from_vec(vec![1.0, 0.0, 0.0, 1.0], [2, 2], &device).require_grad();
            let product = precision.matmul(a.clone(), b.clone());
            assert_eq!(product.dtype(), DType::F32);
            assert_eq!(to_vec(product.clone().inner()), rounded);
            let grads = product.sum().backward();
            assert_eq!(to_vec(a.grad(&grads).unwrap()), [1.0, 1.0]);
            assert_eq!(
                to_vec(b.grad(&grads).unwrap()),
                [rounded[0], rounded[0], rounded[1], rounded[1]]
            );
        }
    }
}
