//! The forward pass of every family: what a [`Spec`] says, executed line by line, with hooks.
//!
//! ```text
//! x = embed(ids) [* scale] [+ positions]
//! serial block    h = x + [norm] attention(norm(x));   y = h + [norm] mlp(norm(h))
//! parallel block  y = x + attention(norm(x)) + mlp(norm(x))
//! logits = cap(norm(x) · unembed)
//! ```
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `H` heads, `K` heads of keys and values, `Dh` d_head, `M` d_mlp, `V` d_vocab.

use std::rc::Rc;

use burn::tensor::{Device, Tensor, TensorData, module};
use kernels::{Rotation, Weight, linear_activated, linear_gated, rms_norm};

use crate::entry::{Part, Slot};
use crate::rotary::Rotary;
use crate::run::{Past, indices};
use crate::spec::NormKind;
use crate::tap::{Extent, Tap};
use crate::weights::{Linear, Weights};
use crate::{Error, HookPoint, Logits, NormAt, Request, Spec, Start, TokenBatch, Trace};

/// One forward pass.
pub(crate) struct Pass<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) weights: &'a Weights,
    pub(crate) device: &'a Device,
    pub(crate) extent: Extent,
    pub(crate) tap: Tap<'a>,
    /// Rotation of the positions that run, of each layer.
    pub(crate) rotations: Vec<Option<Rc<Rotation>>>,
}

/// Runs the blocks from `first` on (from the embedding where there is none) as far as `request` needs.
pub(crate) fn run(
    spec: &Spec,
    weights: &Weights,
    device: &Device,
    start: Start<'_>,
    first: Option<usize>,
    extent: Extent,
    request: &Request,
) -> Result<Trace, Error> {
    let mut pass = Pass {
        spec,
        weights,
        device,
        extent,
        tap: Tap::new(request, spec, first, extent)?,
        rotations: rotations(spec, extent),
    };
    let last = request.blocks_needed(spec);
    let (mut resid, past) = match start {
        Start::Tokens(batch) => (pass.embed(batch)?, Past::default()), // [B, T, D]
        Start::Resid { resid, past, .. } if device_records(device) => (resid.autodiff(), past),
        Start::Resid { resid, past, .. } => (resid, past),
    };
    let first = first.unwrap_or(0);
    for l in first..last {
        resid = pass.block(l, resid, past.blocks.get(l - first));
    }
    // Asked for before a block that does not run.
    if last < spec.n_layer {
        resid = pass.tap.three(HookPoint::ResidPre(last), resid);
    }
    let final_norm = [
        HookPoint::NormScale(NormAt::Final),
        HookPoint::Normalized(NormAt::Final),
    ];
    if request.logits != Logits::None || pass.tap.wants_any(&final_norm) {
        pass.unembed(resid, &request.logits);
    }
    Ok(pass.tap.trace)
}

fn device_records(device: &Device) -> bool {
    device.gradient_checkpointing_strategy().is_some()
}

/// The rotation of each layer at the positions that run; layers with the same angles share one.
fn rotations(spec: &Spec, extent: Extent) -> Vec<Option<Rc<Rotation>>> {
    let mut made: Vec<(&Rotary, Rc<Rotation>)> = Vec::new();
    spec.layers
        .iter()
        .map(|layer| {
            let rotary = layer.rotary.as_ref()?;
            if let Some((_, rotation)) = made.iter().find(|(known, _)| *known == rotary) {
                return Some(rotation.clone());
            }
            let (factor, frequencies) = (rotary.attention_factor(), rotary.frequencies());
            let rotation = Rc::new(Rotation::new(&frequencies, factor, extent.earlier, extent.len));
            made.push((rotary, rotation.clone()));
            Some(rotation)
        })
        .collect()
}

impl Pass<'_> {
    fn embed(&mut self, batch: &TokenBatch) -> Result<Tensor<3>, Error> {
        let (b, t, d) = (batch.rows(), batch.len(), self.spec.d_model);
        let d_vocab = self.spec.d_vocab;
        if let Some(&found) = batch.ids().iter().find(|&&id| id as usize >= d_vocab) {
            return Err(Error::UnknownToken { found, d_vocab });
        }
        let ids: Vec<usize> = batch.ids().iter().map(|&id| id as usize).collect();
        let table = self.table(Slot::Embed);
        let mut embed = table.select(&ids).reshape([b, t, d]); // [B, T, D]
        if let Some(scale) = self.spec.embed_scale {
            embed = embed * scale as f32;
        }
        let embed = self.tap.three(HookPoint::Embed, embed);
        if !self.spec.learned_positions {
            return Ok(embed);
        }
        let position = self.table(Slot::PosEmbed).slice(0..t).reshape([1, t, d]); // [1, T, D]
        if !self.tap.wants(HookPoint::PosEmbed) {
            return Ok(embed + position);
        }
        Ok(embed + self.tap.three(HookPoint::PosEmbed, position.expand([b, t, d])))
    }

    /// The table of an embedding.
    #[expect(clippy::expect_used, reason = "a model without its tables is a bug of its family")]
    fn table(&self, slot: Slot) -> &Weight {
        self.weights
            .matrix(slot)
            .expect("every table is an entry of its family")
    }

    fn block(&mut self, l: usize, resid: Tensor<3>, past: Option<&[Tensor<4>; 2]>) -> Tensor<3> {
        let slot = |part| Slot::Block(l, part);
        let before = self.tap.three(HookPoint::ResidPre(l), resid); // [B, T, D]
        let attended = self.attention(l, &before, past, before.clone()); // [B, T, D]
        let middle = if self.spec.parallel {
            before
        } else {
            self.tap.three(HookPoint::ResidMid(l), attended.clone())
        };
        let onto = if self.spec.parallel { attended } else { middle.clone() };
        let read = self.tap.three(HookPoint::MlpIn(l), middle);
        let normed = self.norm(NormAt::Ln2(l), slot(Part::MlpNorm), read);
        let normed = self.tap.three(HookPoint::MlpNormed(l), normed);
        let hidden = self.hidden(l, normed); // [B, T, M]
        let post = self
            .spec
            .post_norms
            .then_some((NormAt::Ln2Post(l), slot(Part::MlpPostNorm)));
        let linear = self.weights.linear(slot(Part::MlpOut));
        let resid = self.add(HookPoint::MlpOut(l), hidden, linear, post, onto); // [B, T, D]
        self.tap.three(HookPoint::ResidPost(l), resid)
    }

    /// The hidden layer of the MLP after its activation function, `[B, T, M]`.
    fn hidden(&mut self, l: usize, x: Tensor<3>) -> Tensor<3> {
        let Linear { weight, bias } = self.weights.linear(Slot::Block(l, Part::MlpIn));
        let (m, activation) = (self.spec.d_mlp, self.spec.activation);
        let inner = [HookPoint::MlpPre(l), HookPoint::MlpPreLinear(l)];
        let hidden = match (self.tap.wants_any(&inner), self.spec.gated) {
            (false, true) => linear_gated(x, weight, bias, activation),
            (false, false) => linear_activated(x, weight, bias, activation),
            (true, gated) => {
                let both = kernels::linear(x, weight, bias, None); // [B, T, M] or [B, T, 2 M]
                let gate = self.tap.three(HookPoint::MlpPre(l), both.clone().narrow(2, 0, m)); // [B, T, M]
                let activated = activation.apply(gate);
                if gated {
                    activated * self.tap.three(HookPoint::MlpPreLinear(l), both.narrow(2, m, m))
                } else {
                    activated
                }
            }
        };
        self.tap.three(HookPoint::MlpPost(l), hidden)
    }

    /// Adds what a linear layer gives of `x`, normed where there is a norm for it, to the residual stream; as a tensor of its own
    /// only where it is needed.
    pub(crate) fn add(
        &mut self,
        hook: HookPoint,
        x: Tensor<3>,
        layer: Linear<'_>,
        post: Option<(NormAt, Slot)>,
        resid: Tensor<3>,
    ) -> Tensor<3> {
        if post.is_none() && !self.tap.wants(hook) {
            return kernels::linear(x, layer.weight, layer.bias, Some(resid));
        }
        let out = kernels::linear(x, layer.weight, layer.bias, None);
        self.add_output(hook, out, post, resid)
    }

    /// Adds what attention or the MLP computed to the residual stream.
    pub(crate) fn add_output(
        &mut self,
        hook: HookPoint,
        out: Tensor<3>,
        post: Option<(NormAt, Slot)>,
        resid: Tensor<3>,
    ) -> Tensor<3> {
        let out = match post {
            Some((at, slot)) => self.norm(at, slot, out),
            None => out,
        };
        resid + self.tap.three(hook, out)
    }

    /// A norm with its hooks, `[B, T, D]`.
    pub(crate) fn norm(&mut self, at: NormAt, slot: Slot, x: Tensor<3>) -> Tensor<3> {
        if !self
            .tap
            .wants_any(&[HookPoint::NormScale(at), HookPoint::Normalized(at)])
        {
            return self.plain_norm(slot, x);
        }
        let norm = self.weights.norm(slot);
        let [_, _, d] = x.dims();
        let x = match self.spec.norm {
            NormKind::LayerNorm => x.clone() - x.mean_dim(2), // [B, T, D]
            NormKind::Rms => x,
        };
        let scale = (x.clone().square().mean_dim(2) + self.spec.epsilon).sqrt(); // [B, T, 1]
        let scale = self.tap.three(HookPoint::NormScale(at), scale);
        let normalized = self.tap.three(HookPoint::Normalized(at), x / scale);
        let scaled = normalized * norm.scale.clone().reshape([1, 1, d]);
        match norm.shift {
            Some(shift) => scaled + shift.clone().reshape([1, 1, d]),
            None => scaled,
        }
    }

    /// A norm that nobody looks into.
    pub(crate) fn plain_norm(&self, slot: Slot, x: Tensor<3>) -> Tensor<3> {
        let (norm, epsilon) = (self.weights.norm(slot), self.spec.epsilon);
        match self.spec.norm {
            NormKind::LayerNorm => module::layer_norm(x, norm.scale.clone(), norm.shift.cloned(), epsilon),
            NormKind::Rms => rms_norm(x, norm.scale, epsilon),
        }
    }

    /// The last norm and the unembedding, at the positions asked for only.
    fn unembed(&mut self, resid: Tensor<3>, logits: &Logits) {
        let [b, t, d] = resid.dims();
        let at = |x: Tensor<3>, positions: &[usize]| -> Tensor<2> {
            let flat: Vec<usize> = positions.iter().enumerate().map(|(row, p)| row * t + p).collect();
            x.reshape([b * t, d]).select(0, indices(&flat, &resid.device())) // [B, D]
        };
        let hooks = [
            HookPoint::NormScale(NormAt::Final),
            HookPoint::Normalized(NormAt::Final),
        ];
        // Nobody reads the whole norm: only the rows of the wanted positions are normalised.
        if let (Logits::At(positions), false) = (logits, self.tap.wants_any(&hooks)) {
            let rows = at(resid.clone(), positions).reshape([b, 1, d]); // [B, 1, D]
            let normed = self.plain_norm(Slot::FinalNorm, rows).reshape([b, d]); // [B, D]
            self.tap.trace.logits_at = Some(self.to_logits(normed)); // [B, V]
            return;
        }
        let normed = self.norm(NormAt::Final, Slot::FinalNorm, resid.clone());
        match logits {
            Logits::None => {}
            Logits::All => {
                let logits = self.to_logits(normed.reshape([b * t, d])); // [B T, V]
                self.tap.trace.logits_all = Some(logits.reshape([b, t, self.spec.d_vocab])); // [B, T, V]
            }
            Logits::At(positions) => self.tap.trace.logits_at = Some(self.to_logits(at(normed, positions))), // [B, V]
        }
    }

    /// Logits `[N, V]` of normalised vectors `[N, D]`.
    fn to_logits(&self, normed: Tensor<2>) -> Tensor<2> {
        let slot = if self.spec.tied { Slot::Embed } else { Slot::Unembed };
        let logits = self.table(slot).multiply_transposed(normed);
        let logits = match (self.spec.unembed_bias, self.weights.linear(slot).bias) {
            (true, Some(bias)) => logits + bias.clone().unsqueeze(),
            _ => logits,
        };
        match self.spec.logit_cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }
}

/// Which keys each query sees: true where one is hidden, `[T, A]` of `T` queries behind `earlier` positions.
pub(crate) fn hidden_keys(extent: Extent, window: Option<usize>) -> TensorData {
    let all = extent.earlier + extent.len;
    let hidden = (extent.earlier..all)
        .flat_map(|query| (0..all).map(move |key| key > query || window.is_some_and(|window| key + window <= query)));
    TensorData::new(hidden.collect::<Vec<bool>>(), [extent.len, all])
}
