//! AuxK (Gao et al. 2024, <https://arxiv.org/abs/2406.04093>): dead latents learn from what the living leave over.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Tensor, activation::relu};
use dictionaries::Parameters;
use kernels::variance;

use super::reconstruction_error;
use crate::support::Support;

/// `weight` times the variance of the target times the share of the residual's variance that the dead latents leave
/// unexplained. In this form its weight against the squared error is that of the paper, whatever the scale of the inputs.
///
/// `dead` are the pre-activations of the selected dead latents, if any is selected; target `[B, D]` and residual `[B, D]` (plain)
/// are constants.
pub(crate) fn auxiliary_loss(
    parameters: &Parameters,
    dead: Option<(Support, Tensor<2>)>,
    target: &Tensor<2>,
    residual: Tensor<2>,
    weight: f64,
) -> Tensor<1> {
    let [rows, d] = residual.dims();
    let no_bias = Tensor::zeros([d], &residual.device()).autodiff();
    let unexplained = match dead {
        Some((support, h)) => {
            let left = residual.clone().autodiff();
            reconstruction_error(&support, relu(h), &parameters.w_dec, &no_bias, &left).0
        }
        None => (residual.clone().square().sum() / rows as f64).autodiff(),
    };
    let of_target = variance(&target.clone().inner());
    let scale = of_target / variance(&residual).clamp_min(f64::from(f32::MIN_POSITIVE));
    unexplained * scale.autodiff() * weight
}
