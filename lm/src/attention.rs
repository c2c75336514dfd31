//! Attention of one block: queries, keys and values, their norms and rotation, scores, pattern, what the heads add.
//!
//! Where nobody looks inside, it is one pass over memory (`kernels::causal_attention`); with hooks it is the same, tensor by tensor.

use burn::tensor::{Bool, Tensor, activation};
use kernels::{Attention, HeadNorms, Heads, Rotation, causal_attention, linear_heads};

use crate::decoder::{Pass, hidden_keys};
use crate::entry::{Part, Slot};
use crate::weights::Linear;
use crate::{HookPoint, NormAt};

/// Score of a masked key: far below any real one, yet finite, so that no row becomes NaN.
const MASKED: f32 = -1e30;

/// Queries, keys or values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Queries,
    Keys,
    Values,
}

impl Pass<'_> {
    /// Adds attention over the residual stream `read` to `resid`, `[B, T, D]`.
    pub(crate) fn attention(
        &mut self,
        l: usize,
        read: &Tensor<3>,
        past: Option<&[Tensor<4>; 2]>,
        resid: Tensor<3>,
    ) -> Tensor<3> {
        let slot = |part| Slot::Block(l, part);
        let inputs = [HookPoint::QInput(l), HookPoint::KInput(l), HookPoint::VInput(l)];
        let heads = if self.tap.wants_any(&inputs) {
            [Of::Queries, Of::Keys, Of::Values].map(|of| self.heads_apart(l, of, read))
        } else {
            let normed = self.norm(NormAt::Ln1(l), slot(Part::AttnNorm), read.clone());
            if let Some(z) = self.in_one_pass(l, &normed, past) {
                return self.write(l, z, resid);
            }
            self.heads_together(l, normed)
        };
        let z = self.weighted_values(l, heads, past); // [B, T, H, Dh]
        self.write(l, z, resid)
    }

    /// The weighted values, where nothing inside is looked at and all lies in host memory.
    fn in_one_pass(&self, l: usize, normed: &Tensor<3>, past: Option<&[Tensor<4>; 2]>) -> Option<Tensor<4>> {
        use HookPoint::{AttnScores, K, KNormed, Pattern, Q, QNormed, RotK, RotQ, V};
        let inner = [
            Q(l),
            K(l),
            V(l),
            QNormed(l),
            KNormed(l),
            RotQ(l),
            RotK(l),
            AttnScores(l),
            Pattern(l),
        ];
        if past.is_some() || self.tap.wants_any(&inner) {
            return None;
        }
        let (spec, layer) = (self.spec, &self.spec.layers[l]);
        let norms = spec.qk_norm.then(|| HeadNorms {
            query: self.weights.norm(Slot::Block(l, Part::QNorm)).scale,
            key: self.weights.norm(Slot::Block(l, Part::KNorm)).scale,
            epsilon: spec.epsilon,
        });
        let heads = Heads {
            query: spec.n_head,
            key_value: spec.n_kv_head,
            width: spec.d_head,
            norms,
            rotation: self.rotations[l].as_deref(),
        };
        let Linear { weight, bias } = self.weights.linear(Slot::Block(l, Part::Qkv));
        let qkv = linear_heads(normed, weight, bias, heads)?; // [B, T, (H + 2 K) Dh]
        let attention = Attention {
            query: spec.n_head,
            key_value: spec.n_kv_head,
            width: spec.d_head,
            scale: layer.score_scale,
            cap: spec.score_cap,
            window: layer.window,
        };
        let [b, t, _] = qkv.dims();
        let z = causal_attention(&qkv, attention)?;
        Some(z.reshape([b, t, spec.n_head, spec.d_head])) // [B, T, H, Dh]
    }

    /// Queries, keys and values of all heads from one product, `[B, T, H or K, Dh]`.
    fn heads_together(&self, l: usize, normed: Tensor<3>) -> [Tensor<4>; 3] {
        let Linear { weight, bias } = self.weights.linear(Slot::Block(l, Part::Qkv));
        let qkv = kernels::linear(normed, weight, bias, None); // [B, T, (H + 2 K) Dh]
        let [b, t, _] = qkv.dims();
        [Of::Queries, Of::Keys, Of::Values].map(|of| {
            let (first, heads) = self.columns(of);
            let (first, width) = (first * self.spec.d_head, heads * self.spec.d_head);
            qkv.clone()
                .narrow(2, first, width)
                .reshape([b, t, heads, self.spec.d_head]) // [B, T, H, Dh]
        })
    }

    /// The same where each head reads a residual stream of its own, `[B, T, H or K, Dh]`.
    fn heads_apart(&mut self, l: usize, of: Of, read: &Tensor<3>) -> Tensor<4> {
        let hook = match of {
            Of::Queries => HookPoint::QInput(l),
            Of::Keys => HookPoint::KInput(l),
            Of::Values => HookPoint::VInput(l),
        };
        let (first, heads) = self.columns(of);
        let ([b, t, d], width) = (read.dims(), self.spec.d_head);
        let apart = read.clone().reshape([b, t, 1, d]).expand([b, t, heads, d]); // [B, T, H, D]
        let apart = self.tap.four(hook, apart).reshape([b, t * heads, d]); // [B, T H, D]
        let normed = self.plain_norm(Slot::Block(l, Part::AttnNorm), apart);
        let by_head = normed.reshape([b * t, heads, d]).swap_dims(0, 1); // [H, B T, D]
        let Linear { weight, bias } = self.weights.linear(Slot::Block(l, Part::Qkv));
        let by_head = weight.factor(by_head);
        let weight = weight.widened().narrow(1, first * width, heads * width); // [D, H Dh]
        let weight = weight.reshape([d, heads, width]).swap_dims(0, 1); // [H, D, Dh]
        let out = by_head.matmul(weight).swap_dims(0, 1).reshape([b, t, heads, width]); // [B, T, H, Dh]
        match bias {
            Some(bias) => {
                let bias = bias.clone().narrow(0, first * width, heads * width);
                out + bias.reshape([1, 1, heads, width])
            }
            None => out,
        }
    }

    /// The first head of queries, keys or values among all that lie side by side, and how many there are.
    fn columns(&self, of: Of) -> (usize, usize) {
        let (queries, keys) = (self.spec.n_head, self.spec.n_kv_head);
        match of {
            Of::Queries => (0, queries),
            Of::Keys => (queries, keys),
            Of::Values => (queries + keys, keys),
        }
    }

    /// Weighted values of every head, tensor by tensor, `[B, T, H, Dh]`.
    fn weighted_values(&mut self, l: usize, [q, k, v]: [Tensor<4>; 3], past: Option<&[Tensor<4>; 2]>) -> Tensor<4> {
        let (spec, layer) = (self.spec, &self.spec.layers[l]);
        let [b, t, heads, d_head] = q.dims();
        let rotation = self.rotations[l].clone();
        let q = self.tap.four(HookPoint::Q(l), q);
        let k = self.tap.four(HookPoint::K(l), k);
        let v = self.tap.four(HookPoint::V(l), v);
        let (q, k) = if spec.qk_norm {
            let (q, k) = (self.head_norm(l, Part::QNorm, q), self.head_norm(l, Part::KNorm, k));
            (
                self.tap.four(HookPoint::QNormed(l), q),
                self.tap.four(HookPoint::KNormed(l), k),
            )
        } else {
            (q, k)
        };
        let (q, k) = match &rotation {
            Some(rotation) => (
                self.tap.four(HookPoint::RotQ(l), rotated(q, rotation)),
                self.tap.four(HookPoint::RotK(l), rotated(k, rotation)),
            ),
            None => (q, k),
        };
        // Keys and values of all positions, P + T = A of them.
        let behind = |i: usize, now: Tensor<4>| match past {
            Some(past) => Tensor::cat(vec![past[i].clone(), now], 1), // [B, A, K, Dh]
            None => now,
        };
        let (k, v) = (behind(0, k), behind(1, v));
        let all = k.dims()[1];
        let shared = spec.n_head / spec.n_kv_head;
        // A head of keys serves several of queries.
        let spread = |x: Tensor<4>| -> Tensor<4> {
            let by_head = x.swap_dims(1, 2); // [B, K, A, Dh]
            if shared == 1 {
                return by_head;
            }
            let apart = by_head.reshape([b, spec.n_kv_head, 1, all, d_head]); // [B, K, 1, A, Dh]
            apart
                .expand([b, spec.n_kv_head, shared, all, d_head])
                .reshape([b, heads, all, d_head]) // [B, H, A, Dh]
        };
        let (k, v) = (spread(k), spread(v));
        let scores = (q.swap_dims(1, 2) * layer.score_scale).matmul(k.swap_dims(2, 3)); // [B, H, T, A]
        let scores = match spec.score_cap {
            Some(cap) => (scores / cap).tanh() * cap,
            None => scores,
        };
        let mask = Tensor::<2, Bool>::from_data(hidden_keys(self.extent, layer.window), self.device); // [T, A]
        let mask = mask.reshape([1, 1, t, all]).expand([b, heads, t, all]); // [B, H, T, A]
        let scores = self
            .tap
            .by_key(HookPoint::AttnScores(l), scores.mask_fill(mask, MASKED));
        let pattern = self.tap.by_key(HookPoint::Pattern(l), activation::softmax(scores, 3));
        pattern.matmul(v).swap_dims(1, 2) // [B, T, H, Dh]
    }

    /// The root-mean-square norm of every head.
    fn head_norm(&self, l: usize, part: Part, x: Tensor<4>) -> Tensor<4> {
        let scale = self.weights.norm(Slot::Block(l, part)).scale.clone();
        let [_, _, _, d_head] = x.dims();
        let root = (x.clone().square().mean_dim(3) + self.spec.epsilon).sqrt(); // [B, T, H, 1]
        x / root * scale.reshape([1, 1, 1, d_head])
    }

    /// Adds what the heads write to the residual stream, `[B, T, D]`.
    fn write(&mut self, l: usize, z: Tensor<4>, resid: Tensor<3>) -> Tensor<3> {
        let z = self.tap.four(HookPoint::Z(l), z);
        let [b, t, heads, d_head] = z.dims();
        let layer = self.weights.linear(Slot::Block(l, Part::AttnOut));
        let post = self
            .spec
            .post_norms
            .then_some((NormAt::Ln1Post(l), Slot::Block(l, Part::AttnPostNorm)));
        let hook = HookPoint::AttnOut(l);
        if !self.tap.wants(HookPoint::AttnResult(l)) {
            let z = z.reshape([b, t, heads * d_head]); // [B, T, H Dh]
            return self.add(hook, z, layer, post, resid);
        }
        let d = self.spec.d_model;
        let by_head = z.reshape([b * t, heads, d_head]).swap_dims(0, 1); // [H, B T, Dh]
        let by_head = layer.weight.factor(by_head);
        let weight = layer.weight.widened().reshape([heads, d_head, d]); // [H, Dh, D]
        let result = by_head.matmul(weight).swap_dims(0, 1).reshape([b, t, heads, d]); // [B, T, H, D]
        let result = self.tap.four(HookPoint::AttnResult(l), result);
        let out = result.sum_dim(2).reshape([b, t, d]); // [B, T, D]
        let out = match layer.bias {
            Some(bias) => out + bias.clone().reshape([1, 1, d]),
            None => out,
        };
        self.add_output(hook, out, post, resid)
    }
}

/// Turns the pairs of every head by the angles of their positions, `[B, T, H, Dh]`.
fn rotated(x: Tensor<4>, rotation: &Rotation) -> Tensor<4> {
    let ([_, t, _, d_head], pairs) = (x.dims(), rotation.pairs());
    let angles = |values: &[f32]| -> Tensor<4> { kernels::from_vec(values.to_vec(), [1, t, 1, pairs], &x.device()) };
    let (cos, sin) = (angles(rotation.cos()), angles(rotation.sin()));
    let (first, second) = (x.clone().narrow(3, 0, pairs), x.clone().narrow(3, pairs, pairs)); // [B, T, H, pairs]
    let mut parts = vec![
        first.clone() * cos.clone() - second.clone() * sin.clone(),
        second * cos + first * sin,
    ];
    if 2 * pairs < d_head {
        parts.push(x.narrow(3, 2 * pairs, d_head - 2 * pairs));
    }
    Tensor::cat(parts, 3) // [B, T, H, Dh]
}
