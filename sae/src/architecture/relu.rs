//! ReLU with an L1 penalty; without one, the loss of TopK and BatchTopK on their selected entries.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Tensor, activation::relu};

use super::{Loss, reconstruct, squared_error};
use crate::parameters::Parameters;
use crate::support::Support;

/// Squared error plus `l1` times the mean over rows of the sum of codes, each times the norm of its decoder row when
/// `by_norm` (of unit rows the norm would be 1).
pub(super) fn loss(
    parameters: &Parameters,
    support: &Support,
    h: Tensor<2>,
    target: &Tensor<2>,
    l1: f64,
    by_norm: bool,
) -> Loss {
    let rows = target.dims()[0] as f64;
    let codes = relu(h);
    let reconstruction = reconstruct(parameters, support, codes.clone()); // [B, D]
    let squared_error = squared_error(target, reconstruction.clone());
    let mut total = squared_error.clone();
    if l1 > 0.0 {
        let strength = if by_norm {
            codes.clone() * support.spread(parameters.decoder_norms())
        } else {
            codes.clone()
        };
        total = total + strength.sum() * (l1 / rows);
    }
    Loss {
        total,
        squared_error,
        reconstruction,
        codes,
    }
}
