//! The activation functions of finished autoencoders, which are fewer than the ways of training them.
//!
//! Shapes: `B` rows, `F` latents.

use burn::tensor::{Tensor, activation::relu};
use kernels::Precision;

use crate::architecture::gated;
use crate::parameters::Parameters;
use crate::support::Support;

/// How codes follow from pre-activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// What is positive.
    Relu,
    /// What is above its latent's threshold, [`Parameters::extra`]`[0]`.
    Jumprelu,
    /// The `k` largest positive entries of each row.
    Topk {
        /// Active latents of a row, at most.
        k: usize,
    },
    /// The largest positive entry of each of `k` equal groups of neighbours (sparsify's GroupMax).
    Groupmax {
        /// Active latents of a row, at most.
        k: usize,
    },
    /// A gate and a magnitude, whose log-scales and biases are [`Parameters::extra`].
    Gated,
}

impl Activation {
    /// SAELens's name for it.
    pub fn saelens_name(self) -> &'static str {
        match self {
            Self::Relu => "standard",
            Self::Jumprelu => "jumprelu",
            Self::Topk { .. } => "topk",
            Self::Groupmax { .. } => "groupmax",
            Self::Gated => "gated",
        }
    }

    /// SAELens's names of [`Parameters::extra`].
    pub(crate) fn extra_names(self) -> &'static [&'static str] {
        match self {
            Self::Relu | Self::Topk { .. } | Self::Groupmax { .. } => &[],
            Self::Jumprelu => &["threshold"],
            Self::Gated => &["r_mag", "b_mag"],
        }
    }

    /// Which of [`Parameters::extra`] has the units of pre-activations: thresholds, biases of magnitudes; log-scales have none.
    pub(crate) fn extra_in_units(self) -> Option<usize> {
        match self {
            Self::Jumprelu => Some(0),
            Self::Gated => Some(1),
            Self::Relu | Self::Topk { .. } | Self::Groupmax { .. } => None,
        }
    }

    /// SAELens's name of [`Parameters::b_enc`].
    pub(crate) fn bias_name(self) -> &'static str {
        match self {
            Self::Gated => "b_gate",
            _ => "b_enc",
        }
    }

    /// Codes from pre-activations, both `[B, F]`.
    pub(crate) fn apply(self, parameters: &Parameters, h: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Relu => relu(h),
            Self::Jumprelu => {
                let above = h.clone().greater(parameters.extra[0].clone().unsqueeze()).float();
                h * above
            }
            Self::Topk { k } => kernels::top_k(h, k),
            Self::Groupmax { k } => {
                let [rows, n_latents] = h.dims();
                let groups = h.reshape([rows * k, n_latents / k]); // [B k, F / k]
                kernels::top_k(groups, 1).reshape([rows, n_latents]) // [B, F]
            }
            Self::Gated => gated::activate(parameters, &Support::Dense(Precision::F32), h),
        }
    }
}
