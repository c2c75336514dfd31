//! Nonlinearities of an MLP.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::vector;

/// `2 sqrt(2/pi)`, the factor of `x` in `2u` of GELU.
const LINEAR: f64 = 1.595_769_121_605_730_7;
/// The factor of `x^3`.
const CUBIC: f64 = 0.044715 * LINEAR;

/// The activation function of an MLP, under Hugging Face's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nonlinearity {
    /// `gelu_new`, also called `gelu_pytorch_tanh`: GELU approximated by a hyperbolic tangent, `x/2 (1 + tanh u) = x sigmoid(2u)`
    /// with `u = sqrt(2/pi) (x + 0.044715 x^3)`.
    GeluTanh,
    /// `gelu`: GELU with the error function.
    GeluErf,
    /// `relu`.
    Relu,
    /// `silu`, also called `swish`: `x sigmoid(x)`.
    Silu,
}

impl Nonlinearity {
    /// The activation function of every number of `x`, in burn's operations.
    pub fn apply(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::GeluTanh => {
                let twice_u = x.clone() * (x.clone() * x.clone() * CUBIC + LINEAR);
                x * activation::sigmoid(twice_u)
            }
            Self::GeluErf => activation::gelu(x),
            Self::Relu => activation::relu(x),
            Self::Silu => x.clone() * activation::sigmoid(x),
        }
    }
}

/// [`Nonlinearity::GeluTanh`] of one number.
#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    let twice_u = x * (x * x * CUBIC as f32 + LINEAR as f32);
    x / (1.0 + vector::exp(-twice_u))
}

/// [`Nonlinearity::Silu`] of one number.
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + vector::exp(-x))
}

/// [`Nonlinearity::Relu`] of one number.
#[inline(always)]
pub(super) fn relu(x: f32) -> f32 {
    x.max(0.0)
}
