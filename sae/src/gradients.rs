//! Loss and gradients of a batch, in slices of its rows where the dense path would hold too much at once.
//!
//! Every term of a loss is a mean over rows or, for JumpReLU's target, a function of one; so the gradients of slices,
//! weighed by their share of the rows, add up to those of the batch. An architecture that selects among all entries of
//! a batch is not cut.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use dictionaries::{Architecture, Parameters};
use kernels::{Scalar, to_vec};

use crate::Error;
use crate::architecture::{Phase, jumprelu, powers};
use crate::batch::Batch;
use crate::pass::{self, Path, Plan};

/// Entries of the matrices `[B, F]` of one slice. Autodiff holds about ten such matrices of f32.
const ENTRIES_PER_SLICE: usize = 1 << 22;
/// The same on another device, which takes large products to be busy; no buffer of 64 MB is too large for any API.
const ENTRIES_PER_SLICE_ON_DEVICE: usize = 1 << 24;

/// What a step has learnt from a batch.
pub(crate) struct Gradients {
    /// Gradients of the loss.
    pub(crate) of: Parameters,
    /// All terms of the loss.
    pub(crate) loss: Scalar,
    /// Squared error, summed over dimensions, mean over rows.
    pub(crate) squared_error: Scalar,
    /// Rows in which each latent was active, `[F]`.
    pub(crate) active_rows: Tensor<1>,
    /// Active entries.
    pub(crate) n_active: Scalar,
    /// Entries that the loss depends on, where the path of the next step depends on them.
    pub(crate) n_entries: Option<usize>,
    /// Sums of the codes to the power of [`Phase::p`] and of [`Phase::next_p`].
    pub(crate) powers: Option<[f32; 2]>,
    pub(crate) encode_time: Duration,
    pub(crate) select_time: Duration,
    pub(crate) decode_time: Duration,
    pub(crate) backward_time: Duration,
}

/// Rows of a slice.
pub(crate) fn slice_rows(plan: Plan<'_>, rows: usize, n_latents: usize, on_cpu: bool) -> usize {
    if plan.path == Path::Sparse || plan.architecture.k().is_some() {
        return rows;
    }
    let most = match on_cpu {
        true => ENTRIES_PER_SLICE,
        false => ENTRIES_PER_SLICE_ON_DEVICE,
    };
    let slices = (rows * n_latents).div_ceil(most).max(1);
    rows.div_ceil(slices)
}

/// Loss and gradients of `batch`, in slices of at most `slice_rows`.
pub(crate) fn gradients(
    plan: Plan<'_>,
    parameters: &Parameters,
    batch: Batch<'_>,
    slice_rows: usize,
) -> Result<Gradients, Error> {
    let rows = batch.x.dims()[0];
    if slice_rows >= rows {
        return of_slice(plan, parameters, batch, 1.0);
    }
    let slices = || {
        (0..rows)
            .step_by(slice_rows)
            .map(|first| (first, slice_rows.min(rows - first)))
    };
    let part = |tensor: &Tensor<2>, (first, n): (usize, usize)| tensor.clone().narrow(0, first, n);
    let batch_l0 = matches!(plan.architecture, Architecture::Jumprelu { .. }).then(|| {
        let active = slices().map(|slice| jumprelu::n_active(parameters, plan.precision, part(batch.x, slice)));
        active.sum::<f64>() / rows as f64
    });
    let plan = Plan {
        phase: Phase { batch_l0, ..plan.phase },
        ..plan
    };
    let of = |slice: (usize, usize)| {
        let (x, target) = (part(batch.x, slice), batch.target.map(|target| part(target, slice)));
        let batch = Batch {
            x: &x,
            target: target.as_ref(),
        };
        of_slice(plan, parameters, batch, slice.1 as f64 / rows as f64)
    };
    let sum = slices().map(of).reduce(|sum, next| Ok(sum?.plus(next?)));
    sum.unwrap_or_else(|| of_slice(plan, parameters, batch, 1.0))
}

/// Loss and gradients of some rows, times their share of the batch.
fn of_slice(plan: Plan<'_>, parameters: &Parameters, batch: Batch<'_>, share: f64) -> Result<Gradients, Error> {
    let mut tracked = parameters.tracked();
    let pass = pass::forward(plan, &tracked, batch)?;
    let start = Instant::now();
    let loss = pass.loss.total * share;
    let sum = |p| to_vec(kernels::sum(powers(pass.loss.codes.clone().inner(), p)))[0];
    let total = Scalar::of(loss.clone().inner());
    let squared_error = Scalar::of(pass.loss.squared_error.clone().inner() * share);
    let powers = plan.phase.next_p.map(|next| [sum(plan.phase.p), sum(next)]);
    let decode_time = pass.decode_time + start.elapsed();

    let start = Instant::now();
    let mut grads = loss.backward();
    let of = tracked.gradients(&mut grads);
    Ok(Gradients {
        of,
        loss: total,
        squared_error,
        active_rows: pass.active_rows,
        n_active: pass.n_active,
        n_entries: pass.n_entries,
        powers,
        encode_time: pass.encode_time,
        select_time: pass.select_time,
        decode_time,
        backward_time: start.elapsed(),
    })
}

impl Gradients {
    fn plus(self, other: Self) -> Self {
        Self {
            of: self.of.plus(other.of),
            loss: self.loss + other.loss,
            squared_error: self.squared_error + other.squared_error,
            active_rows: self.active_rows + other.active_rows,
            n_active: self.n_active + other.n_active,
            n_entries: self.n_entries.zip(other.n_entries).map(|(a, b)| a + b),
            powers: self.powers.zip(other.powers).map(|([a, b], [c, d])| [a + c, b + d]),
            encode_time: self.encode_time + other.encode_time,
            select_time: self.select_time + other.select_time,
            decode_time: self.decode_time + other.decode_time,
            backward_time: self.backward_time + other.backward_time,
        }
    }
}
