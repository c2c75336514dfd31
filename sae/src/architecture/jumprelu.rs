//! JumpReLU with a target for the number of active latents (Rajamanoharan et al. 2024,
//! <https://arxiv.org/abs/2407.14435>, with the quadratic penalty of its later users).
//!
//! A step has no gradient; a straight-through estimator gives the threshold one from the pre-activations within half a
//! bandwidth of it: `df/dθ = -(θ/ε)`, `dL0/dθ = -1/ε` inside the window. Here both are terms of value 0 and that slope. The
//! window is taken around the pre-activations, not around the codes, so that it sees both sides of the step. Thresholds
//! themselves are learned, not their logarithms, and kept at or above 0.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::Tensor;
use kernels::to_vec;

use super::{Loss, reconstruct, squared_error};
use crate::parameters::Parameters;
use crate::support::Support;

/// Thresholds at the start of a run.
pub(super) const INITIAL_THRESHOLD: f32 = 0.1;

/// What the number of active latents should be.
pub(super) struct Target {
    /// Active latents of a row.
    pub(super) l0: f64,
    /// Width of the window around a threshold.
    pub(super) bandwidth: f64,
    /// Weight of the penalty against the squared error of one dimension.
    pub(super) weight: f64,
}

/// Below these pre-activations, `[F]`, an entry has neither a value nor a gradient.
pub(super) fn bounds(parameters: &Parameters, bandwidth: f64) -> Vec<f32> {
    let half = bandwidth as f32 / 2.0;
    let thresholds = to_vec(parameters.extra[0].clone().inner());
    thresholds.into_iter().map(|threshold| threshold - half).collect()
}

/// Squared error plus `weight * D * (L0 / target - 1)²`.
pub(super) fn loss(parameters: &Parameters, support: &Support, h: Tensor<2>, target: &Tensor<2>, aim: &Target) -> Loss {
    let [rows, d] = target.dims();
    let threshold = support.spread(parameters.extra[0].clone());
    let constant = threshold.clone().detach();
    let gate = h.clone().detach().greater(constant.clone()).float();
    let distance = (h.clone().detach() - constant.clone()).abs();
    let window = distance.lower_equal_scalar(aim.bandwidth / 2.0).float() / aim.bandwidth;
    let slope = window * (threshold - constant.clone()); // value 0, gradient of the window
    let codes = h * gate.clone() - constant * slope.clone();
    let reconstruction = reconstruct(parameters, support, codes.clone()); // [B, D]
    let squared_error = squared_error(target, reconstruction.clone());
    let l0 = (gate - slope).sum() / rows as f64; // [1]
    let excess = l0 / aim.l0 - 1.0;
    Loss {
        total: squared_error.clone() + excess.square() * (aim.weight * d as f64),
        squared_error,
        reconstruction,
        codes,
    }
}
