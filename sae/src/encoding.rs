//! The first part of a pass: pre-activations of the entries that the loss will see, on one of three ways.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use std::time::{Duration, Instant};

use burn::tensor::{Tensor, activation::relu};
use dictionaries::{Architecture, Parameters};
use kernels::{Auxiliary, Encoded, Entries, Precision, Rule, encode, from_vec, sparse_encode, top_k_mask};

use crate::Error;
use crate::architecture::Training as _;
use crate::batch::{Batch, Revival};
use crate::support::Support;

/// Pre-activations of the entries that matter, and of dead latents that try to help.
pub(crate) struct Encoding {
    pub(crate) support: Support,
    pub(crate) h: Tensor<2>,
    pub(crate) auxiliary: Option<(Support, Tensor<2>)>,
    pub(crate) encode_time: Duration,
    pub(crate) select_time: Duration,
}

/// On the CPU: the product and the selection block by block, so that there is no `[B, F]` matrix.
///
/// # Errors
///
/// Pre-activations that are not finite.
pub(crate) fn sparse(
    architecture: Architecture,
    precision: Precision,
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
    let found = encode(&centred, &w_enc, &b_enc, rule, None, auxiliary, precision)
        .map_err(|at| Error::NotFinite { row: at.row })?;
    if found.active.set.is_empty() {
        // burn has no tensors without elements. A batch without an active entry is rare and cheap to do densely.
        return Ok(dense(architecture, precision, tracked, batch, revival));
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
pub(crate) fn sparse_on_gpu(
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
        let k = revival.k.min(revival.dead.at_most).min(n_latents);
        if !few_for_gpu(k, n_latents, precision) {
            let h = pre_activations(precision, tracked, &centred, subtracts);
            return auxiliary(precision, &h, revival);
        }
        // What lives is far below zero here, so that it gives nothing where there are fewer dead latents than are asked for.
        let living = revival.dead.mask.clone().equal_elem(0.0).unsqueeze::<2>(); // [1, F]
        let h = h.clone().mask_fill(living.expand([rows, n_latents]), f32::MIN / 2.0);
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

/// All pre-activations, through burn's autodiff; the way of every device and precision, and the reference.
pub(crate) fn dense(
    architecture: Architecture,
    precision: Precision,
    tracked: &Parameters,
    batch: Batch<'_>,
    revival: Option<Revival<'_>>,
) -> Encoding {
    let (centred, subtracts) = batch.centred(architecture, tracked);
    let (rows, n_latents) = (centred.dims()[0], tracked.n_latents());
    let start = Instant::now();
    let h = pre_activations(precision, tracked, &centred, subtracts);
    let encode_time = start.elapsed();
    let start = Instant::now();
    let auxiliary = revival.map(|revival| auxiliary(precision, &h, revival));
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

/// Pre-activations, differentiable: `[B, F]`.
fn pre_activations(
    precision: Precision,
    tracked: &Parameters,
    centred: &Tensor<2>,
    subtracts_b_dec: bool,
) -> Tensor<2> {
    let (d, n_latents) = (centred.dims()[1], tracked.n_latents());
    let mut bias = tracked.b_enc.clone();
    if subtracts_b_dec {
        // Value 0, and the gradient that reaches b_dec through the encoder: without it, a product as large as the
        // encoder's would be spent on the gradient of the input.
        let zero = tracked.b_dec.clone() - tracked.b_dec.clone().detach();
        bias = bias - tracked.w_enc.clone().matmul(zero.reshape([d, 1])).reshape([n_latents]); // [F]
    }
    let w_enc = tracked.w_enc.clone().transpose();
    precision.matmul(centred.clone().autodiff(), w_enc) + bias.unsqueeze() // [B, F]
}

/// The largest positive pre-activations of the dead latents, of all `[B, F]`.
fn auxiliary(precision: Precision, h: &Tensor<2>, revival: Revival<'_>) -> (Support, Tensor<2>) {
    let dead = revival.dead.mask.clone().unsqueeze::<2>().autodiff(); // [1, F]
    let kept = kernels::top_k(relu(h.clone()) * dead, revival.k);
    (Support::Dense(precision), kept)
}

/// Whether a GPU works faster at so many entries of a row one by one than at all of them. There a dense step works at the rate
/// of the matrix units, a sparse one at that of the memory: it does 8 D F operations a row less and moves 16 D bytes an entry
/// more. With an H200's rates, about 2e14 operations (6e14 in 16 bits) and 3e12 bytes a second, the two cost the same when one
/// in 133 (400) latents is an entry. Reckoned, not measured.
pub(crate) fn few_for_gpu(entries: usize, n_latents: usize, precision: Precision) -> bool {
    let latents_per_entry = match precision {
        Precision::F32 => 128,
        Precision::Bf16 | Precision::F16 => 384,
    };
    entries * latents_per_entry <= n_latents
}
