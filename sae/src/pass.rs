//! One pass of a batch through an autoencoder in training: encode, select, decode, loss.
//!
//! On the CPU an architecture that selects its entries always takes the sparse path; the others take it once few enough
//! entries matter. Other devices and precisions, and the tests as a reference, take the dense path through burn's autodiff.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Tensor, TensorData, activation::relu};
use kernels::{Auxiliary, Encoded, Precision, Rule, encode, from_vec, is_cpu, sparse_encode, to_vec};
use serde::{Deserialize, Serialize};

use crate::architecture::jumprelu::pre_activation_loss;
use crate::architecture::{Architecture, Loss, Phase, auxiliary_loss};
use crate::parameters::Parameters;
use crate::support::Support;
use crate::{Activation, Error};

/// Entries of which fewer than this share matter are cheaper one by one than as a dense matrix; where the two cost the same
/// is measured by `saelab bench train --arch relu` (F = 6,144: 0.79 s a step at 6 %, rising by 1.4 ms a latent; dense 1.4 s).
pub(crate) const SPARSE_BELOW: f64 = 0.12;

/// Which way to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Path {
    Dense,
    Sparse,
}

/// What one step learns from.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Inputs, `[B, D]` (plain).
    pub x: &'a Tensor<2>,
    /// What to reconstruct when it is not the inputs, `[B, D_out]` (plain): this makes a transcoder.
    pub target: Option<&'a Tensor<2>>,
}

impl Batch<'_> {
    /// What to reconstruct, `[B, D]`.
    pub(crate) fn target(&self) -> &Tensor<2> {
        self.target.unwrap_or(self.x)
    }

    /// Whether the decoder's bias is subtracted from the inputs; a transcoder's lives in another space.
    fn subtracts_b_dec(&self, architecture: Architecture) -> bool {
        self.target.is_none() && architecture.subtracts_b_dec()
    }

    /// What stands before the encoder's product, `[B, D]`, and whether the decoder's bias was subtracted for it.
    fn centred(&self, architecture: Architecture, parameters: &Parameters) -> (Tensor<2>, bool) {
        if self.subtracts_b_dec(architecture) {
            let b_dec = parameters.b_dec.clone().inner();
            (self.x.clone() - b_dec.unsqueeze(), true)
        } else {
            (self.x.clone(), false)
        }
    }
}

/// The dead latents and how they are revived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revival<'a> {
    /// Dead latents, ascending.
    pub(crate) dead: &'a [u32],
    /// AuxK: how many of them may help with each row.
    pub(crate) k: usize,
    /// AuxK: weight of their loss.
    pub(crate) weight: f64,
}

/// What a pass is made with, besides parameters and rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) architecture: Architecture,
    pub(crate) path: Path,
    /// Of the dense products.
    pub(crate) precision: Precision,
    pub(crate) phase: Phase,
    pub(crate) revival: Option<Revival<'a>>,
}

/// A pass, ready to be differentiated.
pub(crate) struct Pass {
    pub(crate) loss: Loss,
    /// Whether each latent was active in some row.
    pub(crate) fired: Vec<bool>,
    /// Active entries.
    pub(crate) n_active: usize,
    /// Entries that the loss depends on.
    pub(crate) n_entries: usize,
    pub(crate) encode_time: Duration,
    pub(crate) select_time: Duration,
    pub(crate) decode_time: Duration,
}

/// Pre-activations of the entries that matter, and of dead latents that try to help.
struct Encoding {
    support: Support,
    h: Tensor<2>,
    auxiliary: Option<(Support, Tensor<2>)>,
    encode_time: Duration,
    select_time: Duration,
}

/// Runs a batch through `tracked` parameters.
pub(crate) fn forward(plan: Plan<'_>, tracked: &Parameters, batch: Batch<'_>) -> Result<Pass, Error> {
    let Plan {
        architecture,
        path,
        precision,
        phase,
        revival,
    } = plan;
    let target = batch.target().clone().autodiff(); // [B, D], a constant
    let revival = revival.filter(|revival| !revival.dead.is_empty());
    let auxiliary = revival.filter(|revival| architecture.k().is_some() && revival.weight > 0.0);
    let Encoding {
        support,
        h,
        auxiliary: dead,
        encode_time,
        select_time,
    } = match path {
        Path::Sparse => sparse(architecture, tracked, batch, auxiliary)?,
        Path::Dense => dense(architecture, precision, tracked, batch, auxiliary),
    };
    let start = Instant::now();
    // On the dense path: what the sparse one would have to work on.
    let above_bounds = match (&support, architecture.activation()) {
        (Support::Dense(_), Activation::Jumprelu | Activation::Gated) if architecture.k().is_none() => {
            let bounds = architecture.bounds(tracked);
            let bounds = from_vec::<2>(bounds, [1, tracked.n_latents()], &batch.x.device());
            let above = h.clone().inner().greater(bounds).float().sum_dim(0);
            Some(to_vec(above).iter().map(|n| f64::from(*n)).sum::<f64>() as usize)
        }
        _ => None,
    };
    let mut loss = architecture.loss(tracked, &support, h, &target, phase);
    if let (Some((support, h)), Some(revival)) = (dead, auxiliary) {
        let reconstruction = loss.reconstruction.clone();
        let extra = auxiliary_loss(tracked, &support, h, &target, reconstruction, revival.weight);
        loss.total = loss.total + extra;
    }
    if let (Architecture::JumpreluTanh { .. }, Some(revival)) = (architecture, revival) {
        let (centred, _) = batch.centred(architecture, tracked);
        loss.total = loss.total + pre_activation_loss(tracked, &centred.autodiff(), revival.dead);
    }
    let (fired, n_active) = fired(&support, loss.codes.clone().inner(), tracked.n_latents());
    let n_entries = match &support {
        Support::Dense(_) => above_bounds.unwrap_or(n_active),
        Support::Sparse(set) => set.len(),
    };
    Ok(Pass {
        loss,
        fired,
        n_active,
        n_entries,
        encode_time,
        select_time,
        decode_time: start.elapsed(),
    })
}

/// The path that a first step takes.
pub(crate) fn first_path(architecture: Architecture, precision: Precision, x: &Tensor<2>) -> Path {
    if architecture.k().is_some() && has_sparse_path(precision, x) {
        Path::Sparse
    } else {
        Path::Dense
    }
}

/// The path for a step after one in which `density` of all entries mattered.
pub(crate) fn next_path(architecture: Architecture, precision: Precision, x: &Tensor<2>, density: f64) -> Path {
    if density < SPARSE_BELOW && has_sparse_path(precision, x) {
        Path::Sparse
    } else {
        first_path(architecture, precision, x)
    }
}

/// The sparse kernels work in host memory, and on f32.
fn has_sparse_path(precision: Precision, x: &Tensor<2>) -> bool {
    precision == Precision::F32 && is_cpu(&x.device())
}

fn sparse(
    architecture: Architecture,
    tracked: &Parameters,
    batch: Batch<'_>,
    revival: Option<Revival<'_>>,
) -> Result<Encoding, Error> {
    let (centred, subtracts) = batch.centred(architecture, tracked);
    let bounds;
    let rule = match architecture {
        Architecture::Topk { k } => Rule::PerRow(k),
        Architecture::BatchTopk { k } | Architecture::Matryoshka { k, .. } => Rule::PerBatch(k * centred.dims()[0]),
        _ => {
            bounds = architecture.bounds(tracked);
            Rule::Above(&bounds)
        }
    };
    let auxiliary = revival.map(|revival| Auxiliary {
        latents: revival.dead,
        k: revival.k,
    });
    let (w_enc, b_enc) = (tracked.w_enc.clone().inner(), tracked.b_enc.clone().inner());
    let found =
        encode(&centred, &w_enc, &b_enc, rule, None, auxiliary).map_err(|at| Error::NotFinite { row: at.row })?;
    if found.active.set.is_empty() {
        // burn has no tensors without elements. A batch without an active entry is rare and cheap to do densely.
        return Ok(dense(architecture, Precision::F32, tracked, batch, revival));
    }
    let follow = |Encoded { set, values }| {
        let set = Arc::new(set);
        let b_dec = if subtracts {
            tracked.b_dec.clone()
        } else {
            Tensor::zeros([centred.dims()[1]], &centred.device()).autodiff()
        };
        let centred = centred.clone().autodiff();
        let h = sparse_encode(
            values,
            centred,
            tracked.w_enc.clone(),
            tracked.b_enc.clone(),
            b_dec,
            &set,
        ); // [N]
        (Support::Sparse(set), h.unsqueeze()) // [1, N]
    };
    let (support, h) = follow(found.active);
    Ok(Encoding {
        support,
        h,
        auxiliary: found.auxiliary.filter(|found| !found.set.is_empty()).map(follow),
        encode_time: found.encode_time,
        select_time: found.select_time,
    })
}

fn dense(
    architecture: Architecture,
    precision: Precision,
    tracked: &Parameters,
    batch: Batch<'_>,
    revival: Option<Revival<'_>>,
) -> Encoding {
    let (centred, subtracts) = batch.centred(architecture, tracked);
    let [rows, d] = centred.dims();
    let n_latents = tracked.n_latents();
    let device = centred.device();
    let start = Instant::now();
    let mut bias = tracked.b_enc.clone();
    if subtracts {
        // Value 0, and the gradient that reaches b_dec through the encoder: without it, a product as large as the
        // encoder's would be spent on the gradient of the input.
        let zero = tracked.b_dec.clone() - tracked.b_dec.clone().detach();
        bias = bias - tracked.w_enc.clone().matmul(zero.reshape([d, 1])).reshape([n_latents]); // [F]
    }
    let h = precision.matmul(centred.autodiff(), tracked.w_enc.clone().transpose()) + bias.unsqueeze(); // [B, F]
    let encode_time = start.elapsed();
    let start = Instant::now();
    let auxiliary = revival.map(|revival| {
        let mut mask = vec![0.0_f32; n_latents];
        revival.dead.iter().for_each(|&latent| mask[latent as usize] = 1.0);
        let mask = Tensor::<2>::from_data(TensorData::new(mask, [1, n_latents]), &device);
        (
            Support::Dense(precision),
            kernels::top_k(relu(h.clone()) * mask.autodiff(), revival.k),
        )
    });
    let h = match architecture {
        Architecture::Topk { k } => kernels::top_k(h, k),
        Architecture::BatchTopk { k } | Architecture::Matryoshka { k, .. } => {
            kernels::top_k(h.reshape([1, rows * n_latents]), k * rows).reshape([rows, n_latents])
        }
        _ => h,
    };
    Encoding {
        support: Support::Dense(precision),
        h,
        auxiliary,
        encode_time,
        select_time: start.elapsed(),
    }
}

/// Which latents are active in some row, and the number of active entries.
fn fired(support: &Support, codes: Tensor<2>, n_latents: usize) -> (Vec<bool>, usize) {
    match support {
        Support::Dense(_) => {
            let counts = to_vec(codes.greater_scalar(0.0).float().sum_dim(0)); // [1, F]
            let n = counts.iter().map(|&count| f64::from(count)).sum::<f64>() as usize;
            (counts.into_iter().map(|count| count > 0.0).collect(), n)
        }
        Support::Sparse(set) => {
            let mut fired = vec![false; n_latents];
            let mut n = 0;
            for (&latent, code) in set.latents().iter().zip(to_vec(codes)) {
                if code > 0.0 {
                    fired[latent as usize] = true;
                    n += 1;
                }
            }
            (fired, n)
        }
    }
}
