//! One pass of a batch through an autoencoder in training: encode, select, decode, loss.
//!
//! On the CPU an architecture that selects its entries always takes the sparse path; the others take it once few enough
//! entries matter. On a GPU those that select take it when they select few enough, and the others never do: the number of
//! their entries would have to be read. All else, and the tests as a reference, takes the dense path through burn's autodiff.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, activation::relu};
use kernels::{
    Auxiliary, Encoded, Entries, Precision, Rule, Scalar, encode, from_vec, is_cpu, is_gpu, sparse_encode, to_vec,
    top_k_mask,
};
use serde::{Deserialize, Serialize};

use crate::architecture::jumprelu::pre_activation_loss;
use crate::architecture::{Architecture, Loss, Phase, auxiliary_loss};
use crate::parameters::Parameters;
use crate::silence::Dead;
use crate::support::Support;
use crate::{Activation, Error};

/// Entries of which fewer than this share matter are cheaper one by one than as a dense matrix; where the two cost the same
/// is measured by `saelab bench train --arch relu` (F = 6,144: 0.79 s a step at 6 %, rising by 1.4 ms a latent; dense 1.4 s).
pub(crate) const SPARSE_BELOW: f64 = 0.12;

/// On a GPU, latents of which one is active in a row at most. There a dense step reads nothing twice and works at the rate of
/// its matrix units, a sparse one at that of its memory: 8 D F operations a row against 16 D k bytes, so with the rates of an
/// H200 (about 2e14 a second in f32, 3e12 bytes a second) they cost the same at k = F / 133. Not measured.
const LATENTS_PER_ACTIVE_ON_GPU: usize = 128;

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
    /// Dead latents.
    pub(crate) dead: &'a Dead,
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
    /// Rows in which each latent was active, `[F]`.
    pub(crate) active_rows: Tensor<1>,
    /// Active entries.
    pub(crate) n_active: Scalar,
    /// Entries that the loss depends on, where the path of the next step depends on them.
    pub(crate) n_entries: Option<usize>,
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
    let auxiliary = revival.filter(|revival| architecture.k().is_some() && revival.weight > 0.0);
    let Encoding {
        support,
        h,
        auxiliary: dead,
        encode_time,
        select_time,
    } = match path {
        Path::Sparse if is_gpu(&batch.x.device()) => sparse_on_gpu(architecture, precision, tracked, batch, auxiliary),
        Path::Sparse => sparse(architecture, tracked, batch, auxiliary)?,
        Path::Dense => dense(architecture, precision, tracked, batch, auxiliary),
    };
    let start = Instant::now();
    // On the dense path: what the sparse one would have to work on.
    let above_bounds = match (&support, architecture.activation()) {
        (Support::Dense(_), Activation::Jumprelu | Activation::Gated)
            if architecture.k().is_none() && is_cpu(&batch.x.device()) =>
        {
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
        // Where it is not known whether there are any.
        loss.total = loss.total + extra * revival.dead.any().autodiff();
    }
    if let (Architecture::JumpreluTanh { .. }, Some(revival)) = (architecture, revival) {
        let (centred, _) = batch.centred(architecture, tracked);
        let dead = revival.dead.list();
        if !dead.is_empty() {
            loss.total = loss.total + pre_activation_loss(tracked, &centred.autodiff(), &dead);
        }
    }
    let (active_rows, n_active) = active(&support, loss.codes.clone().inner(), tracked.n_latents());
    let n_entries = match &support {
        Support::Dense(_) => above_bounds.or(n_active.known().map(|n| n as usize)),
        Support::Sparse(entries) => Some(entries.len()),
    };
    Ok(Pass {
        loss,
        active_rows,
        n_active,
        n_entries,
        encode_time,
        select_time,
        decode_time: start.elapsed(),
    })
}

/// The path that a first step takes.
pub(crate) fn first_path(architecture: Architecture, precision: Precision, n_latents: usize, device: &Device) -> Path {
    let sparse = architecture.k().is_some_and(|k| match is_gpu(device) {
        true => k * LATENTS_PER_ACTIVE_ON_GPU <= n_latents,
        false => has_sparse_path(precision, device),
    });
    if sparse { Path::Sparse } else { Path::Dense }
}

/// The path for a step after one in which `density` of all entries mattered, if that is known.
pub(crate) fn next_path(
    architecture: Architecture,
    precision: Precision,
    n_latents: usize,
    device: &Device,
    density: Option<f64>,
) -> Path {
    if density.is_some_and(|density| density < SPARSE_BELOW) && has_sparse_path(precision, device) {
        Path::Sparse
    } else {
        first_path(architecture, precision, n_latents, device)
    }
}

/// The sparse kernels of the CPU take any architecture, in f32.
fn has_sparse_path(precision: Precision, device: &Device) -> bool {
    precision == Precision::F32 && is_cpu(device)
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
    let dead = revival.map(|revival| (revival.dead.list(), revival.k));
    let auxiliary = dead.as_ref().map(|(latents, k)| Auxiliary { latents, k: *k });
    let (w_enc, b_enc) = (tracked.w_enc.clone().inner(), tracked.b_enc.clone().inner());
    let found =
        encode(&centred, &w_enc, &b_enc, rule, None, auxiliary).map_err(|at| Error::NotFinite { row: at.row })?;
    if found.active.set.is_empty() {
        // burn has no tensors without elements. A batch without an active entry is rare and cheap to do densely.
        return Ok(dense(architecture, Precision::F32, tracked, batch, revival));
    }
    let follow = |Encoded { set, values }| {
        let values = from_vec(values, [set.len()], &centred.device()); // [N]
        follow(set.into(), values, tracked, &centred, subtracts)
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

/// Pre-activations of `entries`, `[N]`, that gradients go back from.
fn follow(
    entries: Entries,
    values: Tensor<1>,
    tracked: &Parameters,
    centred: &Tensor<2>,
    subtracts_b_dec: bool,
) -> (Support, Tensor<2>) {
    let b_dec = if subtracts_b_dec {
        tracked.b_dec.clone()
    } else {
        Tensor::zeros([centred.dims()[1]], &centred.device()).autodiff()
    };
    let (w_enc, b_enc) = (tracked.w_enc.clone(), tracked.b_enc.clone());
    let h = sparse_encode(
        values.autodiff(),
        centred.clone().autodiff(),
        w_enc,
        b_enc,
        b_dec,
        &entries,
    ); // [N]
    (Support::Sparse(entries), h.unsqueeze()) // [1, N]
}

/// As `sparse`, for architectures that select: the pre-activations are a dense product that nothing is differentiated
/// through, and all else is done at the entries of a mask, whose number is known beforehand.
fn sparse_on_gpu(
    architecture: Architecture,
    precision: Precision,
    tracked: &Parameters,
    batch: Batch<'_>,
    revival: Option<Revival<'_>>,
) -> Encoding {
    let start = Instant::now();
    let (centred, subtracts) = batch.centred(architecture, tracked);
    let ([rows, _], n_latents) = (centred.dims(), tracked.n_latents());
    let (w_enc, b_enc) = (tracked.w_enc.clone().inner(), tracked.b_enc.clone().inner());
    let h = precision.matmul(centred.clone(), w_enc.transpose()) + b_enc.unsqueeze(); // [B, F]
    let encode_time = start.elapsed();
    let start = Instant::now();
    let at = |mask: Tensor<2>, n: usize, of: &Tensor<2>| {
        let entries = Entries::of_mask(&mask, n);
        let values = entries.pick(of);
        follow(entries, values, tracked, &centred, subtracts)
    };
    let k = architecture.k().unwrap_or(n_latents).min(n_latents);
    let mask = match architecture {
        Architecture::Topk { .. } => top_k_mask(&h, k),
        _ => top_k_mask(&h.clone().reshape([1, rows * n_latents]), k * rows).reshape([rows, n_latents]),
    };
    let (support, active) = at(mask, k * rows, &h);
    let auxiliary = revival.map(|revival| {
        // What lives is far below zero here, so that it gives nothing where there are fewer dead latents than are asked for.
        let living = revival.dead.mask.clone().equal_elem(0.0).unsqueeze::<2>(); // [1, F]
        let h = h.clone().mask_fill(living.expand([rows, n_latents]), f32::MIN / 2.0);
        let k = revival.k.min(n_latents);
        at(top_k_mask(&h, k), k * rows, &h)
    });
    Encoding {
        support,
        h: active,
        auxiliary,
        encode_time,
        select_time: start.elapsed(),
    }
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
        let mask = revival.dead.mask.clone().unsqueeze::<2>(); // [1, F]
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

/// In how many rows each latent is active, `[F]`, and the number of active entries.
fn active(support: &Support, codes: Tensor<2>, n_latents: usize) -> (Tensor<1>, Scalar) {
    let marks = codes.greater_scalar(0.0).float(); // [B, F] or [1, N]
    let rows = match support {
        Support::Dense(_) => marks.sum_dim(0).reshape([n_latents]), // [F]
        Support::Sparse(entries) => entries.sum_by_latent(marks.reshape([entries.len()])), // [F]
    };
    let n = Scalar::of(rows.clone().sum());
    (rows, n)
}
