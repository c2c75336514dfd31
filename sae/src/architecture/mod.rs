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
use dictionaries::{Architecture, Parameters};
pub(crate) use p_anneal::{Anneal, powers};
pub(crate) use topk::auxiliary_loss;

use crate::Error;
use crate::config::refuse;
use crate::support::Support;

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

/// What the training of an [`Architecture`] needs to know of it.
pub(crate) trait Training {
    /// Refuses what an autoencoder of `n_latents` cannot be.
    ///
    /// # Errors
    ///
    /// More active latents than there are; levels without latents.
    fn check_latents(&self, n_latents: usize) -> Result<(), Error>;

    /// Initial values of [`Parameters::extra`].
    fn initial_extra(&self) -> &'static [f32];

    /// The loss on pre-activations of the selected entries.
    fn loss(&self, parameters: &Parameters, support: &Support, h: Tensor<2>, target: &Tensor<2>, phase: Phase) -> Loss;

    /// What a pre-activation must exceed for its entry to matter to the loss, `[F]`; only for architectures without a
    /// selection.
    fn bounds(&self, parameters: &Parameters) -> Vec<f32>;
}

impl Training for Architecture {
    fn check_latents(&self, n_latents: usize) -> Result<(), Error> {
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

    fn initial_extra(&self) -> &'static [f32] {
        match self {
            Self::Gated { .. } => &[0.0, 0.0],
            _ if self.bandwidth().is_some() => &[jumprelu::INITIAL_THRESHOLD],
            _ => &[],
        }
    }

    fn loss(&self, parameters: &Parameters, support: &Support, h: Tensor<2>, target: &Tensor<2>, phase: Phase) -> Loss {
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

    fn bounds(&self, parameters: &Parameters) -> Vec<f32> {
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
