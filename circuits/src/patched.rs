//! The run of a circuit: every destination reads what its kept edges carry in this run, and of all other sources what they added in
//! the corrupted run.
//!
//! The residual stream `x` of the run is the sum of what the sources add in it, `x'` that of the corrupted run, so a destination reads
//!
//! ```text
//! x  + sum over edges that are not kept of (corrupted - current)     or, the same,
//! x' - sum over edges that are kept     of (corrupted - current)
//! ```
//!
//! Whichever has fewer terms is taken: with all edges the clean run is left as it is, and without edges the corrupted one is read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Device, Tensor};
use lm::{HookPoint, NormAt, Patch, Request, Spec};

use crate::graph::{Graph, Group};
use crate::runs::{Batch, Run};
use crate::{Circuit, Error, sources};

/// Sources whose differences lie in one tensor, at most, where they are put together. With one tensor of all, every group would copy what all
/// before it added; with one of each layer, sums would have many terms.
const TOGETHER: usize = 32;

/// Of every source so far, what it added in the corrupted run minus what it adds in this one.
#[derive(Debug, Default)]
struct Passed {
    /// Sources in their order, `[B, n, T D]` each; the last ones may still be put together.
    parts: Vec<Tensor<3>>,
    sources: usize,
    /// What the heads of a layer computed, until its norm is known, `[B, T, H, D]`.
    unnormed: Option<Tensor<4>>,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Passed>>);

impl Shared {
    /// A pass calls one function after the other, so nothing is ever half done.
    fn open(&self) -> MutexGuard<'_, Passed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passed {
    /// Keeps `current` `[B, n, T D]`, the outputs of the next `n` sources.
    fn record(&mut self, current: Tensor<3>, corrupted: &Tensor<3>) {
        let n = current.dims()[1];
        let difference = corrupted.clone().narrow(1, self.sources, n) - current;
        self.sources += n;
        match self.parts.pop() {
            Some(last) if last.dims()[1] + n <= TOGETHER => self.parts.push(Tensor::cat(vec![last, difference], 1)),
            last => self.parts.extend(last.into_iter().chain([difference])),
        }
    }

    /// The sums of the differences of the first sources by `terms`, `[B, G, T D]`; none where all terms are 0.
    fn sum(&self, terms: &Terms) -> Option<Tensor<3>> {
        let mut first = 0;
        let mut sum: Option<Tensor<3>> = None;
        for part in &self.parts {
            let [b, n, _] = part.dims();
            if let Some(matrix) = terms.of_sources(first, n, &part.device()) {
                let g = matrix.dims()[1];
                let of_part = matrix.expand([b, g, n]).matmul(part.clone()); // [B, G, T D]
                sum = Some(match sum {
                    Some(sum) => sum + of_part,
                    None => of_part,
                });
            }
            first += n;
        }
        sum
    }
}

/// With which factor each difference is added to what each destination of a group reads.
#[derive(Debug)]
struct Terms {
    /// Of each destination the first sources, `[G, S]`.
    factors: Vec<f32>,
    seen: usize,
}

impl Terms {
    /// Those of the sources from `first` on, `[1, G, n]`, 0 where a destination does not see them; none where all are 0.
    fn of_sources(&self, first: usize, n: usize, device: &Device) -> Option<Tensor<3>> {
        let factor = |row: &[f32], source: usize| row.get(source).copied().unwrap_or(0.0);
        let rows = self.factors.chunks(self.seen);
        let g = rows.len();
        let matrix: Vec<f32> = rows
            .flat_map(|row| (first..first + n).map(move |source| factor(row, source)))
            .collect();
        let is_needed = matrix.iter().any(|&factor| factor != 0.0);
        is_needed.then(|| kernels::from_vec(matrix, [1, g, n], device))
    }
}

/// The hooks of the corrupted run that circuits read.
pub(crate) fn streams(spec: &Spec) -> Vec<HookPoint> {
    let groups = Graph::new(spec).groups().into_iter();
    let mut hooks: Vec<HookPoint> = groups.map(|group| sources::stream_hook(group, spec)).collect();
    hooks.sort_unstable();
    hooks.dedup();
    hooks
}

/// Logits behind the last position of each pair's circuit run, `[B, V]`.
pub(crate) fn logits(batch: &Batch<'_>, circuit: &Circuit, corrupted: &Run) -> Result<Tensor<2>, Error> {
    let shared = Shared(Arc::default());
    let inputs: Vec<Patch> = circuit
        .graph()
        .groups()
        .into_iter()
        .filter_map(|group| input(batch, circuit, group, &corrupted.streams, &shared))
        .collect();
    let mut request = Request::default();
    if !inputs.is_empty() {
        request.patches = recorders(batch, &corrupted.stack, &shared);
        request.patches.extend(inputs);
    }
    Ok(batch.plain(false, request)?.logits_at()?)
}

/// Patches that change nothing and keep what each source adds.
fn recorders(batch: &Batch<'_>, corrupted: &Tensor<3>, shared: &Shared) -> Vec<Patch> {
    let spec = batch.model.spec();
    let (h, d) = (spec.n_head, spec.d_model);
    let one = |hook| {
        let (shared, corrupted) = (shared.clone(), corrupted.clone());
        Patch::map(hook, move |x| {
            shared.open().record(sources::one(x.clone()), &corrupted);
            x
        })
    };
    let mut patches = vec![one(HookPoint::Embed)];
    for l in 0..spec.n_layer {
        let factors = batch.model.norm_factors(NormAt::Ln1Post(l));
        let is_normed = factors.is_some();
        let (of_heads, stack) = (shared.clone(), corrupted.clone());
        patches.push(Patch::map(HookPoint::AttnResult(l), move |x| {
            let [b, t, _] = x.dims();
            let result = x.clone().reshape([b, t, h, d]); // [B, T, H, D]
            match is_normed {
                true => of_heads.open().unnormed = Some(result),
                false => of_heads.open().record(sources::heads(result), &stack),
            }
            x
        }));
        if let Some(factors) = factors {
            let (of_norm, stack) = (shared.clone(), corrupted.clone());
            patches.push(Patch::map(HookPoint::NormScale(NormAt::Ln1Post(l)), move |scale| {
                let mut passed = of_norm.open();
                if let Some(result) = passed.unnormed.take() {
                    let shares = sources::shares(result, factors.clone(), scale.clone()); // [B, T, H, D]
                    passed.record(sources::heads(shares), &stack);
                }
                scale
            }));
        }
        patches.push(one(HookPoint::MlpOut(l)));
    }
    patches
}

/// What a group of destinations reads, where that is not the residual stream of the run.
fn input(
    batch: &Batch<'_>,
    circuit: &Circuit,
    group: Group,
    corrupted: &BTreeMap<HookPoint, Tensor<3>>,
    shared: &Shared,
) -> Option<Patch> {
    let (graph, spec) = (circuit.graph(), batch.model.spec());
    let (destinations, seen) = (graph.group(group), graph.sources_of_group(group));
    // Nobody hears of what is read for sources whose every edge is corrupted; only a norm of all heads does.
    let is_heard = |destination: usize| {
        spec.post_norms
            || graph.readers(destination).is_empty()
            || graph.readers(destination).any(|reader| circuit.is_read(reader))
    };
    let g = destinations.len();
    let (mut terms, mut of_clean) = (vec![0.0_f32; g * seen], vec![1.0_f32; g]);
    let mut changes = false;
    for (place, destination) in destinations.enumerate() {
        let kept: Vec<bool> = graph.edges_into(destination).map(|edge| circuit.keeps(edge)).collect();
        let n = kept.iter().filter(|&&kept| kept).count();
        if n == seen || !is_heard(destination) {
            continue;
        }
        changes = true;
        let from_corrupted = 2 * n < seen;
        if from_corrupted {
            of_clean[place] = 0.0;
        }
        for (source, kept) in kept.into_iter().enumerate() {
            terms[place * seen + source] = match (from_corrupted, kept) {
                (true, true) => -1.0,
                (false, false) => 1.0,
                _ => 0.0,
            };
        }
    }
    if !changes {
        return None;
    }
    let (t, d, b) = (batch.clean.len(), spec.d_model, batch.rows());
    let device = batch.model.device();
    let stream = corrupted[&sources::stream_hook(group, spec)]
        .clone()
        .reshape([b, t, 1, d]); // [B, T, 1, D]
    let terms = Terms { factors: terms, seen };
    let is_clean = |share: f32| of_clean.iter().all(|&of_clean| of_clean == share);
    let base = match (is_clean(0.0), is_clean(1.0)) {
        (true, _) => Base::Corrupted,
        (_, true) => Base::Clean,
        _ => Base::Both(kernels::from_vec(of_clean, [1, 1, g, 1], device)),
    };
    let shared = shared.clone();
    Some(Patch::map(sources::input_hook(group, spec), move |x| {
        let dims = x.dims();
        let current = x.reshape([b, t, g, d]); // [B, T, G, D]
        let corrupted = stream.clone().expand([b, t, g, d]); // [B, T, G, D]
        let base = match &base {
            Base::Corrupted => corrupted,
            Base::Clean => current,
            Base::Both(of_clean) => current * of_clean.clone() + corrupted * (of_clean.clone().neg() + 1.0), // [B, T, G, D]
        };
        let read = match shared.open().sum(&terms) {
            Some(change) => base + change.reshape([b, g, t, d]).swap_dims(1, 2), // [B, T, G, D]
            None => base,
        };
        read.reshape(dims) // [B, T, G D]
    }))
}

/// What the destinations of a group start from.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "one value a group of destinations, never many at once"
)]
enum Base {
    /// The residual stream of the corrupted run.
    Corrupted,
    /// That of this run.
    Clean,
    /// That of this run where this is 1, of the corrupted one where it is 0, `[1, 1, G, 1]`.
    Both(Tensor<4>),
}
