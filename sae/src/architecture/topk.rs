//! AuxK (Gao et al. 2024, <https://arxiv.org/abs/2406.04093>): dead latents learn from what the living leave over.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Tensor, activation::relu};

use crate::parameters::Parameters;
use crate::support::Support;

/// `weight` times the variance of the target times the share of the residual's variance that the dead latents leave
/// unexplained. In this form its weight against the squared error is that of the paper, whatever the scale of the inputs.
///
/// `dead` are the pre-activations of the selected dead latents, if any is selected; target and reconstruction are `[B, D]`,
/// the residual between them is a constant.
pub(crate) fn auxiliary_loss(
    parameters: &Parameters,
    dead: Option<(Support, Tensor<2>)>,
    target: &Tensor<2>,
    reconstruction: Tensor<2>,
    weight: f64,
) -> Tensor<1> {
    let rows = target.dims()[0] as f64;
    let residual = target.clone() - reconstruction.detach(); // [B, D]
    let missing = match dead {
        Some((support, h)) => support.decode(relu(h), parameters.w_dec.clone()) - residual.clone(), // [B, D]
        None => residual.clone(),
    };
    let unexplained = missing.square().sum() / rows;
    let scale = variance(target) / variance(&residual).clamp_min(f64::from(f32::MIN_POSITIVE));
    unexplained * scale.autodiff() * weight
}

/// Squared distance from the mean of the batch, summed over dimensions, mean over rows: `[1]`. Nothing is differentiated.
pub(crate) fn variance(x: &Tensor<2>) -> Tensor<1> {
    let (x, rows) = (x.clone().inner(), x.dims()[0] as f64);
    kernels::sum((x.clone() - x.mean_dim(0)).square()) / rows
}
