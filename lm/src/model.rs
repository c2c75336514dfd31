//! GPT-2 (Radford et al. 2019): the forward pass with hooks.
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `H` heads, `Dh` d_head, `M` d_mlp, `V` d_vocab.

use std::path::{Path, PathBuf};

use burn::tensor::{Bool, Device, Tensor, activation, module};
use kernels::{causal_attention, linear_gelu_tanh, matmul};

use crate::refactor::refactor;
use crate::run::{Past, indices};
use crate::shards::WeightFiles;
use crate::tap::Tap;
use crate::weights::{self, Linear, Norm, Weights};
use crate::{Activation, Error, HookPoint, Logits, Request, Spec, Start, TokenBatch, Trace, files};

/// Score of a masked key: far below any real one, yet finite, so that no row becomes NaN.
const MASKED: f32 = -1e30;

/// A GPT-2 on a device.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: Spec,
    pub(crate) weights: Weights,
    device: Device,
    hash: String,
    file_hash: String,
    passed_over: Option<PathBuf>,
}

/// What is done to the weights of a model when it is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Fold layer norms, centre weights and factor the matrices of every head anew, which leaves log-probabilities as they
    /// are and makes norms at q, k, v, z comparable between heads. Takes some seconds for GPT-2 small.
    pub refactor_attention: bool,
}

impl Model {
    /// Loads `config.json` and the weights from a Hugging Face folder: `model.safetensors`, or, where that is absent, the files
    /// that `model.safetensors.index.json` names.
    pub fn load(dir: &Path, device: &Device) -> Result<Self, Error> {
        Self::load_with(dir, LoadOptions::default(), device)
    }

    /// The same, with the weights changed as `options` say.
    pub fn load_with(dir: &Path, options: LoadOptions, device: &Device) -> Result<Self, Error> {
        let config = Spec::read(&dir.join("config.json"))?;
        let found = WeightFiles::find(dir)?;
        let mut tensors = weights::checked(found.read()?, &found.path(), &config)?;
        let of_weights = found.hash()?;
        let file_hash = files::sha256_hex(format!("{} {of_weights}", config.to_hugging_face(0)).as_bytes());
        let mut hash = file_hash.clone();
        if options.refactor_attention {
            refactor(&config, &mut tensors);
            hash = files::sha256_hex(format!("refactor_attention {file_hash}").as_bytes());
        }
        let weights = Weights::from_host(&config, &tensors, device);
        Ok(Self {
            config,
            weights,
            device: device.clone(),
            hash,
            file_hash,
            passed_over: found.passed_over(),
        })
    }

    /// A model of invented weights that other languages compute alike, for measurements and comparisons at full size; its
    /// hash is empty, since it has no file.
    ///
    /// `scripts/gpt2_geometry.py` says which weights.
    pub fn hashed(config: Spec, device: &Device) -> Self {
        let weights = Weights::from_host(&config, &weights::hashed(&config), device);
        Self::from_weights(config, weights, device)
    }

    /// A model of weights made elsewhere (training); its hashes are empty, since it has no file.
    pub(crate) fn from_weights(config: Spec, weights: Weights, device: &Device) -> Self {
        Self {
            config,
            weights,
            device: device.clone(),
            hash: String::new(),
            file_hash: String::new(),
            passed_over: None,
        }
    }

    /// Sizes and variants.
    pub fn spec(&self) -> &Spec {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What identifies the activations of this model: [`Model::file_hash`], another one with changed weights.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What identifies the behaviour, whatever was done to the weights: SHA-256 of that of the weights and of all that
    /// `config.json` says of the computation. Of weights in several files it is the SHA-256 of a line for each, its SHA-256 in
    /// hexadecimal digits, in the order of the files' names; so other shards of the same tensors count as another model.
    pub fn file_hash(&self) -> &str {
        &self.file_hash
    }

    /// An index of shards that lies beside `model.safetensors` and was not followed.
    pub fn passed_over_index(&self) -> Option<&Path> {
        self.passed_over.as_deref()
    }

    /// Runs the model from `start` as far as `request` needs.
    ///
    /// # Errors
    ///
    /// A hook that the model does not have, values of another shape, ids outside the vocabulary, too many tokens.
    pub fn run(&self, start: Start<'_>, request: &Request) -> Result<Trace, Error> {
        let config = &self.config;
        let (first, rows, len, earlier) = start.shape(config)?;
        if earlier + len > config.n_ctx {
            return Err(Error::TooLong {
                found: earlier + len,
                n_ctx: config.n_ctx,
            });
        }
        if let Logits::At(positions) = &request.logits
            && (positions.len() != rows || positions.iter().any(|&position| position >= len))
        {
            let reason = format!("positions must be one per row ({rows}), each below {len}");
            return Err(Error::Hook {
                hook: "logits".to_owned(),
                reason,
            });
        }
        let mut tap = Tap::new(request, config, first, rows, [earlier, len])?;
        let last = match request.logits {
            Logits::None => request
                .capture
                .iter()
                .map(|hook| hook.blocks_needed(config))
                .max()
                .unwrap_or(0),
            _ => config.n_layer,
        };
        let wants_final = request.logits != Logits::None || request.capture.contains(&HookPoint::LnFinal);

        let (mut resid, past) = match start {
            Start::Tokens(batch) => (self.embed(batch, &mut tap)?, Past::default()), // [B, T, D]
            Start::Resid { resid, past, .. } => (resid, past),
        };
        let all = earlier + len;
        let mask = Tensor::<2, Bool>::tril_mask([len, all], earlier as i64, &self.device); // true: hidden
        let mask = mask.reshape([1, 1, len, all]);
        let first = first.unwrap_or(0);
        for l in first..last {
            resid = self.block(l, resid, past.blocks.get(l - first), &mask, &mut tap);
        }
        // Asked for before a block that does not run.
        if last < config.n_layer {
            resid = tap.three(HookPoint::ResidPre(last), resid);
        }
        if wants_final {
            self.unembed(resid, &request.logits, &mut tap);
        }
        Ok(tap.trace)
    }

    fn embed(&self, batch: &TokenBatch, tap: &mut Tap<'_>) -> Result<Tensor<3>, Error> {
        let (b, t, d) = (batch.rows(), batch.len(), self.config.d_model);
        let d_vocab = self.config.d_vocab;
        if let Some(&found) = batch.ids().iter().find(|&&id| id as usize >= d_vocab) {
            return Err(Error::UnknownToken { found, d_vocab });
        }
        let ids: Vec<usize> = batch.ids().iter().map(|&id| id as usize).collect();
        let embed = self
            .weights
            .wte
            .clone()
            .select(0, indices(&ids, &self.device))
            .reshape([b, t, d]); // [B, T, D]
        let embed = tap.three(HookPoint::Embed, embed);
        let position = self.weights.wpe.clone().slice([0..t, 0..d]).reshape([1, t, d]); // [1, T, D]
        if !tap.wants(HookPoint::PosEmbed) {
            return Ok(embed + position);
        }
        Ok(embed + tap.three(HookPoint::PosEmbed, position.expand([b, t, d])))
    }

    fn block(
        &self,
        l: usize,
        resid: Tensor<3>,
        past: Option<&[Tensor<4>; 2]>,
        mask: &Tensor<4, Bool>,
        tap: &mut Tap<'_>,
    ) -> Tensor<3> {
        let block = &self.weights.blocks[l];
        let resid = tap.three(HookPoint::ResidPre(l), resid); // [B, T, D]
        let normed = self.norm(resid.clone(), &block.norm_1);
        let z = self.attention(l, normed, past, mask, tap); // [B, T, D]
        let resid = add(HookPoint::AttnOut(l), z, &block.out, resid, tap);
        let resid = tap.three(HookPoint::ResidMid(l), resid);
        let hidden = activated(
            self.config.activation,
            self.norm(resid.clone(), &block.norm_2),
            &block.up,
        );
        let hidden = tap.three(HookPoint::MlpPost(l), hidden); // [B, T, M]
        let resid = add(HookPoint::MlpOut(l), hidden, &block.down, resid, tap);
        tap.three(HookPoint::ResidPost(l), resid)
    }

    /// Attention up to its output matrix: the heads' weighted values side by side, `[B, T, D]`.
    fn attention(
        &self,
        l: usize,
        x: Tensor<3>,
        past: Option<&[Tensor<4>; 2]>,
        mask: &Tensor<4, Bool>,
        tap: &mut Tap<'_>,
    ) -> Tensor<3> {
        let block = &self.weights.blocks[l];
        let Spec {
            n_head,
            d_head,
            d_model,
            ..
        } = self.config;
        let [b, t, _] = x.dims();
        let mut scale = 1.0;
        if self.config.scale_attn_weights {
            scale /= (d_head as f64).sqrt();
        }
        if self.config.scale_attn_by_inverse_layer_idx {
            scale /= (l + 1) as f64;
        }
        let qkv = linear(x, &block.qkv); // [B, T, 3 D]
        let inner = [HookPoint::Q(l), HookPoint::K(l), HookPoint::V(l), HookPoint::Pattern(l)];
        if past.is_none()
            && !inner.into_iter().any(|hook| tap.wants(hook))
            && let Some(z) = causal_attention(&qkv, n_head, scale)
        {
            let z = tap.four(HookPoint::Z(l), z.reshape([b, t, n_head, d_head])); // [B, T, H, Dh]
            return z.reshape([b, t, d_model]);
        }
        let parts = qkv.reshape([b, t, 3, n_head, d_head]); // [B, T, 3, H, Dh]
        let part = |i: usize| -> Tensor<4> { parts.clone().narrow(2, i, 1).reshape([b, t, n_head, d_head]) };
        let q = tap.four(HookPoint::Q(l), part(0)).swap_dims(1, 2); // [B, H, T, Dh]
        // Keys and values of all positions, P + T = A of them.
        let behind = |i: usize, now: Tensor<4>| match past {
            Some(past) => Tensor::cat(vec![past[i].clone(), now], 1), // [B, A, H, Dh]
            None => now,
        };
        let k = behind(0, tap.four(HookPoint::K(l), part(1))).swap_dims(1, 2); // [B, H, A, Dh]
        let v = behind(1, tap.four(HookPoint::V(l), part(2))).swap_dims(1, 2); // [B, H, A, Dh]
        let all = k.dims()[2];
        let scores = (q * scale).matmul(k.swap_dims(2, 3)); // [B, H, T, A]
        let scores = scores.mask_fill(mask.clone().expand([b, n_head, t, all]), MASKED);
        let pattern = tap.pattern(HookPoint::Pattern(l), activation::softmax(scores, 3));
        let z = pattern.matmul(v).swap_dims(1, 2); // [B, T, H, Dh]
        tap.four(HookPoint::Z(l), z).reshape([b, t, d_model]) // [B, T, D]
    }

    fn norm(&self, x: Tensor<3>, norm: &Norm) -> Tensor<3> {
        module::layer_norm(
            x,
            norm.scale.clone(),
            Some(norm.shift.clone()),
            self.config.layer_norm_epsilon,
        )
    }

    /// Logits `[N, V]` of normalised vectors `[N, D]`.
    fn to_logits(&self, normed: Tensor<2>) -> Tensor<2> {
        match &self.weights.unembed {
            None => matmul(normed, self.weights.wte.clone().transpose()),
            Some(own) => matmul(normed, own.weight.clone().transpose()) + own.bias.clone().unsqueeze(),
        }
    }

    /// The last layer norm and the unembedding, at the positions asked for only.
    fn unembed(&self, resid: Tensor<3>, logits: &Logits, tap: &mut Tap<'_>) {
        let [b, t, d] = resid.dims();
        let norm = &self.weights.norm_final;
        let at = |x: Tensor<3>, positions: &[usize]| -> Tensor<2> {
            let flat: Vec<usize> = positions.iter().enumerate().map(|(row, p)| row * t + p).collect();
            x.reshape([b * t, d]).select(0, indices(&flat, &self.device)) // [B, D]
        };
        // Nobody reads the whole layer norm: only the rows of the wanted positions are normalised.
        if let (Logits::At(positions), false) = (logits, tap.wants(HookPoint::LnFinal)) {
            let rows = self.norm(at(resid, positions).reshape([b, 1, d]), norm); // [B, 1, D]
            tap.trace.logits_at = Some(self.to_logits(rows.reshape([b, d]))); // [B, V]
            return;
        }
        let normed: Tensor<3> = if tap.wants(HookPoint::LnFinal) {
            let ones = Tensor::<1>::ones([d], &self.device);
            let normed = module::layer_norm(resid, ones, None, self.config.layer_norm_epsilon);
            let normed = tap.three(HookPoint::LnFinal, normed);
            normed * norm.scale.clone().reshape([1, 1, d]) + norm.shift.clone().reshape([1, 1, d])
        } else {
            self.norm(resid, norm)
        };
        match logits {
            Logits::None => {}
            Logits::All => {
                let logits = self.to_logits(normed.reshape([b * t, d])); // [B T, V]
                tap.trace.logits_all = Some(logits.reshape([b, t, self.config.d_vocab])); // [B, T, V]
            }
            Logits::At(positions) => tap.trace.logits_at = Some(self.to_logits(at(normed, positions))), // [B, V]
        }
    }
}

/// `x · weight + bias` on `[B, T, in]`.
fn linear(x: Tensor<3>, linear: &Linear) -> Tensor<3> {
    kernels::linear(x, &linear.weight, &linear.bias, None)
}

/// Adds what a linear layer gives of `x` to the residual stream; as a tensor of its own only where `hook` is wanted.
fn add(hook: HookPoint, x: Tensor<3>, layer: &Linear, resid: Tensor<3>, tap: &mut Tap<'_>) -> Tensor<3> {
    match tap.wants(hook) {
        true => resid + tap.three(hook, linear(x, layer)),
        false => kernels::linear(x, &layer.weight, &layer.bias, Some(resid)),
    }
}

/// The activation of what a linear layer gives of `x`.
fn activated(activation: Activation, x: Tensor<3>, layer: &Linear) -> Tensor<3> {
    match activation {
        Activation::GeluTanh => linear_gelu_tanh(x, &layer.weight, &layer.bias),
        Activation::GeluErf => activation::gelu(linear(x, layer)),
        Activation::Relu => activation::relu(linear(x, layer)),
    }
}
