//! The sparse kernels as operations that burn differentiates through.
//!
//! The boundary is narrow: active entries, values and weights go in, gradients come out. A backend takes part by
//! implementing [`SparseBackend`]; the CPU does, and where they are built in the GPUs.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::entries::{Entries, Place};
use crate::host::{contiguous, flex_slice};
use crate::{ActiveSet, sparse};

/// Sum of the decoder rows of each row's active latents times their values, differentiable in both.
///
/// # Shapes
///
/// - values: `[N]`, w_dec: `[F, D]`
/// - output: `[B, D]`
///
/// # Panics
///
/// On tensors of another device than the entries were found on.
pub fn sparse_decode(values: Tensor<1>, w_dec: Tensor<2>, entries: &Entries) -> Tensor<2> {
    let (values, w_dec) = (values.into_dispatch(), w_dec.into_dispatch());
    Tensor::from_dispatch(<Dispatch as SparseOps>::decode(values, w_dec, entries.clone()))
}

/// Pre-activations that were found without autodiff, differentiable in the encoder's parameters.
///
/// The pre-activations are those of `(inputs − b_dec) W_encᵀ + b_enc`; `centred` is what stands before the product. Where
/// nothing is subtracted, pass a `b_dec` that is not tracked.
///
/// # Shapes
///
/// - values: `[N]` and centred: `[B, D]`, which are constants; w_enc: `[F, D]`, b_enc: `[F]`, b_dec: `[D]`
/// - output: `[N]`
///
/// # Panics
///
/// On tensors of another device than the entries were found on.
pub fn sparse_encode(
    values: Tensor<1>,
    centred: Tensor<2>,
    w_enc: Tensor<2>,
    b_enc: Tensor<1>,
    b_dec: Tensor<1>,
    entries: &Entries,
) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as SparseOps>::encode(
        w_enc.into_dispatch(),
        b_enc.into_dispatch(),
        b_dec.into_dispatch(),
        centred.into_dispatch(),
        values.into_dispatch(),
        entries.clone(),
    ))
}

/// What a backend must be able to do for [`SparseOps`].
pub(crate) trait SparseBackend: Backend {
    /// `[N]` values, `[F, D]` decoder -> `[B, D]`.
    fn decode_forward(values: FloatTensor<Self>, w_dec: FloatTensor<Self>, entries: &Entries) -> FloatTensor<Self>;
    /// `[B, D]` gradient of the output -> gradients of the values `[N]` and of the decoder `[F, D]`.
    fn decode_backward(
        gradient: FloatTensor<Self>,
        values: FloatTensor<Self>,
        w_dec: FloatTensor<Self>,
        entries: &Entries,
    ) -> [FloatTensor<Self>; 2];
    /// `[N]` gradient of the pre-activations -> gradients of the encoder `[F, D]`, of its bias `[F]` and of the bias
    /// subtracted before it `[D]`.
    fn encode_backward(
        gradient: FloatTensor<Self>,
        centred: FloatTensor<Self>,
        w_enc: FloatTensor<Self>,
        entries: &Entries,
    ) -> [FloatTensor<Self>; 3];
}

impl SparseBackend for Flex {
    fn decode_forward(values: FlexTensor, w_dec: FlexTensor, entries: &Entries) -> FlexTensor {
        let (set, d) = (on_host(entries), width(&w_dec));
        let [values, w_dec] = [values, w_dec].map(contiguous);
        let out = sparse::decode(flex_slice(&values), flex_slice(&w_dec), d, set);
        flex(out, [set.n_rows(), d])
    }

    fn decode_backward(
        gradient: FlexTensor,
        values: FlexTensor,
        w_dec: FlexTensor,
        entries: &Entries,
    ) -> [FlexTensor; 2] {
        let (set, d) = (on_host(entries), width(&w_dec));
        let [gradient, values, w_dec] = [gradient, values, w_dec].map(contiguous);
        let (of_values, of_decoder) = sparse::decode_backward(
            flex_slice(&gradient),
            flex_slice(&values),
            flex_slice(&w_dec),
            1.0,
            d,
            set,
        );
        [flex(of_values, [set.len()]), flex(of_decoder, [set.n_latents(), d])]
    }

    fn encode_backward(
        gradient: FlexTensor,
        centred: FlexTensor,
        w_enc: FlexTensor,
        entries: &Entries,
    ) -> [FlexTensor; 3] {
        let (set, d) = (on_host(entries), width(&w_enc));
        let [gradient, centred, w_enc] = [gradient, centred, w_enc].map(contiguous);
        let (of_encoder, of_bias) = sparse::encode_backward(flex_slice(&gradient), flex_slice(&centred), d, set);
        let mut of_subtracted = sparse::weighted_row_sum(&of_bias, flex_slice(&w_enc), d);
        of_subtracted.iter_mut().for_each(|x| *x = -*x);
        [
            flex(of_encoder, [set.n_latents(), d]),
            flex(of_bias, [set.n_latents()]),
            flex(of_subtracted, [d]),
        ]
    }
}

pub(crate) fn on_host(entries: &Entries) -> &ActiveSet {
    match &entries.0 {
        Place::Host(set) => set,
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        Place::Gpu(_) => unreachable!("the entries lie where their tensors do"),
    }
}

fn width(matrix: &FlexTensor) -> usize {
    matrix.layout().shape()[1]
}

pub(crate) fn flex<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

#[backend_extension(Autodiff, Flex, Cube: cfg(any(feature = "wgpu", feature = "cuda")))]
pub(crate) trait SparseOps: Backend {
    fn decode(values: FloatTensor<Self>, w_dec: FloatTensor<Self>, entries: Entries) -> FloatTensor<Self>;
    fn encode(
        w_enc: FloatTensor<Self>,
        b_enc: FloatTensor<Self>,
        b_dec: FloatTensor<Self>,
        centred: FloatTensor<Self>,
        values: FloatTensor<Self>,
        entries: Entries,
    ) -> FloatTensor<Self>;
}

/// Without autodiff a decoder is a decoder, and pre-activations are what they are.
macro_rules! without_autodiff {
    ($backend:ty) => {
        impl SparseOps for $backend {
            fn decode(values: FloatTensor<Self>, w_dec: FloatTensor<Self>, entries: Entries) -> FloatTensor<Self> {
                Self::decode_forward(values, w_dec, &entries)
            }

            fn encode(
                _w_enc: FloatTensor<Self>,
                _b_enc: FloatTensor<Self>,
                _b_dec: FloatTensor<Self>,
                _centred: FloatTensor<Self>,
                values: FloatTensor<Self>,
                _entries: Entries,
            ) -> FloatTensor<Self> {
                values
            }
        }
    };
}

without_autodiff!(Flex);
#[cfg(any(feature = "wgpu", feature = "cuda"))]
without_autodiff!(burn_cubecl::CubeBackend);

/// Hands gradients to those parents that ask for one.
fn register<B: Backend, const N: usize>(
    parents: [Option<NodeId>; N],
    gradients: [FloatTensor<B>; N],
    grads: &mut Gradients,
) {
    for (parent, gradient) in parents.into_iter().zip(gradients) {
        if let Some(parent) = parent {
            grads.register::<B>(parent, gradient);
        }
    }
}

#[derive(Debug)]
struct Decode;

impl<B: SparseBackend> Backward<B, 2> for Decode {
    type State = (FloatTensor<B>, FloatTensor<B>, Entries);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (values, w_dec, entries) = ops.state;
        let gradients = B::decode_backward(gradient, values, w_dec, &entries);
        register::<B, _>(ops.parents.map(|parent| parent.map(|node| node.id)), gradients, grads);
    }
}

#[derive(Debug)]
struct Encode;

impl<B: SparseBackend> Backward<B, 3> for Encode {
    type State = (FloatTensor<B>, FloatTensor<B>, Entries);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let (centred, w_enc, entries) = ops.state;
        let gradients = B::encode_backward(gradient, centred, w_enc, &entries);
        register::<B, _>(ops.parents.map(|parent| parent.map(|node| node.id)), gradients, grads);
    }
}

impl<B: SparseBackend, C: CheckpointStrategy> SparseOps for Autodiff<B, C> {
    fn decode(values: FloatTensor<Self>, w_dec: FloatTensor<Self>, entries: Entries) -> FloatTensor<Self> {
        match Decode
            .prepare::<C>([values.node(), w_dec.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (values, w_dec) = (values.primitive().clone(), w_dec.primitive().clone());
                let out = B::decode_forward(values.clone(), w_dec.clone(), &entries);
                prepared.finish((values, w_dec, entries), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::decode_forward(
                values.into_primitive(),
                w_dec.into_primitive(),
                &entries,
            )),
        }
    }

    fn encode(
        w_enc: FloatTensor<Self>,
        b_enc: FloatTensor<Self>,
        b_dec: FloatTensor<Self>,
        centred: FloatTensor<Self>,
        values: FloatTensor<Self>,
        entries: Entries,
    ) -> FloatTensor<Self> {
        let nodes = [w_enc.node(), b_enc.node(), b_dec.node()];
        match Encode.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = (centred.primitive().clone(), w_enc.primitive().clone(), entries);
                prepared.finish(state, values.into_primitive())
            }
            OpsKind::UnTracked(prepared) => prepared.finish(values.into_primitive()),
        }
    }
}
