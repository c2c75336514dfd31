//! Gated autoencoders (Rajamanoharan et al. 2024, <https://arxiv.org/abs/2404.16014>).
//!
//! `u = (x - b_dec) W_enc`, gate `u + b_gate > 0`, magnitude `ReLU(exp(r_mag) u + b_mag)`. The gate is a constant of the
//! main term; it learns from the penalty and from a reconstruction by its own positive part through a decoder that is held
//! fixed in that term.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Tensor, activation::relu};
use dictionaries::Parameters;

use super::{Loss, reconstruction_error};
use crate::support::Support;

/// Codes from the gate's pre-activations `u + b_gate`.
pub(crate) fn activate(parameters: &Parameters, support: &Support, h: Tensor<2>) -> Tensor<2> {
    let b_gate = support.spread(parameters.b_enc.clone());
    let scale = support.spread(parameters.extra[0].clone().exp());
    let b_mag = support.spread(parameters.extra[1].clone());
    dictionaries::gated(h, b_gate, scale, b_mag)
}

/// Squared error, plus `l1` times the mean sum of the gate's positive part, plus the squared error of the reconstruction
/// by that part through the frozen decoder.
pub(crate) fn loss(parameters: &Parameters, support: &Support, h: Tensor<2>, target: &Tensor<2>, l1: f64) -> Loss {
    let rows = target.dims()[0] as f64;
    let codes = activate(parameters, support, h.clone());
    let (w_dec, b_dec) = (&parameters.w_dec, &parameters.b_dec);
    let (squared, residual) = reconstruction_error(support, codes.clone(), w_dec, b_dec, target);
    let open = relu(h);
    let (frozen_w_dec, frozen_b_dec) = (w_dec.clone().detach(), b_dec.clone().detach());
    let (by_gate, _) = reconstruction_error(support, open.clone(), &frozen_w_dec, &frozen_b_dec, target);
    Loss {
        total: squared.clone() + open.sum() * (l1 / rows) + by_gate,
        squared_error: squared,
        residual,
        codes,
    }
}
