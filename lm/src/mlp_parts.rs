//! What is inside of what a component adds: the directions that neurons and heads write in, and how neurons follow a change of the
//! residual stream.
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `Dh` d_head, `M` d_mlp.

use burn::tensor::Tensor;

use crate::entry::{Part, Slot};
use crate::spec::NormKind;
use crate::{HookPoint, Model};

impl Model {
    /// What each neuron of an MLP writes per unit of `hook_post`, `[M, D]`; none where the model norms what an MLP adds, since then
    /// neurons do not add up, or where the block does not exist.
    pub fn neuron_directions(&self, layer: usize) -> Option<Tensor<2>> {
        let exists = layer < self.spec().n_layer && !self.spec().post_norms;
        exists.then(|| self.weights().linear(Slot::Block(layer, Part::MlpOut)).weight.widened())
    }

    /// What each number of a head's `hook_z` writes, `[Dh, D]`; none where the model norms what attention adds, or has no such head.
    pub fn head_directions(&self, layer: usize, head: usize) -> Option<Tensor<2>> {
        let spec = self.spec();
        let exists = layer < spec.n_layer && head < spec.n_head && !spec.post_norms;
        exists.then(|| {
            let weight = self
                .weights()
                .linear(Slot::Block(layer, Part::AttnOut))
                .weight
                .widened(); // [H Dh, D]
            weight.narrow(0, head * spec.d_head, spec.d_head) // [Dh, D]
        })
    }

    /// How `hook_pre` of an MLP and, where it is gated, `hook_pre_linear` follow a change of what the MLP reads, to first order:
    /// `[B, T, M]` each, by the hook.
    ///
    /// # Panics
    ///
    /// When the block does not exist, which is an error of the caller.
    ///
    /// # Shapes
    ///
    /// - x: the residual stream that the MLP reads, `[B, T, D]`
    /// - change: `[B, T, D]`
    pub fn neuron_changes(&self, layer: usize, x: Tensor<3>, change: Tensor<3>) -> Vec<(HookPoint, Tensor<3>)> {
        let spec = self.spec();
        assert!(layer < spec.n_layer, "block {layer} of {}", spec.n_layer);
        assert_eq!(x.dims(), change.dims(), "a change of what is read");
        let [_, _, d] = x.dims();
        let norm = self.weights().norm(Slot::Block(layer, Part::MlpNorm));
        let centred = |x: Tensor<3>| match spec.norm {
            NormKind::LayerNorm => x.clone() - x.mean_dim(2), // [B, T, D]
            NormKind::Rms => x,
        };
        let (x, change) = (centred(x), centred(change));
        let scale = (x.clone().square().mean_dim(2) + spec.epsilon).sqrt(); // [B, T, 1]
        let normed = x / scale.clone(); // [B, T, D]
        let along = (normed.clone() * change.clone()).mean_dim(2); // [B, T, 1]
        let through = change - normed * along; // [B, T, D]
        let change = through / scale * norm.scale.clone().reshape([1, 1, d]); // [B, T, D]
        let weight = &self.weights().linear(Slot::Block(layer, Part::MlpIn)).weight;
        let both = kernels::linear(change, weight, None, None); // [B, T, M] or [B, T, 2 M]
        let m = spec.d_mlp;
        let mut changes = vec![(HookPoint::MlpPre(layer), both.clone().narrow(2, 0, m))]; // [B, T, M]
        if spec.gated {
            changes.push((HookPoint::MlpPreLinear(layer), both.narrow(2, m, m))); // [B, T, M]
        }
        changes
    }
}
