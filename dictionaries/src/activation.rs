//! The activation functions of finished autoencoders, which are fewer than the ways of training them.
//!
//! Shapes: `B` rows, `F` latents.

use burn::tensor::{Tensor, activation::relu};

use crate::Parameters;

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
    pub fn extra_names(self) -> &'static [&'static str] {
        match self {
            Self::Relu | Self::Topk { .. } | Self::Groupmax { .. } => &[],
            Self::Jumprelu => &["threshold"],
            Self::Gated => &["r_mag", "b_mag"],
        }
    }

    /// Which of [`Parameters::extra`] has the units of pre-activations: thresholds, biases of magnitudes; log-scales have none.
    pub fn extra_in_units(self) -> Option<usize> {
        match self {
            Self::Jumprelu => Some(0),
            Self::Gated => Some(1),
            Self::Relu | Self::Topk { .. } | Self::Groupmax { .. } => None,
        }
    }

    /// SAELens's name of [`Parameters::b_enc`].
    pub fn bias_name(self) -> &'static str {
        match self {
            Self::Gated => "b_gate",
            _ => "b_enc",
        }
    }

    /// Codes from pre-activations, both `[B, F]`.
    pub fn apply(self, parameters: &Parameters, h: Tensor<2>) -> Tensor<2> {
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
            Self::Gated => {
                let [b_gate, r_mag, b_mag] = [&parameters.b_enc, &parameters.extra[0], &parameters.extra[1]]
                    .map(|vector| vector.clone().unsqueeze()); // [1, F]
                gated(h, b_gate, r_mag.exp(), b_mag)
            }
        }
    }
}

/// Codes of a Gated autoencoder (Rajamanoharan et al. 2024, <https://arxiv.org/abs/2404.16014>) from the gate's
/// pre-activations `h = u + b_gate`: `ReLU(scale u + b_mag)` where `h > 0`. The gate is a constant for differentiation.
///
/// # Shapes
///
/// - h, output: `[B, F]`, or `[1, N]` of the active entries alone
/// - b_gate, scale, b_mag: one number a latent, spread over the entries: `[1, F]` or `[1, N]`
pub fn gated(h: Tensor<2>, b_gate: Tensor<2>, scale: Tensor<2>, b_mag: Tensor<2>) -> Tensor<2> {
    let gate = h.clone().greater_scalar(0.0).float(); // constant
    relu((h - b_gate) * scale + b_mag) * gate
}
