//! ReLU with a penalty on the codes; without one, the loss of TopK and BatchTopK on their selected entries.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Tensor, activation::relu};
use dictionaries::Parameters;
use kernels::Precision;

use super::p_anneal::powers;
use super::{Loss, reconstruction_error};
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
    let (squared_error, residual, price) = match (support, penalty) {
        (&Support::Dense(precision), Penalty::Power { weight, p: 1.0 }) => {
            let ones = parameters.decoder_norms().ones_like();
            with_price(parameters, precision, &codes, ones * (weight / rows), target)
        }
        (&Support::Dense(precision), Penalty::ByNorm { weight }) => {
            let prices = parameters.decoder_norms() * (weight / rows);
            with_price(parameters, precision, &codes, prices, target)
        }
        _ => {
            let price = match penalty {
                Penalty::None => None,
                Penalty::Power { weight, p } => Some(powers(codes.clone(), p).sum() * (weight / rows)),
                Penalty::ByNorm { weight } => {
                    let strength = codes.clone() * support.spread(parameters.decoder_norms());
                    Some(strength.sum() * (weight / rows))
                }
            };
            let (w_dec, b_dec) = (&parameters.w_dec, &parameters.b_dec);
            let (squared_error, residual) = reconstruction_error(support, codes.clone(), w_dec, b_dec, target);
            (squared_error, residual, price)
        }
    };
    Loss {
        total: match price {
            Some(price) => squared_error.clone() + price,
            None => squared_error.clone(),
        },
        squared_error,
        residual,
        codes,
    }
}

/// Squared error and residual of the reconstruction, and the sum of all codes `[B, F]` times `prices` `[F]`, as one product: the
/// gradient of the sum is then part of that product's instead of a matrix as large as the codes.
fn with_price(
    parameters: &Parameters,
    precision: Precision,
    codes: &Tensor<2>,
    prices: Tensor<1>,
    target: &Tensor<2>,
) -> (Tensor<1>, Tensor<2>, Option<Tensor<1>>) {
    let ([rows, n_latents], d) = (codes.dims(), parameters.d_out());
    let decoder = Tensor::cat(vec![parameters.w_dec.clone(), prices.reshape([n_latents, 1])], 1); // [F, D + 1]
    let out = precision.matmul(codes.clone(), decoder); // [B, D + 1]
    let reconstruction = out.clone().slice([0..rows, 0..d]) + parameters.b_dec.clone().unsqueeze(); // [B, D]
    let residual = target.clone() - reconstruction; // [B, D]
    let squared_error = residual.clone().square().sum() / rows as f64;
    (
        squared_error,
        residual.inner(),
        Some(out.slice([0..rows, d..d + 1]).sum()),
    )
}
