//! Gradients of the loss at every destination, from one backward pass.

use burn::tensor::Tensor;
use lm::{HookPoint, Patch, Request, TokenBatch};

use crate::Error;
use crate::graph::{Graph, Group, Slot};
use crate::metric::Bound;
use crate::runs::Batch;
use crate::sources;

/// Runs `tokens` with `patches` and hands the gradient of minus the metric at each group of destinations to `each`, `[B, G, T D]`;
/// a row's gradient is that of its own metric.
pub(crate) fn each_group(
    batch: &Batch<'_>,
    graph: &Graph,
    tokens: &TokenBatch,
    patches: Vec<Patch>,
    metric: &Bound,
    mut each: impl FnMut(Group, Tensor<3>),
) -> Result<(), Error> {
    let spec = batch.model.spec();
    let last = HookPoint::ResidPost(spec.n_layer - 1);
    let layers = || 0..spec.n_layer;
    let of_layer = |l| [HookPoint::Q(l), HookPoint::K(l), HookPoint::V(l), HookPoint::MlpIn(l)];
    let request = Request {
        capture: layers().map(HookPoint::ResidPre).collect(),
        watch: layers().flat_map(of_layer).chain([last]).collect(),
        patches,
        ..Request::default()
    };
    let trace = batch.plain(tokens, request)?;
    let loss = metric.values(trace.logits_at()?).sum().neg();
    let gradients = trace.gradients(loss)?;
    for group in graph.groups() {
        let gradient = match group {
            Group::Heads { layer, slot } => {
                let hook = match slot {
                    Slot::Q => HookPoint::Q(layer),
                    Slot::K => HookPoint::K(layer),
                    Slot::V => HookPoint::V(layer),
                };
                let resid = trace.tensor3(HookPoint::ResidPre(layer))?.inner(); // [B, T, D]
                let of_heads = gradients.tensor4(hook)?; // [B, T, H or K, Dh]
                sources::heads(batch.model.head_input_gradients(hook, resid, of_heads)?)
            }
            Group::Mlp { .. } | Group::Logits => sources::one(gradients.tensor3(sources::input_hook(group, spec))?),
        };
        each(group, gradient); // [B, G, T D]
    }
    Ok(())
}
