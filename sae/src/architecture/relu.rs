//! ReLU with a penalty on the codes; without one, the loss of TopK and BatchTopK on their selected entries.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Tensor, activation::relu};

use super::p_anneal::powers;
use super::{Loss, reconstruct, squared_error};
use crate::parameters::Parameters;
use crate::support::Support;

/// What is paid for codes, summed over latents, mean over rows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Penalty {
    /// Nothing.
    None,
    /// `weight` times `f^p`.
    Power {
        /// Weight.
        weight: f64,
        /// Exponent.
        p: f64,
    },
    /// `weight` times the code times the norm of its decoder row.
    ByNorm {
        /// Weight.
        weight: f64,
    },
}

/// Squared error plus the penalty.
pub(crate) fn loss(
    parameters: &Parameters,
    support: &Support,
    h: Tensor<2>,
    target: &Tensor<2>,
    penalty: Penalty,
) -> Loss {
    let rows = target.dims()[0] as f64;
    let codes = relu(h);
    let reconstruction = reconstruct(parameters, support, codes.clone()); // [B, D]
    let squared_error = squared_error(target, reconstruction.clone());
    let total = match penalty {
        Penalty::None => squared_error.clone(),
        Penalty::Power { weight, p } => squared_error.clone() + powers(codes.clone(), p).sum() * (weight / rows),
        Penalty::ByNorm { weight } => {
            let strength = codes.clone() * support.spread(parameters.decoder_norms());
            squared_error.clone() + strength.sum() * (weight / rows)
        }
    };
    Loss {
        total,
        squared_error,
        reconstruction,
        codes,
    }
}
