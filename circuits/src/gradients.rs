//! Gradients of the loss at every destination, from one backward pass.

use burn::tensor::Tensor;
use lm::{Gradients, HookPoint, NormRule, Patch, Request, Trace};

use crate::Error;
use crate::graph::Group;
use crate::metric::Bound;
use crate::node::Slot;
use crate::runs::Batch;
use crate::sources;

/// A run of a batch and the gradients of minus its metric; a row's gradient is that of its own metric.
pub(crate) struct Recorded<'a> {
    batch: &'a Batch<'a>,
    on_corrupted: bool,
    rule: NormRule,
    trace: Trace,
    gradients: Gradients,
}

impl<'a> Recorded<'a> {
    /// Runs the clean or the corrupted prompts with `patches`; norms divide by a constant where rules of relevance stand for gradients.
    pub(crate) fn new(
        batch: &'a Batch<'a>,
        on_corrupted: bool,
        patches: Vec<Patch>,
        relp: bool,
        metric: &Bound,
    ) -> Result<Self, Error> {
        let spec = batch.model.spec();
        let layers = || 0..spec.n_layer;
        let of_layer = |l| [HookPoint::Q(l), HookPoint::K(l), HookPoint::V(l), HookPoint::MlpIn(l)];
        let last = HookPoint::ResidPost(spec.n_layer - 1);
        let request = Request {
            capture: layers().map(HookPoint::ResidPre).collect(),
            watch: layers().flat_map(of_layer).chain([last]).collect(),
            patches,
            ..Request::default()
        };
        let trace = batch.plain(on_corrupted, request)?;
        let loss = metric.values(trace.logits_at()?).sum().neg();
        Ok(Self {
            batch,
            on_corrupted,
            rule: if relp { NormRule::FrozenScale } else { NormRule::Exact },
            gradients: trace.gradients(loss)?,
            trace,
        })
    }

    /// The gradient at each destination of a group, `[B, G, T D]`.
    pub(crate) fn at(&self, group: Group) -> Result<Tensor<3>, Error> {
        let spec = self.batch.model.spec();
        let gradient = match group {
            Group::Heads { layer, slot } => {
                let hook = match slot {
                    Slot::Q => HookPoint::Q(layer),
                    Slot::K => HookPoint::K(layer),
                    Slot::V => HookPoint::V(layer),
                };
                let resid = self.trace.tensor3(HookPoint::ResidPre(layer))?.inner(); // [B, T, D]
                let of_heads = self.gradients.tensor4(hook)?; // [B, T, H or K, Dh]
                let model = self.batch.model;
                sources::heads(model.head_input_gradients(hook, resid, of_heads, self.rule)?)
            }
            Group::Mlp { .. } | Group::Logits => {
                sources::one(self.gradients.tensor3(sources::input_hook(group, spec))?)
            }
        };
        Ok(if self.on_corrupted {
            self.batch.aligned_stack(gradient)
        } else {
            gradient
        }) // [B, G, T D]
    }
}
