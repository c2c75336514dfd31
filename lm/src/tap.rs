//! The hand that reads and overwrites hooks while the forward pass goes by.

use std::collections::BTreeSet;

use burn::tensor::{Bool, Tensor, TensorData};

use crate::run::{Captured, indices, wrong};
use crate::{Error, HookPoint, Overwrite, Request, Spec, Trace};

/// The requests of one pass, checked, and what was captured so far.
pub(crate) struct Tap<'a> {
    wanted: BTreeSet<HookPoint>,
    overwrites: &'a [Overwrite],
    pub(crate) trace: Trace,
}

impl<'a> Tap<'a> {
    /// Checks `request` against the model and a batch of `rows` rows of `len` tokens behind `earlier` ones that starts before
    /// block `first`.
    pub(crate) fn new(
        request: &'a Request,
        config: &Spec,
        first: Option<usize>,
        rows: usize,
        [earlier, len]: [usize; 2],
    ) -> Result<Self, Error> {
        let hooks = request
            .capture
            .iter()
            .chain(request.overwrite.iter().map(|overwrite| &overwrite.hook));
        for &hook in hooks {
            if let Some(layer) = hook.layer().filter(|&layer| layer >= config.n_layer) {
                return Err(wrong(
                    hook,
                    &format!("the model has {} blocks, block {layer} does not exist", config.n_layer),
                ));
            }
            let passed =
                first.is_some_and(|first| hook.layer().map_or(hook != HookPoint::LnFinal, |layer| layer < first));
            if passed {
                return Err(wrong(hook, "lies before the block at which this pass starts"));
            }
        }
        for overwrite in &request.overwrite {
            let hook = overwrite.hook;
            let width = match (hook, overwrite.head) {
                (HookPoint::Pattern(_), None) => return Err(wrong(hook, "needs a head to be overwritten")),
                (_, Some(head)) if !hook.has_heads() && !matches!(hook, HookPoint::Pattern(_)) => {
                    return Err(wrong(hook, &format!("has no heads, head {head} was given")));
                }
                (_, Some(head)) if head >= config.n_head => {
                    return Err(wrong(
                        hook,
                        &format!("has {} heads, head {head} does not exist", config.n_head),
                    ));
                }
                (HookPoint::Pattern(_), Some(_)) => earlier + len,
                (_, None) if hook.has_heads() => config.d_model,
                _ => hook.width(config),
            };
            let expected = [overwrite.at.len(), width];
            if overwrite.values.dims() != expected {
                let reason = format!("values have shape {:?}, expected {expected:?}", overwrite.values.dims());
                return Err(wrong(hook, &reason));
            }
            if let Some((row, position)) = overwrite
                .at
                .iter()
                .find(|(row, position)| *row >= rows || *position >= len)
            {
                let reason = format!("(row {row}, position {position}) is outside {rows} rows of {len} tokens");
                return Err(wrong(hook, &reason));
            }
        }
        Ok(Self {
            wanted: request.capture.iter().copied().collect(),
            overwrites: &request.overwrite,
            trace: Trace::default(),
        })
    }

    /// Whether anything is read or overwritten at `hook`.
    pub(crate) fn wants(&self, hook: HookPoint) -> bool {
        self.wanted.contains(&hook) || self.overwrites.iter().any(|overwrite| overwrite.hook == hook)
    }

    /// Passes a tensor `[B, T, width]` by.
    pub(crate) fn three(&mut self, hook: HookPoint, mut x: Tensor<3>) -> Tensor<3> {
        for overwrite in self.overwrites.iter().filter(|overwrite| overwrite.hook == hook) {
            let [b, t, width] = x.dims();
            x = replace(x.reshape([b * t, width]), t, 1, overwrite).reshape([b, t, width]);
        }
        if self.wanted.contains(&hook) {
            self.trace.captured.insert(hook, Captured::Three(x.clone()));
        }
        x
    }

    /// Passes a tensor `[B, T, H, width]` by.
    pub(crate) fn four(&mut self, hook: HookPoint, x: Tensor<4>) -> Tensor<4> {
        let x = self.overwrite_heads(hook, x);
        if self.wanted.contains(&hook) {
            self.trace.captured.insert(hook, Captured::Four(x.clone()));
        }
        x
    }

    /// Passes an attention pattern `[B, H, T, A]` by; `A` positions are seen.
    pub(crate) fn pattern(&mut self, hook: HookPoint, x: Tensor<4>) -> Tensor<4> {
        if !self.wants(hook) {
            return x;
        }
        let by_query = self.overwrite_heads(hook, x.swap_dims(1, 2)); // [B, T, H, A]
        let x = by_query.swap_dims(1, 2); // [B, H, T, A]
        if self.wanted.contains(&hook) {
            self.trace.captured.insert(hook, Captured::Four(x.clone()));
        }
        x
    }

    fn overwrite_heads(&self, hook: HookPoint, mut x: Tensor<4>) -> Tensor<4> {
        for overwrite in self.overwrites.iter().filter(|overwrite| overwrite.hook == hook) {
            let [b, t, heads, width] = x.dims();
            x = match overwrite.head {
                Some(_) => replace(x.reshape([b * t * heads, width]), t, heads, overwrite),
                None => replace(x.reshape([b * t, heads * width]), t, 1, overwrite),
            }
            .reshape([b, t, heads, width]);
        }
        x
    }
}

/// Replaces rows of `x` `[B * T * heads, width]`; of two vectors for one place the later wins.
fn replace(x: Tensor<2>, t: usize, heads: usize, overwrite: &Overwrite) -> Tensor<2> {
    let [rows, width] = x.dims();
    if overwrite.at.is_empty() {
        return x;
    }
    let device = x.device();
    let head = overwrite.head.unwrap_or(0);
    let mut source = vec![0_usize; rows];
    let mut mask = vec![false; rows];
    for (i, &(row, position)) in overwrite.at.iter().enumerate() {
        let place = (row * t + position) * heads + head;
        source[place] = i;
        mask[place] = true;
    }
    let values = overwrite.values.clone().select(0, indices(&source, &device)); // [B T heads, width]
    let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [rows, 1]), &device).expand([rows, width]);
    x.mask_where(mask, values)
}
