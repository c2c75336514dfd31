//! The architectures: what makes codes sparse, and the loss each is trained with.
//!
//! Each is written once over the values of a [`Support`], so the dense pass, which any device runs and which is the
//! reference, and the sparse pass on the CPU share their formulas. Losses are in units of the squared error summed over
//! dimensions, mean over rows, for inputs whose mean norm is the root of their width.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

pub(crate) mod gated;
pub(crate) mod jumprelu;
pub(crate) mod matryoshka;
mod p_anneal;
pub(crate) mod relu;
mod topk;

use std::fmt;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

pub(crate) use p_anneal::{Anneal, powers};
pub(crate) use topk::auxiliary_loss;

use crate::config::refuse;
use crate::parameters::Parameters;
use crate::support::Support;
use crate::{Activation, Error};

/// What makes the codes sparse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "kebab-case", deny_unknown_fields)]
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
    /// The same with the paper's own penalty, the number of active latents.
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

/// Where a run stands, as far as losses depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    /// Multiplies the weight of the sparsity penalty.
    pub(crate) sparsity: f64,
    /// Exponent of p-annealing.
    pub(crate) p: f64,
    /// The exponent after its next jump, where there is one to come.
    pub(crate) next_p: Option<f64>,
    /// Mean number of active latents over a whole batch, when a loss sees only some of its rows.
    pub(crate) batch_l0: Option<f64>,
}

/// The loss of a batch and what it was made from.
pub(crate) struct Loss {
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
    /// Squared error of the full reconstruction, summed over dimensions, mean over rows; `[1]`.
    pub squared_error: Tensor<1>,
    /// What the full reconstruction leaves over of the target; nothing is differentiated; `[B, D]`.
    pub residual: Tensor<2>,
    /// The codes, `[B, F]` or `[1, N]`.
    pub codes: Tensor<2>,
}

/// One of each, for tests that go through all of them.
#[cfg(test)]
pub(crate) const EXAMPLES: [Architecture; 10] = [
    Architecture::Relu { l1: 0.7 },
    Architecture::ReluApril { l1: 0.7 },
    Architecture::PAnneal { l1: 0.7, p_end: 0.5 },
    Architecture::Gated { l1: 0.7 },
    Architecture::Jumprelu {
        l0: 3.0,
        bandwidth: 0.8,
    },
    Architecture::JumpreluL0 {
        weight: 0.5,
        bandwidth: 0.8,
    },
    Architecture::JumpreluTanh {
        weight: 0.5,
        bandwidth: 0.8,
    },
    Architecture::Topk { k: 3 },
    Architecture::BatchTopk { k: 3 },
    Architecture::Matryoshka { k: 3, levels: 3 },
];

impl Architecture {
    /// Name in configs, run folders and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Relu { .. } => "relu",
            Self::ReluApril { .. } => "relu-april",
            Self::PAnneal { .. } => "p-anneal",
            Self::Gated { .. } => "gated",
            Self::Jumprelu { .. } => "jumprelu",
            Self::JumpreluL0 { .. } => "jumprelu-l0",
            Self::JumpreluTanh { .. } => "jumprelu-tanh",
            Self::Topk { .. } => "topk",
            Self::BatchTopk { .. } => "batch-topk",
            Self::Matryoshka { .. } => "matryoshka",
        }
    }

    /// Whether the decoder's bias is subtracted before the encoder.
    pub(crate) fn subtracts_b_dec(&self) -> bool {
        !matches!(
            self,
            Self::ReluApril { .. } | Self::Jumprelu { .. } | Self::JumpreluL0 { .. } | Self::JumpreluTanh { .. }
        )
    }

    /// Whether decoder rows have norm 1.
    pub(crate) fn has_unit_decoder(&self) -> bool {
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
    pub(crate) fn with_k(self, k: usize) -> Self {
        match self {
            Self::Topk { .. } => Self::Topk { k },
            Self::BatchTopk { .. } => Self::BatchTopk { k },
            Self::Matryoshka { levels, .. } => Self::Matryoshka { k, levels },
            other => other,
        }
    }

    /// Refuses what an autoencoder of `n_latents` cannot be.
    ///
    /// # Errors
    ///
    /// More active latents than there are; levels without latents.
    pub(crate) fn check_latents(&self, n_latents: usize) -> Result<(), Error> {
        let too_many = |field, asked: &dyn fmt::Display| {
            refuse(
                field,
                &format!("is {asked}, more than the {n_latents} latents of this site"),
            )
        };
        match *self {
            Self::Topk { k } | Self::BatchTopk { k } | Self::Matryoshka { k, .. } if k > n_latents => too_many("k", &k),
            Self::Jumprelu { l0, .. } if l0 > n_latents as f64 => too_many("l0", &l0),
            Self::Matryoshka { levels, .. } if n_latents >> (levels - 1) == 0 => {
                let most = n_latents.ilog2() + 1;
                refuse(
                    "levels",
                    &format!("is {levels}, must be at most {most} for the {n_latents} latents of this site"),
                )
            }
            _ => Ok(()),
        }
    }

    /// Width of the window around learned thresholds.
    pub(crate) fn bandwidth(&self) -> Option<f64> {
        match *self {
            Self::Jumprelu { bandwidth, .. }
            | Self::JumpreluL0 { bandwidth, .. }
            | Self::JumpreluTanh { bandwidth, .. } => Some(bandwidth),
            _ => None,
        }
    }

    /// Initial values of [`Parameters::extra`].
    pub(crate) fn initial_extra(&self) -> &'static [f32] {
        match self {
            Self::Gated { .. } => &[0.0, 0.0],
            _ if self.bandwidth().is_some() => &[jumprelu::INITIAL_THRESHOLD],
            _ => &[],
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

    /// The loss on pre-activations of the selected entries.
    pub(crate) fn loss(
        &self,
        parameters: &Parameters,
        support: &Support,
        h: Tensor<2>,
        target: &Tensor<2>,
        phase: Phase,
    ) -> Loss {
        let relu = |h, penalty| relu::loss(parameters, support, h, target, penalty);
        let jump = |h, penalty, bandwidth| jumprelu::loss(parameters, support, h, target, penalty, bandwidth);
        let Phase {
            sparsity, p, batch_l0, ..
        } = phase;
        match *self {
            Self::Relu { l1 } | Self::PAnneal { l1, .. } => {
                let weight = l1 * sparsity;
                relu(h, relu::Penalty::Power { weight, p })
            }
            Self::ReluApril { l1 } => {
                let weight = l1 * sparsity;
                relu(h, relu::Penalty::ByNorm { weight })
            }
            Self::Gated { l1 } => gated::loss(parameters, support, h, target, l1 * sparsity),
            Self::Jumprelu { l0, bandwidth } => {
                let weight = sparsity;
                jump(h, jumprelu::Penalty::Target { l0, weight, batch_l0 }, bandwidth)
            }
            Self::JumpreluL0 { weight, bandwidth } => {
                let weight = weight * sparsity;
                jump(h, jumprelu::Penalty::Count { weight }, bandwidth)
            }
            Self::JumpreluTanh { weight, bandwidth } => {
                let weight = weight * sparsity;
                jump(h, jumprelu::Penalty::Tanh { weight }, bandwidth)
            }
            Self::Topk { .. } | Self::BatchTopk { .. } => relu(h, relu::Penalty::None),
            Self::Matryoshka { levels, .. } => matryoshka::loss(parameters, support, h, target, levels),
        }
    }

    /// What a pre-activation must exceed for its entry to matter to the loss, `[F]`; only for architectures without a
    /// selection.
    pub(crate) fn bounds(&self, parameters: &Parameters) -> Vec<f32> {
        match self.bandwidth() {
            Some(bandwidth) => jumprelu::bounds(parameters, bandwidth),
            None => vec![0.0; parameters.n_latents()],
        }
    }
}

/// Squared error of the reconstruction by codes, decoder and bias, summed over dimensions, mean over rows, `[1]`; and what the
/// reconstruction leaves over of the target, of which nothing is differentiated, `[B, D]`.
pub(crate) fn reconstruction_error(
    support: &Support,
    codes: Tensor<2>,
    w_dec: &Tensor<2>,
    b_dec: &Tensor<1>,
    target: &Tensor<2>,
) -> (Tensor<1>, Tensor<2>) {
    if let Support::Sparse(entries) = support {
        let values = codes.clone().reshape([entries.len()]); // [N]
        if let Some(found) = kernels::sparse_squared_error(&values, w_dec, b_dec, target, entries) {
            return (found.error, found.residual);
        }
    }
    let rows = target.dims()[0] as f64;
    let residual = target.clone() - support.decode(codes, w_dec.clone()) - b_dec.clone().unsqueeze(); // [B, D]
    (residual.clone().square().sum() / rows, residual.inner())
}

/// Squared distance summed over dimensions, mean over rows: `[1]`.
pub(crate) fn squared_error(target: &Tensor<2>, reconstruction: Tensor<2>) -> Tensor<1> {
    let rows = target.dims()[0] as f64;
    (target.clone() - reconstruction).square().sum() / rows
}
