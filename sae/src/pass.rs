//! One pass of a batch through an autoencoder in training: encode, select, decode, loss.
//!
//! On the CPU an architecture that selects its entries always takes the sparse path; the others take it once few enough
//! entries matter. On a GPU those that select take it when they select few enough, and the others never do: the number of
//! their entries would have to be read. All else, and the tests as a reference, takes the dense path through burn's autodiff.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use dictionaries::{Activation, Architecture, Parameters};
use kernels::{Precision, Scalar, from_vec, is_cpu, is_gpu, to_vec};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::architecture::jumprelu::pre_activation_loss;
use crate::architecture::{Loss, Phase, Training as _, auxiliary_loss};
use crate::batch::{Batch, Revival};
use crate::encoding::{Encoding, dense, few_for_gpu, sparse, sparse_on_gpu};
use crate::support::Support;

/// Entries of which fewer than this share matter are cheaper one by one than as a dense matrix; where the two cost the same
/// is measured by `saelab bench train --arch relu` (F = 6,144: 0.79 s a step at 6 %, rising by 1.4 ms a latent; dense 1.4 s).
pub(crate) const SPARSE_BELOW: f64 = 0.12;

/// Which way to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Path {
    Dense,
    Sparse,
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
        Path::Sparse => sparse(architecture, precision, tracked, batch, auxiliary)?,
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
    if let Some(revival) = auxiliary {
        let extra = auxiliary_loss(tracked, dead, &target, loss.residual.clone(), revival.weight);
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
    let decodes = match architecture {
        Architecture::Matryoshka { levels, .. } => levels,
        _ => 1,
    };
    let sparse = architecture.k().is_some_and(|k| match is_gpu(device) {
        true => few_for_gpu(k * decodes, n_latents, precision),
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

/// The sparse kernels of the CPU take any architecture. Their encoder has no product of f16.
fn has_sparse_path(precision: Precision, device: &Device) -> bool {
    precision != Precision::F16 && is_cpu(device)
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
