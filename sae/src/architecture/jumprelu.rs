//! JumpReLU (Rajamanoharan et al. 2024, <https://arxiv.org/abs/2407.14435>) with three penalties: the paper's count of
//! active latents, the squared distance of that count from a target, and the tanh of Anthropic's update of January 2025.
//!
//! A step has no gradient; a straight-through estimator gives the threshold one from the pre-activations within half a
//! bandwidth of it: `df/dθ = -(θ/ε)`, `dL0/dθ = -1/ε` inside the window. Here both are terms of value 0 and that slope. The
//! window is taken around the pre-activations, not around the codes, so that it sees both sides of the step. With the tanh
//! the pre-activation gets the opposite slope too. Thresholds themselves are learned, not their logarithms, and kept at or
//! above 0. The update starts from wide uniform weights and biases that make each latent fire on a share of the data; here
//! all architectures start alike.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Int, Tensor, TensorData, activation::relu};
use dictionaries::Parameters;
use kernels::{Precision, matmul, to_vec};

use super::{Loss, reconstruction_error};
use crate::support::Support;

/// Thresholds at the start of a run.
pub(super) const INITIAL_THRESHOLD: f32 = 0.1;
/// Steepness of the tanh, as in the update.
const TANH_SCALE: f64 = 4.0;
/// Weight of what pulls dead latents back. In the update it pulls every latent; here, as in SAELens, the dead ones only.
const PRE_ACTIVATION_WEIGHT: f64 = 3e-6;

/// What is paid for active latents.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Penalty {
    /// `weight * D * (L0 / l0 - 1)²`: against the squared error of one dimension.
    Target {
        /// Active latents of a row to aim at.
        l0: f64,
        /// Weight.
        weight: f64,
        /// L0 of the whole batch, when only some of its rows are here.
        batch_l0: Option<f64>,
    },
    /// `weight` times the number of active latents of a row.
    Count {
        /// Weight.
        weight: f64,
    },
    /// `weight` times the sum of `tanh(4 f |W_dec|)`.
    Tanh {
        /// Weight.
        weight: f64,
    },
    /// As `Target` in dictionary_learning: the window is taken around the codes, of which it sees the upper half only.
    #[cfg(test)]
    TargetOnCodes {
        /// Active latents of a row to aim at.
        l0: f64,
        /// Weight.
        weight: f64,
    },
    /// As `Tanh` in SAELens by default: the step gives a gradient to thresholds only.
    #[cfg(test)]
    TanhOfThresholds {
        /// Weight.
        weight: f64,
    },
}

/// Below these pre-activations, `[F]`, an entry has neither a value nor a gradient.
pub(super) fn bounds(parameters: &Parameters, bandwidth: f64) -> Vec<f32> {
    let half = bandwidth as f32 / 2.0;
    let thresholds = to_vec(parameters.extra[0].clone().inner());
    thresholds.into_iter().map(|threshold| threshold - half).collect()
}

/// Pre-activations above their thresholds, in all rows of what stands before the encoder's product, `[B, D]` (plain).
pub(crate) fn n_active(parameters: &Parameters, precision: Precision, centred: Tensor<2>) -> f64 {
    let bounds = parameters.extra[0].clone() - parameters.b_enc.clone(); // [F]
    let h = precision.matmul(centred, parameters.w_enc.clone().transpose()); // [B, F]
    let above = h.greater(bounds.unsqueeze());
    to_vec(above.float().sum_dim(0)).into_iter().map(f64::from).sum()
}

/// Squared error plus the penalty.
pub(crate) fn loss(
    parameters: &Parameters,
    support: &Support,
    h: Tensor<2>,
    target: &Tensor<2>,
    penalty: Penalty,
    bandwidth: f64,
) -> Loss {
    let [rows, d] = target.dims();
    let threshold = support.spread(parameters.extra[0].clone());
    let constant = threshold.clone().detach();
    let gate = h.clone().detach().greater(constant.clone()).float();
    let distance = h.clone().detach() - constant.clone();
    let window = distance.clone().abs().lower_equal_scalar(bandwidth / 2.0).float() / bandwidth;
    // Values 0 and the slope of the window.
    let slope = match penalty {
        Penalty::Target { .. } | Penalty::Count { .. } => window * (constant.clone() - threshold),
        Penalty::Tanh { .. } => window * (h.clone() - threshold - distance),
        #[cfg(test)]
        Penalty::TargetOnCodes { .. } | Penalty::TanhOfThresholds { .. } => window * (constant.clone() - threshold),
    };
    let codes = h * gate.clone() + constant * slope.clone();
    let (w_dec, b_dec) = (&parameters.w_dec, &parameters.b_dec);
    let (squared_error, residual) = reconstruction_error(support, codes.clone(), w_dec, b_dec, target);
    let l0 = || (gate.clone() + slope.clone()).sum() / rows as f64; // [1]
    let tanh = |weight: f64| {
        let strength = codes.clone() * support.spread(parameters.decoder_norms());
        (strength * TANH_SCALE).tanh().sum() * (weight / rows as f64)
    };
    let price = match penalty {
        Penalty::Target {
            l0: aim,
            weight,
            batch_l0,
        } => {
            // The square's tangent at the batch's L0: the same value and slope, and a sum over rows.
            let l0 = l0();
            let at = batch_l0.unwrap_or_else(|| f64::from(to_vec(l0.clone().inner())[0]));
            let excess = at / aim - 1.0;
            ((l0 - at) * (2.0 * excess / aim) + excess * excess) * (weight * d as f64)
        }
        Penalty::Count { weight } => l0() * weight,
        Penalty::Tanh { weight } => tanh(weight),
        #[cfg(test)]
        Penalty::TargetOnCodes { l0: aim, weight } => {
            let l0 = (gate.clone() + slope.clone() * gate.clone()).sum() / rows as f64;
            (l0 / aim - 1.0).square() * (weight * d as f64)
        }
        #[cfg(test)]
        Penalty::TanhOfThresholds { weight } => tanh(weight),
    };
    Loss {
        total: squared_error.clone() + price,
        squared_error,
        residual,
        codes,
    }
}

/// What pulls dead latents back: the distance of their pre-activations below their thresholds, times their decoder norms,
/// summed over latents, mean over rows. `centred` is what stands before the encoder's product, `[B, D]`.
pub(crate) fn pre_activation_loss(parameters: &Parameters, centred: &Tensor<2>, dead: &[u32]) -> Tensor<1> {
    let (rows, device) = (centred.dims()[0] as f64, centred.device());
    let index: Vec<i32> = dead.iter().map(|&latent| latent as i32).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [dead.len()]), &device);
    let of = |vector: &Tensor<1>| vector.clone().select(0, index.clone()).unsqueeze::<2>(); // [1, dead]
    let directions = parameters.w_enc.clone().select(0, index.clone()); // [dead, D]
    let h = matmul(centred.clone(), directions.transpose()) + of(&parameters.b_enc); // [B, dead]
    let below = relu(of(&parameters.extra[0]) - h) * of(&parameters.decoder_norms());
    below.sum() * (PRE_ACTIVATION_WEIGHT / rows)
}
