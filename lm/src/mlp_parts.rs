//! What is inside of what a component adds: the directions that neurons and heads write in, and how neurons, values and what an MLP adds
//! follow a change of the residual stream.
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
        let change = self.mlp_normed_change(layer, x, change); // [B, T, D]
        let weight = &self.weights().linear(Slot::Block(layer, Part::MlpIn)).weight;
        let both = kernels::linear(change, weight, None, None); // [B, T, M] or [B, T, 2 M]
        let m = spec.d_mlp;
        let mut changes = vec![(HookPoint::MlpPre(layer), both.clone().narrow(2, 0, m))]; // [B, T, M]
        if spec.gated {
            changes.push((HookPoint::MlpPreLinear(layer), both.narrow(2, m, m))); // [B, T, M]
        }
        changes
    }

    /// How `mlp.hook_in` follows a change of what the MLP reads, to first order, `[B, T, D]`.
    ///
    /// # Panics
    ///
    /// When the block does not exist, which is an error of the caller.
    ///
    /// # Shapes
    ///
    /// - x: the residual stream that the MLP reads, `[B, T, D]`
    /// - change: `[B, T, D]`
    pub fn mlp_normed_change(&self, layer: usize, x: Tensor<3>, change: Tensor<3>) -> Tensor<3> {
        assert!(layer < self.spec().n_layer, "block {layer} of {}", self.spec().n_layer);
        self.norm_change(Slot::Block(layer, Part::MlpNorm), x, change)
    }

    /// How `hook_mlp_out` follows a change of what the MLP reads, to first order, `[B, T, D]`; none where the model norms what an MLP
    /// adds, or where the block does not exist.
    ///
    /// # Shapes
    ///
    /// - x: the residual stream that the MLP reads, `[B, T, D]`
    /// - pre: `hook_pre` of the same pass, and `hook_pre_linear` exactly where the MLP is gated, `[B, T, M]`
    /// - change: `[B, T, D]`
    #[expect(
        clippy::expect_used,
        reason = "a tensor whose gradient is asked for has one behind a sum of its function"
    )]
    pub fn mlp_out_change(
        &self,
        layer: usize,
        x: Tensor<3>,
        pre: (Tensor<3>, Option<Tensor<3>>),
        change: Tensor<3>,
    ) -> Option<Tensor<3>> {
        let writes = self.neuron_directions(layer)?; // [M, D]
        let activation = self.spec().activation;
        let mut changes = self
            .neuron_changes(layer, x, change)
            .into_iter()
            .map(|(_, change)| change);
        let (pre, linear) = pre;
        let tracked = pre.clone().autodiff().require_grad();
        let gradients = activation.apply(tracked.clone()).sum().backward();
        let slope = tracked.grad(&gradients).expect("a gradient"); // [B, T, M]
        let of_gate = slope * changes.next()?; // [B, T, M]
        let of_post = match linear {
            Some(linear) => of_gate * linear + activation.apply(pre) * changes.next()?, // [B, T, M]
            None => of_gate,
        };
        let [b, t, m] = of_post.dims();
        let d = self.spec().d_model;
        Some(of_post.reshape([b * t, m]).matmul(writes).reshape([b, t, d])) // [B, T, D]
    }

    /// How the `hook_v` of one head of keys and values follows a change of what it reads, to first order, `[B, T, Dh]`.
    ///
    /// # Panics
    ///
    /// When there is no such head, which is an error of the caller.
    ///
    /// # Shapes
    ///
    /// - x: the residual stream that the head reads, `[B, T, D]`
    /// - change: `[B, T, D]`
    pub fn value_change(&self, layer: usize, head: usize, x: Tensor<3>, change: Tensor<3>) -> Tensor<3> {
        let spec = self.spec();
        assert!(
            layer < spec.n_layer && head < spec.n_kv_head,
            "head {head} of block {layer}"
        );
        let change = self.norm_change(Slot::Block(layer, Part::AttnNorm), x, change); // [B, T, D]
        let first = (spec.n_head + spec.n_kv_head + head) * spec.d_head;
        let weight = self.weights().linear(Slot::Block(layer, Part::Qkv)).weight.widened();
        let weight = weight.narrow(1, first, spec.d_head); // [D, Dh]
        let [b, t, d] = change.dims();
        change.reshape([b * t, d]).matmul(weight).reshape([b, t, spec.d_head]) // [B, T, Dh]
    }

    /// How what a norm gives follows a change of what it reads, to first order, `[B, T, D]`.
    fn norm_change(&self, slot: Slot, x: Tensor<3>, change: Tensor<3>) -> Tensor<3> {
        assert_eq!(x.dims(), change.dims(), "a change of what is read");
        let (spec, norm) = (self.spec(), self.weights().norm(slot));
        let [_, _, d] = x.dims();
        let centred = |x: Tensor<3>| match spec.norm {
            NormKind::LayerNorm => x.clone() - x.mean_dim(2), // [B, T, D]
            NormKind::Rms => x,
        };
        let (x, change) = (centred(x), centred(change));
        let scale = (x.clone().square().mean_dim(2) + spec.epsilon).sqrt(); // [B, T, 1]
        let normed = x / scale.clone(); // [B, T, D]
        let along = (normed.clone() * change.clone()).mean_dim(2); // [B, T, 1]
        let through = change - normed * along; // [B, T, D]
        through / scale * norm.scale.clone().reshape([1, 1, d]) // [B, T, D]
    }
}
