//! The squared error of a sparse reconstruction as one operation that burn differentiates through.
//!
//! Written with tensor operations, decoder, bias, difference, square and sum pass over a `[B, D]` matrix a dozen times, forward
//! and backward; here a row is decoded, compared and squared while it is in cache, and the gradients start from what it leaves
//! over. On the CPU only: elsewhere the tensor operations are as good.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use crate::host::{contiguous, flex_slice};
use crate::ops::{flex, on_host};
use crate::{Entries, from_vec, host, sparse};

/// The squared error of a sparse reconstruction.
#[derive(Debug, Clone)]
pub struct SquaredError {
    /// Squared error, summed over dimensions, mean over rows; differentiable; `[1]`.
    pub error: Tensor<1>,
    /// What the reconstruction leaves over of the target; nothing is differentiated; `[B, D]`.
    pub residual: Tensor<2>,
}

/// Squared error of the reconstruction `decode(values) + b_dec` of `target`, differentiable in the values, the decoder and its
/// bias; `None` where the entries are not in host memory.
///
/// # Shapes
///
/// - values: `[N]`, w_dec: `[F, D]`, b_dec: `[D]`, target: `[B, D]`, a constant
pub fn sparse_squared_error(
    values: &Tensor<1>,
    w_dec: &Tensor<2>,
    b_dec: &Tensor<1>,
    target: &Tensor<2>,
    entries: &Entries,
) -> Option<SquaredError> {
    let set = entries.host()?;
    let ([rows, d], device) = (target.dims(), target.device().inner());
    let (residual, squares) = sparse::residual(
        host::read(values).as_slice(),
        host::read(w_dec).as_slice(),
        host::read(b_dec).as_slice(),
        host::read(target).as_slice(),
        set,
    );
    let residual = from_vec(residual, [rows, d], &device); // [B, D]
    let error = from_vec(vec![(squares / rows as f64) as f32], [1], &device);
    let error = <Dispatch as HostOps>::squared_error(
        values.clone().into_dispatch(),
        w_dec.clone().into_dispatch(),
        b_dec.clone().into_dispatch(),
        error.autodiff().into_dispatch(),
        residual.clone().autodiff().into_dispatch(),
        entries.clone(),
    );
    Some(SquaredError {
        error: Tensor::from_dispatch(error),
        residual,
    })
}

#[backend_extension(Autodiff, Flex)]
pub(crate) trait HostOps: Backend {
    fn squared_error(
        values: FloatTensor<Self>,
        w_dec: FloatTensor<Self>,
        b_dec: FloatTensor<Self>,
        error: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        entries: Entries,
    ) -> FloatTensor<Self>;
}

/// Without autodiff the error is what it is.
impl HostOps for Flex {
    fn squared_error(
        _values: FlexTensor,
        _w_dec: FlexTensor,
        _b_dec: FlexTensor,
        error: FlexTensor,
        _residual: FlexTensor,
        _entries: Entries,
    ) -> FlexTensor {
        error
    }
}

/// What a backend must be able to do for the gradients of [`HostOps`].
pub(crate) trait HostBackend: Backend {
    /// Gradients of the values, of the decoder where it is wanted, and of the bias, for a gradient `[1]` of the error.
    fn squared_error_backward(
        gradient: FloatTensor<Self>,
        state: State<Self>,
        wants_decoder: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>, FloatTensor<Self>);
}

/// What the backward pass needs of the forward one.
#[derive(Debug, Clone)]
pub(crate) struct State<B: Backend> {
    values: FloatTensor<B>,
    w_dec: FloatTensor<B>,
    residual: FloatTensor<B>,
    entries: Entries,
}

impl HostBackend for Flex {
    fn squared_error_backward(
        gradient: FlexTensor,
        state: State<Self>,
        wants_decoder: bool,
    ) -> (FlexTensor, Option<FlexTensor>, FlexTensor) {
        let State {
            values,
            w_dec,
            residual,
            entries,
        } = state;
        let set = on_host(&entries);
        let [gradient, values, w_dec, residual] = [gradient, values, w_dec, residual].map(contiguous);
        let factor = flex_slice(&gradient)[0] / set.n_rows() as f32;
        let (of_values, of_decoder, of_bias) = sparse::residual_backward(
            flex_slice(&residual),
            flex_slice(&values),
            flex_slice(&w_dec),
            factor,
            set,
            wants_decoder,
        );
        let d = of_bias.len();
        (
            flex(of_values, [set.len()]),
            of_decoder.map(|of_decoder| flex(of_decoder, [set.n_latents(), d])),
            flex(of_bias, [d]),
        )
    }
}

#[derive(Debug)]
struct Error;

impl<B: HostBackend> Backward<B, 3> for Error {
    type State = State<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<B>(&ops.node);
        let [values, w_dec, b_dec] = ops.parents.map(|parent| parent.map(|node| node.id));
        let (of_values, of_decoder, of_bias) = B::squared_error_backward(gradient, ops.state, w_dec.is_some());
        let gradients = [(values, Some(of_values)), (w_dec, of_decoder), (b_dec, Some(of_bias))];
        for (parent, gradient) in gradients {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<B>(parent, gradient);
            }
        }
    }
}

impl<B: HostBackend, C: CheckpointStrategy> HostOps for Autodiff<B, C> {
    fn squared_error(
        values: FloatTensor<Self>,
        w_dec: FloatTensor<Self>,
        b_dec: FloatTensor<Self>,
        error: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        entries: Entries,
    ) -> FloatTensor<Self> {
        let nodes = [values.node(), w_dec.node(), b_dec.node()];
        match Error.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let state = State {
                    values: values.primitive().clone(),
                    w_dec: w_dec.primitive().clone(),
                    residual: residual.into_primitive(),
                    entries,
                };
                prepared.finish(state, error.into_primitive())
            }
            OpsKind::UnTracked(prepared) => prepared.finish(error.into_primitive()),
        }
    }
}
