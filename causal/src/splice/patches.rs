//! Dictionaries as patches of one pass, which hand on to each other what they read and wrote.
//!
//! Shapes: `B` windows, `T` tokens, `D` width, `n` replaced tokens.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::tensor::{Int, Tensor, TensorData};
use lm::{Patch, Spec, Trace};

use super::{Insert, Place, Replaced};
use crate::Error;

/// Checks what can be checked before anything runs: places, and that no place is written twice.
pub(crate) fn check(inserts: &[Insert], spec: &Spec) -> Result<(), Error> {
    let refuse = |place: Place, reason: String| Err(Error::Splice { place, reason });
    let mut written: BTreeSet<Place> = BTreeSet::new();
    for Insert { reads, writes, .. } in inserts {
        for place in [reads, writes] {
            place.hook.check(spec)?;
            if place.hook.is_by_key() {
                return refuse(*place, "is not one vector a token".to_owned());
            }
            match (place.head, place.hook.heads(spec)) {
                (Some(head), Some(heads)) if head >= heads => {
                    return refuse(*place, format!("does not exist, the hook has {heads} heads"));
                }
                (Some(_), None) => return refuse(*place, "does not exist, the hook has no heads".to_owned()),
                _ => {}
            }
        }
        let clashes = |other: &&Place| {
            other.hook == writes.hook && (other.head == writes.head || other.head.is_none() || writes.head.is_none())
        };
        if written.iter().any(|other| clashes(&other)) {
            return refuse(*writes, "is written by two dictionaries".to_owned());
        }
        written.insert(*writes);
    }
    Ok(())
}

/// The columns of a place in its whole hook: the first, and their number.
fn columns(place: Place, spec: &Spec) -> (usize, usize) {
    let width = place.width(spec);
    (place.head.unwrap_or(0) * width, width)
}

/// The captured vectors of a place at the replaced tokens, `[n, D]`; none where there are no such tokens.
pub(crate) fn vectors(
    trace: &Trace,
    place: Place,
    replaced: &Replaced,
    spec: &Spec,
) -> Result<Option<Tensor<2>>, Error> {
    if replaced.at.is_empty() {
        return Ok(None);
    }
    let whole = match place.hook.heads(spec) {
        Some(_) => {
            let by_head = trace.tensor4(place.hook)?;
            let [b, t, heads, width] = by_head.dims();
            by_head.reshape([b, t, heads * width]) // [B, T, H D]
        }
        None => trace.tensor3(place.hook)?,
    };
    Ok(Some(replaced.pick(whole, columns(place, spec))))
}

/// Dictionaries on their way through one pass over one batch.
pub(crate) struct Spliced {
    parts: Vec<Arc<Part>>,
}

/// One of them.
struct Part {
    insert: Insert,
    replaced: Replaced,
    /// Columns of what it reads, and of what it writes.
    columns: [(usize, usize); 2],
    /// What it gets wrong of the untouched model, `[n, D]`.
    error: Option<Tensor<2>>,
    state: Mutex<State>,
}

/// How far a dictionary is in this pass.
#[derive(Default)]
struct State {
    /// What it has read and not used yet, `[n, D]`.
    read: Option<Tensor<2>>,
    /// Whether it has written, or why not.
    written: Option<Result<(), String>>,
}

impl Spliced {
    /// Prepares `inserts` for a batch whose untouched pass left `clean`.
    pub(crate) fn new(inserts: &[Insert], replaced: Replaced, clean: &Trace, spec: &Spec) -> Result<Self, Error> {
        if replaced.at.is_empty() {
            return Ok(Self { parts: Vec::new() });
        }
        let part = |insert: &Insert| {
            let error = match insert.error_term {
                true => error_term(insert, clean, &replaced, spec)?,
                false => None,
            };
            Ok(Arc::new(Part {
                columns: [insert.reads, insert.writes].map(|place| columns(place, spec)),
                insert: insert.clone(),
                replaced: replaced.clone(),
                error,
                state: Mutex::default(),
            }))
        };
        Ok(Self {
            parts: inserts.iter().map(part).collect::<Result<_, Error>>()?,
        })
    }

    /// The patches of the pass: at each hook, all that write come before all that read.
    pub(crate) fn patches(&self) -> Vec<Patch> {
        let write = |part: &Arc<Part>| {
            let part = part.clone();
            Patch::map(part.insert.writes.hook, move |hook| part.write(hook))
        };
        let read = |part: &Arc<Part>| {
            let part = part.clone();
            Patch::map(part.insert.reads.hook, move |hook| part.read(hook))
        };
        let transcoders = self.parts.iter().filter(|part| part.is_transcoder());
        self.parts.iter().map(write).chain(transcoders.map(read)).collect()
    }

    /// Whether every dictionary did its work.
    pub(crate) fn check(&self) -> Result<(), Error> {
        for part in &self.parts {
            let reason = match &part.state().written {
                Some(Ok(())) => continue,
                Some(Err(reason)) => reason.clone(),
                None => "was not reached in the pass".to_owned(),
            };
            return Err(Error::Splice {
                place: part.insert.writes,
                reason,
            });
        }
        Ok(())
    }
}

/// `y - f(x)` of the untouched pass, `[n, D]`.
fn error_term(insert: &Insert, clean: &Trace, replaced: &Replaced, spec: &Spec) -> Result<Option<Tensor<2>>, Error> {
    let [x, y] = [insert.reads, insert.writes].map(|place| vectors(clean, place, replaced, spec));
    let (Some(x), Some(y)) = (x?, y?) else {
        return Ok(None);
    };
    let rebuilt = (insert.function)(x); // [n, D]
    if rebuilt.dims() != y.dims() {
        return Err(Error::Splice {
            place: insert.writes,
            reason: other_shape(rebuilt.dims(), y.dims()),
        });
    }
    Ok(Some(y - rebuilt))
}

fn other_shape(found: [usize; 2], expected: [usize; 2]) -> String {
    format!("is written as vectors of shape {found:?}, expected {expected:?}")
}

impl Part {
    fn is_transcoder(&self) -> bool {
        self.insert.reads != self.insert.writes
    }

    /// The lock must not be held while a tensor is computed: a thread that waits for a product may run another batch meanwhile.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what stands at the hook that is read.
    fn read(&self, hook: Tensor<3>) -> Tensor<3> {
        let read = self.replaced.pick(hook.clone(), self.columns[0]);
        self.state().read = Some(read);
        hook
    }

    /// Puts the reconstruction in the place of what stands at the hook that is written, `[B, T, H D]`.
    fn write(&self, hook: Tensor<3>) -> Tensor<3> {
        match self.written_into(hook.clone()) {
            Ok(hook) => {
                self.state().written = Some(Ok(()));
                hook
            }
            Err(reason) => {
                self.state().written = Some(Err(reason));
                hook
            }
        }
    }

    fn written_into(&self, hook: Tensor<3>) -> Result<Tensor<3>, String> {
        let read = match self.is_transcoder() {
            false => self.replaced.pick(hook.clone(), self.columns[0]),
            true => {
                let read = self.state().read.take();
                read.ok_or_else(|| format!("comes before {}, which its dictionary reads", self.insert.reads))?
            }
        };
        let rebuilt = (self.insert.function)(read); // [n, D]
        let expected = [self.replaced.at.len(), self.columns[1].1];
        if rebuilt.dims() != expected {
            return Err(other_shape(rebuilt.dims(), expected));
        }
        let written = match &self.error {
            Some(error) => rebuilt + error.clone(),
            None => rebuilt,
        };
        Ok(self.insert_into(hook, written))
    }

    /// `hook` `[B, T, H D]` with `written` `[n, D]` in its places.
    fn insert_into(&self, hook: Tensor<3>, written: Tensor<2>) -> Tensor<3> {
        let dims @ [b, t, all] = hook.dims();
        let (first, width) = self.columns[1];
        let rows = hook.reshape([b * t, all]); // [B T, H D]
        let mut from: Vec<i32> = (0..(b * t) as i32).collect();
        for (number, &at) in self.replaced.at.iter().enumerate() {
            from[at] = (b * t + number) as i32;
        }
        let from = Tensor::<1, Int>::from_data(TensorData::new(from, [b * t]), &rows.device());
        let old = rows.clone().narrow(1, first, width); // [B T, D]
        let new = Tensor::cat(vec![old, written], 0).select(0, from); // [B T, D]
        let behind = all - first - width;
        let mut parts = Vec::new();
        parts.extend((first > 0).then(|| rows.clone().narrow(1, 0, first)));
        parts.push(new);
        parts.extend((behind > 0).then(|| rows.narrow(1, first + width, behind)));
        Tensor::cat(parts, 1).reshape(dims) // [B, T, H D]
    }
}
