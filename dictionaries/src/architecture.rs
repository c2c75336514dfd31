//! What an autoencoder was trained as: the record that stands beside its weights.

use serde::{Deserialize, Serialize};

use crate::Activation;

/// What makes the codes sparse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(tag = "architecture", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Architecture {
    /// ReLU with an L1 penalty and unit decoder rows ("Towards Monosemanticity", 2023).
    Relu {
        /// Weight of the sum of codes.
        l1: f64,
    },
    /// ReLU with an L1 penalty weighted by the norms of free decoder rows (Anthropic's update of April 2024).
    ReluApril {
        /// Weight of the sum of codes times norms.
        l1: f64,
    },
    /// ReLU whose L1 penalty turns into a power closer to a count (Karvonen et al. 2024,
    /// <https://arxiv.org/abs/2408.00113>), with unit decoder rows.
    PAnneal {
        /// Weight of the sum of codes, before the exponent falls.
        l1: f64,
        /// Exponent at the end.
        p_end: f64,
    },
    /// A gate decides which latents are active, a second ReLU how much (Rajamanoharan et al. 2024,
    /// <https://arxiv.org/abs/2404.16014>).
    Gated {
        /// Weight of the sum of the gate's positive pre-activations.
        l1: f64,
    },
    /// Pre-activations above a learned threshold (Rajamanoharan et al. 2024, <https://arxiv.org/abs/2407.14435>), with a
    /// target for the number of active latents.
    Jumprelu {
        /// Active latents of a row to aim at.
        l0: f64,
        /// Width of the window in which a threshold feels the pre-activations around it.
        bandwidth: f64,
    },
    /// JumpReLU with the paper's own penalty, the number of active latents.
    JumpreluL0 {
        /// Weight of an active latent.
        weight: f64,
        /// Width of the window in which a threshold feels the pre-activations around it.
        bandwidth: f64,
    },
    /// JumpReLU with free decoder rows, a tanh for a penalty and gradients through the step to every parameter
    /// (Anthropic's update of January 2025).
    JumpreluTanh {
        /// Weight of the sum of `tanh(4 f |W_dec|)` at the end of the run, over which it rises.
        weight: f64,
        /// Width of the window in which thresholds and pre-activations feel each other.
        bandwidth: f64,
    },
    /// The `k` largest pre-activations of each row (Gao et al. 2024, <https://arxiv.org/abs/2406.04093>).
    Topk {
        /// Active latents of a row.
        k: usize,
    },
    /// The largest pre-activations of a whole batch, `k` a row in the mean (Bussmann et al. 2024,
    /// <https://arxiv.org/abs/2412.06410>); afterwards those above a constant threshold.
    BatchTopk {
        /// Active latents of a row, in the mean.
        k: usize,
    },
    /// BatchTopK whose first latents must reconstruct alone too (Bussmann et al. 2025, <https://arxiv.org/abs/2503.17547>).
    Matryoshka {
        /// Active latents of a row, in the mean.
        k: usize,
        /// Nested dictionaries: the smallest holds `F / 2^(levels - 1)` latents, each further one twice as many.
        levels: usize,
    },
}

impl Architecture {
    /// Name in configs, run folders and reports.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether the decoder's bias is subtracted before the encoder.
    pub fn subtracts_b_dec(&self) -> bool {
        !matches!(
            self,
            Self::ReluApril { .. } | Self::Jumprelu { .. } | Self::JumpreluL0 { .. } | Self::JumpreluTanh { .. }
        )
    }

    /// Whether decoder rows have norm 1.
    pub fn has_unit_decoder(&self) -> bool {
        !matches!(self, Self::ReluApril { .. } | Self::JumpreluTanh { .. })
    }

    /// Active latents that selection bounds, a row.
    pub fn k(&self) -> Option<usize> {
        match *self {
            Self::Topk { k } | Self::BatchTopk { k } | Self::Matryoshka { k, .. } => Some(k),
            _ => None,
        }
    }

    /// The same with another [`Architecture::k`], where it has one.
    pub fn with_k(self, k: usize) -> Self {
        match self {
            Self::Topk { .. } => Self::Topk { k },
            Self::BatchTopk { .. } => Self::BatchTopk { k },
            Self::Matryoshka { levels, .. } => Self::Matryoshka { k, levels },
            other => other,
        }
    }

    /// Width of the window around learned thresholds.
    pub fn bandwidth(&self) -> Option<f64> {
        match *self {
            Self::Jumprelu { bandwidth, .. }
            | Self::JumpreluL0 { bandwidth, .. }
            | Self::JumpreluTanh { bandwidth, .. } => Some(bandwidth),
            _ => None,
        }
    }

    /// The activation function of the finished autoencoder: a selection over the batch becomes a threshold.
    pub fn activation(&self) -> Activation {
        match *self {
            Self::Relu { .. } | Self::ReluApril { .. } | Self::PAnneal { .. } => Activation::Relu,
            Self::Gated { .. } => Activation::Gated,
            Self::Topk { k } => Activation::Topk { k },
            Self::Jumprelu { .. }
            | Self::JumpreluL0 { .. }
            | Self::JumpreluTanh { .. }
            | Self::BatchTopk { .. }
            | Self::Matryoshka { .. } => Activation::Jumprelu,
        }
    }
}
