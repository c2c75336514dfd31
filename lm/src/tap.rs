//! The hand that reads, changes and watches hooks while the forward pass goes by.

use std::collections::BTreeSet;

use burn::tensor::{Bool, Tensor, TensorData};

use crate::run::{Captured, Change, Patch, Vectors, indices, wrong};
use crate::{Error, HookPoint, NormAt, Request, Spec, Trace};

/// The requests of one pass, checked, and what was captured so far.
pub(crate) struct Tap<'a> {
    wanted: BTreeSet<HookPoint>,
    watched: BTreeSet<HookPoint>,
    patches: &'a [Patch],
    pub(crate) trace: Trace,
}

/// The rows, and the positions of each, that a pass runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Rows, `B`.
    pub(crate) rows: usize,
    /// Positions that run, `T`.
    pub(crate) len: usize,
    /// Positions before them.
    pub(crate) earlier: usize,
}

impl<'a> Tap<'a> {
    /// Checks `request` against the model and a batch of `extent` that starts before block `first`.
    pub(crate) fn new(request: &'a Request, spec: &Spec, first: Option<usize>, extent: Extent) -> Result<Self, Error> {
        let patched = request.patches.iter().map(|patch| &patch.hook);
        for &hook in request.capture.iter().chain(patched).chain(&request.watch) {
            hook.check(spec)?;
            let is_last = matches!(
                hook,
                HookPoint::NormScale(NormAt::Final) | HookPoint::Normalized(NormAt::Final)
            );
            let passed = first.is_some_and(|first| hook.layer().map_or(!is_last, |layer| layer < first));
            if passed {
                return Err(wrong(hook, "lies before the block at which this pass starts"));
            }
        }
        for patch in &request.patches {
            check(patch, spec, extent)?;
        }
        let tap = Self {
            wanted: request.capture.iter().copied().collect(),
            watched: request.watch.iter().copied().collect(),
            patches: &request.patches,
            trace: Trace::default(),
        };
        (0..spec.n_layer).try_for_each(|l| tap.check_norm_of_heads(l))?;
        Ok(tap)
    }

    /// Where heads read residual streams of their own, each has its own norm before attention, and there is no common one.
    fn check_norm_of_heads(&self, l: usize) -> Result<(), Error> {
        let apart = [HookPoint::QInput(l), HookPoint::KInput(l), HookPoint::VInput(l)];
        let norm = NormAt::Ln1(l);
        let common = [HookPoint::NormScale(norm), HookPoint::Normalized(norm)];
        match common.into_iter().find(|hook| self.wants(*hook)) {
            Some(hook) if self.wants_any(&apart) => Err(wrong(
                hook,
                "is not one tensor where hook_q_input, hook_k_input or hook_v_input of its block is asked for too; take two passes",
            )),
            _ => Ok(()),
        }
    }

    /// Whether anything is read, changed or watched at `hook`.
    pub(crate) fn wants(&self, hook: HookPoint) -> bool {
        self.wanted.contains(&hook)
            || self.watched.contains(&hook)
            || self.patches.iter().any(|patch| patch.hook == hook)
    }

    /// Whether anything is read, changed or watched at one of `hooks`.
    pub(crate) fn wants_any(&self, hooks: &[HookPoint]) -> bool {
        hooks.iter().any(|hook| self.wants(*hook))
    }

    /// Passes a tensor `[B, T, width]` by.
    pub(crate) fn three(&mut self, hook: HookPoint, mut x: Tensor<3>) -> Tensor<3> {
        let dims = x.dims();
        for patch in self.patches.iter().filter(|patch| patch.hook == hook) {
            x = match &patch.change {
                Change::Map(map) => mapped(map(x), dims),
                Change::Set(vectors) => in_rows(x, |rows, [_, t, _]| set(rows, t, 1, 0, vectors)),
                Change::Add(vectors) => in_rows(x, |rows, [_, t, _]| add(rows, t, 1, 0, vectors)),
            };
        }
        if self.watched.contains(&hook) {
            let zeros = x.clone().inner().zeros_like().autodiff().require_grad();
            self.trace.watched.insert(hook, Captured::Three(zeros.clone()));
            x = x + zeros;
        }
        if self.wanted.contains(&hook) {
            self.trace.captured.insert(hook, Captured::Three(x.clone()));
        }
        x
    }

    /// Passes a tensor `[B, T, H, width]` by.
    pub(crate) fn four(&mut self, hook: HookPoint, x: Tensor<4>) -> Tensor<4> {
        let x = self.change_heads(hook, x);
        self.keep_four(hook, x)
    }

    /// Passes scores or an attention pattern `[B, H, T, A]` by; `A` positions are seen.
    pub(crate) fn by_key(&mut self, hook: HookPoint, x: Tensor<4>) -> Tensor<4> {
        if !self.wants(hook) {
            return x;
        }
        let by_query = self.change_heads(hook, x.swap_dims(1, 2)); // [B, T, H, A]
        let x = by_query.swap_dims(1, 2); // [B, H, T, A]
        self.keep_four(hook, x)
    }

    fn keep_four(&mut self, hook: HookPoint, mut x: Tensor<4>) -> Tensor<4> {
        if self.watched.contains(&hook) {
            let zeros = x.clone().inner().zeros_like().autodiff().require_grad();
            self.trace.watched.insert(hook, Captured::Four(zeros.clone()));
            x = x + zeros;
        }
        if self.wanted.contains(&hook) {
            self.trace.captured.insert(hook, Captured::Four(x.clone()));
        }
        x
    }

    fn change_heads(&self, hook: HookPoint, mut x: Tensor<4>) -> Tensor<4> {
        for patch in self.patches.iter().filter(|patch| patch.hook == hook) {
            let [b, t, heads, width] = x.dims();
            let side_by_side = |x: Tensor<4>| x.reshape([b, t, heads * width]); // [B, T, H width]
            x = match (&patch.change, patch.head) {
                (Change::Map(map), _) => mapped(map(side_by_side(x)), [b, t, heads * width]),
                (Change::Set(vectors), None) => in_rows(side_by_side(x), |rows, _| set(rows, t, 1, 0, vectors)),
                (Change::Add(vectors), None) => in_rows(side_by_side(x), |rows, _| add(rows, t, 1, 0, vectors)),
                (Change::Set(vectors), Some(head)) => {
                    let rows = x.reshape([b * t * heads, width]); // [B T H, width]
                    set(rows, t, heads, head, vectors).reshape([b, t, heads * width])
                }
                (Change::Add(vectors), Some(head)) => {
                    let rows = x.reshape([b * t * heads, width]); // [B T H, width]
                    add(rows, t, heads, head, vectors).reshape([b, t, heads * width])
                }
            }
            .reshape([b, t, heads, width]); // [B, T, H, width]
        }
        x
    }
}

/// Checks one patch: heads, places and shapes.
fn check(patch: &Patch, spec: &Spec, extent: Extent) -> Result<(), Error> {
    let hook = patch.hook;
    let heads = hook.heads(spec);
    match (patch.head, heads) {
        (None, _) if hook.is_by_key() => return Err(wrong(hook, "needs a head to be overwritten")),
        (Some(head), None) => return Err(wrong(hook, &format!("has no heads, head {head} was given"))),
        (Some(head), Some(heads)) if head >= heads => {
            return Err(wrong(hook, &format!("has {heads} heads, head {head} does not exist")));
        }
        _ => {}
    }
    let vectors = match &patch.change {
        Change::Set(vectors) | Change::Add(vectors) => vectors,
        Change::Map(_) if patch.head.is_some() => {
            return Err(wrong(
                hook,
                "is mapped as a whole, all heads side by side; give no head",
            ));
        }
        Change::Map(_) => return Ok(()),
    };
    let width = match patch.head {
        _ if hook.is_by_key() => extent.earlier + extent.len,
        Some(_) => hook.width(spec),
        None => hook.width(spec) * heads.unwrap_or(1),
    };
    let expected = [vectors.at.len(), width];
    if vectors.values.dims() != expected {
        let reason = format!("values have shape {:?}, expected {expected:?}", vectors.values.dims());
        return Err(wrong(hook, &reason));
    }
    let outside = |(row, position): &&(usize, usize)| *row >= extent.rows || *position >= extent.len;
    match vectors.at.iter().find(outside) {
        None => Ok(()),
        Some((row, position)) => {
            let (rows, len) = (extent.rows, extent.len);
            let reason = format!("(row {row}, position {position}) is outside {rows} rows of {len} tokens");
            Err(wrong(hook, &reason))
        }
    }
}

/// What a map returned, which must have the shape of what it was given.
fn mapped(x: Tensor<3>, expected: [usize; 3]) -> Tensor<3> {
    assert_eq!(x.dims(), expected, "a map keeps the shape of its hook");
    x
}

/// Works on `[B T, width]`.
fn in_rows(x: Tensor<3>, change: impl FnOnce(Tensor<2>, [usize; 3]) -> Tensor<2>) -> Tensor<3> {
    let dims @ [b, t, width] = x.dims();
    change(x.reshape([b * t, width]), dims).reshape(dims) // [B, T, width]
}

/// Replaces rows of `x` `[B T heads, width]`; of two vectors for one place the later wins.
fn set(x: Tensor<2>, t: usize, heads: usize, head: usize, vectors: &Vectors) -> Tensor<2> {
    let [rows, width] = x.dims();
    if vectors.at.is_empty() {
        return x;
    }
    let device = x.device();
    let mut source = vec![0_usize; rows];
    let mut mask = vec![false; rows];
    for (i, &(row, position)) in vectors.at.iter().enumerate() {
        let place = (row * t + position) * heads + head;
        source[place] = i;
        mask[place] = true;
    }
    let values = vectors.values.clone().select(0, indices(&source, &device)); // [B T heads, width]
    let values = if x.is_autodiff() { values.autodiff() } else { values };
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [rows, 1]), &device).expand([rows, width]);
    x.mask_where(mask, values)
}

/// Adds to rows of `x` `[B T heads, width]`.
fn add(x: Tensor<2>, t: usize, heads: usize, head: usize, vectors: &Vectors) -> Tensor<2> {
    if vectors.at.is_empty() {
        return x;
    }
    let places: Vec<usize> = vectors
        .at
        .iter()
        .map(|&(row, position)| (row * t + position) * heads + head)
        .collect();
    let device = x.device();
    let values = if x.is_autodiff() {
        vectors.values.clone().autodiff()
    } else {
        vectors.values.clone()
    };
    x.select_assign(
        0,
        indices(&places, &device),
        values,
        burn::tensor::IndexingUpdateOp::Add,
    )
}
