//! What every source adds to the residual stream in a pass, side by side.
//!
//! A source's output is what is added: where a model norms what attention adds (Gemma), a head's share of it, which is what the head
//! computes times the norm's factors, divided by the root mean square of the whole layer in the same run. The shares of a layer add
//! up to what the layer adds.

use burn::tensor::Tensor;
use lm::{HookPoint, Model, NormAt, Spec, Trace};

use crate::Error;
use crate::graph::Group;
use crate::node::Slot;

/// The hooks that the outputs of all sources are made of.
pub(crate) fn hooks(spec: &Spec) -> Vec<HookPoint> {
    let mut hooks = vec![HookPoint::Embed];
    for l in 0..spec.n_layer {
        hooks.extend([HookPoint::AttnResult(l), HookPoint::MlpOut(l)]);
        if spec.post_norms {
            hooks.push(HookPoint::NormScale(NormAt::Ln1Post(l)));
        }
    }
    hooks
}

/// The hook where a group reads the residual stream, each destination of it for itself.
pub(crate) fn input_hook(group: Group, spec: &Spec) -> HookPoint {
    match group {
        Group::Heads { layer, slot: Slot::Q } => HookPoint::QInput(layer),
        Group::Heads { layer, slot: Slot::K } => HookPoint::KInput(layer),
        Group::Heads { layer, slot: Slot::V } => HookPoint::VInput(layer),
        Group::Mlp { layer } => HookPoint::MlpIn(layer),
        Group::Logits => HookPoint::ResidPost(spec.n_layer - 1),
    }
}

/// The hook of the residual stream that all destinations of a group read where nothing is patched.
pub(crate) fn stream_hook(group: Group, spec: &Spec) -> HookPoint {
    match group {
        Group::Heads { layer, .. } => HookPoint::ResidPre(layer),
        Group::Mlp { .. } | Group::Logits => input_hook(group, spec),
    }
}

/// What all sources add, `[B, S, T D]`, of a pass that captured [`hooks`].
pub(crate) fn stack(model: &Model, trace: &Trace) -> Result<Tensor<3>, Error> {
    let mut parts = vec![one(trace.tensor3(HookPoint::Embed)?)];
    for l in 0..model.spec().n_layer {
        let result = trace.tensor4(HookPoint::AttnResult(l))?; // [B, T, H, D]
        let result = match model.norm_factors(NormAt::Ln1Post(l)) {
            Some(factors) => shares(
                result,
                factors,
                trace.tensor3(HookPoint::NormScale(NormAt::Ln1Post(l)))?,
            ),
            None => result,
        };
        parts.push(heads(result));
        parts.push(one(trace.tensor3(HookPoint::MlpOut(l))?));
    }
    Ok(Tensor::cat(parts, 1)) // [B, S, T D]
}

/// Shares of heads `[B, T, H, D]` of what a normed layer adds; `scale` `[B, T, 1]` is what the norm divides by.
pub(crate) fn shares(result: Tensor<4>, factors: Tensor<1>, scale: Tensor<3>) -> Tensor<4> {
    let [_, _, _, d] = result.dims();
    result / scale.unsqueeze_dim::<4>(2) * factors.reshape([1, 1, 1, d]) // [B, T, H, D]
}

/// One source `[B, T, D]` as `[B, 1, T D]`.
pub(crate) fn one(x: Tensor<3>) -> Tensor<3> {
    let [b, t, d] = x.dims();
    x.reshape([b, 1, t * d]) // [B, 1, T D]
}

/// The heads of a layer, or what they read, `[B, T, H, D]`, as `[B, H, T D]`.
pub(crate) fn heads(x: Tensor<4>) -> Tensor<3> {
    let [b, t, h, d] = x.dims();
    x.swap_dims(1, 2).reshape([b, h, t * d]) // [B, H, T D]
}
