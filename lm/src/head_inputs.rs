//! What each head reads and adds where all heads read one residual stream: gradients and outputs of single heads from those of
//! whole layers, without a copy of the residual stream for every head in the recorded pass.
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `H` heads (`K` of keys and values), `Dh` d_head.

use burn::tensor::Tensor;

use crate::entry::{Part, Slot};
use crate::run::wrong;
use crate::spec::NormKind;
use crate::{Error, HookPoint, Model, NormAt};

/// What a gradient makes of the number that a norm divides by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormRule {
    /// It depends on the vector: the derivative.
    Exact,
    /// It is a constant: the rule of relevance propagation.
    FrozenScale,
}

impl Model {
    /// The gradients at `hook_q_input`, `hook_k_input` or `hook_v_input` of a layer, `[B, T, H or K, D]`, from those at its
    /// `hook_q`, `hook_k` or `hook_v`.
    ///
    /// They are what watching the inputs gives ([`crate::Request::watch`]) as long as every head reads `resid`, for a part of the
    /// memory: no head has a residual stream of its own while the pass is recorded. With [`NormRule::FrozenScale`] the norm of each head
    /// divides by a constant, as where `hook_scale` is patched to be one.
    ///
    /// # Errors
    ///
    /// A hook other than those three, or that the model does not have.
    ///
    /// # Shapes
    ///
    /// - resid: `hook_resid_pre` of the layer, `[B, T, D]`
    /// - gradient: `[B, T, H or K, Dh]`
    pub fn head_input_gradients(
        &self,
        hook: HookPoint,
        resid: Tensor<3>,
        gradient: Tensor<4>,
        rule: NormRule,
    ) -> Result<Tensor<4>, Error> {
        let spec = self.spec();
        hook.check(spec)?;
        let (l, first) = match hook {
            HookPoint::Q(l) => (l, 0),
            HookPoint::K(l) => (l, spec.n_head),
            HookPoint::V(l) => (l, spec.n_head + spec.n_kv_head),
            _ => return Err(wrong(hook, "is not what the heads make of the residual stream")),
        };
        let [b, t, heads, width] = gradient.dims();
        let d = spec.d_model;
        let fits = Some(heads) == hook.heads(spec) && width == spec.d_head && resid.dims() == [b, t, d];
        if !fits {
            return Err(wrong(hook, "has a gradient of another shape"));
        }
        let weight = self.weights().linear(Slot::Block(l, Part::Qkv)).weight.widened();
        let weight = weight.narrow(1, first * width, heads * width); // [D, H Dh]
        let weight = weight.reshape([d, heads, width]).swap_dims(0, 1).swap_dims(1, 2); // [H, Dh, D]
        let by_head = gradient.reshape([b * t, heads, width]).swap_dims(0, 1); // [H, B T, Dh]
        let of_normed = by_head.matmul(weight).reshape([heads, b, t, d]); // [H, B, T, D]
        let through = self.norm_gradient(Slot::Block(l, Part::AttnNorm), resid, of_normed, rule); // [H, B, T, D]
        Ok(through.swap_dims(0, 1).swap_dims(1, 2)) // [B, T, H, D]
    }

    /// The gradient of what a norm reads, from those of what it gives, `[H, B, T, D]`; all `H` read `x` `[B, T, D]`.
    fn norm_gradient(&self, slot: Slot, x: Tensor<3>, gradient: Tensor<4>, rule: NormRule) -> Tensor<4> {
        let (spec, norm) = (self.spec(), self.weights().norm(slot));
        let d = spec.d_model;
        let x = match spec.norm {
            NormKind::LayerNorm => x.clone() - x.mean_dim(2), // [B, T, D]
            NormKind::Rms => x,
        };
        let scale = (x.clone().square().mean_dim(2) + spec.epsilon).sqrt(); // [B, T, 1]
        let normed = (x / scale.clone()).unsqueeze_dim::<4>(0); // [1, B, T, D]
        let scaled = gradient * norm.scale.clone().reshape([1, 1, 1, d]); // [H, B, T, D]
        let along = (scaled.clone() * normed.clone()).mean_dim(3); // [H, B, T, 1]
        let centred = match spec.norm {
            NormKind::LayerNorm => scaled.clone() - scaled.mean_dim(3),
            NormKind::Rms => scaled,
        };
        let through = match rule {
            NormRule::Exact => centred - normed * along, // [H, B, T, D]
            NormRule::FrozenScale => centred,
        };
        through / scale.unsqueeze_dim::<4>(0) // [H, B, T, D]
    }

    /// The factors that a norm multiplies its normalised vectors with, `[D]`; none where the model has no such norm.
    pub fn norm_factors(&self, at: NormAt) -> Option<Tensor<1>> {
        let (layer, slot) = match at {
            NormAt::Ln1(l) => (l, Slot::Block(l, Part::AttnNorm)),
            NormAt::Ln1Post(l) => (l, Slot::Block(l, Part::AttnPostNorm)),
            NormAt::Ln2(l) => (l, Slot::Block(l, Part::MlpNorm)),
            NormAt::Ln2Post(l) => (l, Slot::Block(l, Part::MlpPostNorm)),
            NormAt::Final => (0, Slot::FinalNorm),
        };
        let is_post = matches!(at, NormAt::Ln1Post(_) | NormAt::Ln2Post(_));
        let exists = layer < self.spec().n_layer && (!is_post || self.spec().post_norms);
        exists.then(|| self.weights().norm(slot).scale.clone())
    }
}
