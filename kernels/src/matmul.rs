//! The dense matrix product, in one of three precisions.
//!
//! Mixed precision as Micikevicius et al. 2017 (<https://arxiv.org/abs/1710.03740>): what is multiplied is rounded to 16 bits,
//! everything else stays f32. Autodiff rounds what the two products of the backward pass multiply, too.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Device, Tensor};
use burn_flex::FlexTensor;
use serde::{Deserialize, Serialize};

use crate::gemm::Matrix;
use crate::ops::flex;
use crate::{bf16, is_cpu};

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
            Some(DType::BF16) if is_cpu(&a.device().inner()) => {
                Tensor::from_dispatch(<Dispatch as Bf16Ops>::product(a.into_dispatch(), b.into_dispatch()))
            }
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

/// The product in bf16 where tensors lie in host memory; burn's own rounds its output, too, and takes many times as long.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait Bf16Ops: Backend {
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Bf16Ops for Flex {
    fn product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let (rows, columns) = (a.layout().shape()[0], b.layout().shape()[1]);
        let [a, b] = [a, b].map(in_rows_or_columns);
        flex(bf16::product(matrix(&a), matrix(&b)), [rows, columns])
    }
}

/// The tensor itself where its numbers lie row by row or column by column, else a copy row by row.
fn in_rows_or_columns(tensor: FlexTensor) -> FlexTensor {
    let transposed = tensor.transpose(0, 1);
    if tensor.is_contiguous() || transposed.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    let layout = tensor.layout();
    let [rows, columns] = [layout.shape()[0], layout.shape()[1]];
    let values = &tensor.storage::<f32>()[layout.start_offset()..][..rows * columns];
    match tensor.is_contiguous() {
        true => Matrix::rows(values, columns),
        false => Matrix::rows(values, rows).transposed(),
    }
}

#[derive(Debug)]
struct Product;

impl<B: Bf16Ops> Backward<B, 2> for Product {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (a, b) = ops.state;
        let [of_a, of_b] = ops.parents.map(|parent| parent.map(|node| node.id));
        if let Some(of_a) = of_a {
            grads.register::<B>(of_a, B::product(gradient.clone(), B::float_transpose(b)));
        }
        if let Some(of_b) = of_b {
            grads.register::<B>(of_b, B::product(B::float_transpose(a), gradient));
        }
    }
}

impl<B: Bf16Ops, C: CheckpointStrategy> Bf16Ops for Autodiff<B, C> {
    fn product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        match Product.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (a, b) = (a.primitive().clone(), b.primitive().clone());
                let out = B::product(a.clone(), b.clone());
                prepared.finish((a, b), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::product(a.into_primitive(), b.into_primitive())),
        }
    }
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

    #[test]
    fn the_three_products_in_bf16_are_those_of_f32_on_small_whole_numbers() {
        let [m, k, n] = [5, 7, 9];
        let device = cpu().autodiff();
        let whole = |rows: usize, columns: usize, factor: usize| {
            let values = (0..rows * columns).map(|i| ((i * factor) % 11) as f32 - 5.0).collect();
            from_vec::<2>(values, [rows, columns], &device).require_grad()
        };
        // Row by row, column by column, and a part of each row.
        let run = |precision: Precision| {
            let (a, b, wide) = (whole(m, k, 7), whole(n, k, 5), whole(m, k + 3, 3));
            let product = precision.matmul(a.clone(), b.clone().transpose())
                + precision.matmul(wide.clone().narrow(1, 2, k), b.clone().transpose());
            let weights = whole(m, n, 8).inner();
            let grads = (product.clone() * weights.autodiff()).sum().backward();
            let of = |tensor: &Tensor<2>| to_vec(tensor.grad(&grads).unwrap());
            [to_vec(product.inner()), of(&a), of(&b), of(&wide)]
        };
        assert_eq!(run(Precision::Bf16), run(Precision::F32));
    }

    #[test]
    fn products_in_bf16_on_the_cpu_are_not_rounded() {
        let (a, b) = (
            from_vec(vec![256.0, 1.0], [1, 2], &cpu()),
            from_vec(vec![1.0, 1.0], [2, 1], &cpu()),
        );
        assert_eq!(to_vec(Precision::Bf16.matmul(a, b)), [257.0]);
    }
}
