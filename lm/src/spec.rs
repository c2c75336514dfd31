//! What a model computes, whatever family it is of.

use kernels::Nonlinearity;
use serde::Serialize;

use crate::HookPoint;
use crate::families::Family;
use crate::rotary::Rotary;

/// The kind of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// Mean removed, divided by the standard deviation; with scale and shift.
    LayerNorm,
    /// Divided by the root mean square; with a scale.
    Rms,
}

/// What differs between the layers of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSpec {
    /// Keys that a query sees, itself included; all earlier ones where there is none.
    pub window: Option<usize>,
    /// Rotation of queries and keys; none where positions are learned.
    pub rotary: Option<Rotary>,
    /// Factor of the attention scores.
    pub score_scale: f64,
}

/// Sizes and variants of a model: all that its forward pass follows from, besides the weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spec {
    /// Family whose checkpoints it is stored as.
    pub family: Family,
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads of a block, `H`.
    pub n_head: usize,
    /// Heads of keys and of values, `K`; query head `h` uses head `h K / H` of them.
    pub n_kv_head: usize,
    /// Width of the residual stream, `D`.
    pub d_model: usize,
    /// Width of a head, `Dh`.
    pub d_head: usize,
    /// Width of the MLP, `M`.
    pub d_mlp: usize,
    /// Number of positions.
    pub n_ctx: usize,
    /// Size of the vocabulary, `V`.
    pub d_vocab: usize,
    /// Kind of all norms of the residual stream.
    pub norm: NormKind,
    /// What norms add to the variance or mean square.
    pub epsilon: f64,
    /// Attention and MLP of a block read the same residual stream, and both add to it.
    pub parallel: bool,
    /// What attention and MLP add is normed first.
    pub post_norms: bool,
    /// Every head of queries and keys is normed before the rotation.
    pub qk_norm: bool,
    /// The MLP multiplies the activated gate with a second linear layer.
    pub gated: bool,
    /// Activation function of the MLP.
    pub activation: Nonlinearity,
    /// Each layer's own.
    pub layers: Vec<LayerSpec>,
    /// Bound of attention scores, approached along a hyperbolic tangent.
    pub score_cap: Option<f64>,
    /// Bound of logits, approached along a hyperbolic tangent.
    pub logit_cap: Option<f64>,
    /// Factor of the token embedding.
    pub embed_scale: Option<f64>,
    /// A learned vector for each position is added to the token embedding.
    pub learned_positions: bool,
    /// Biases of queries, keys and values.
    pub qkv_bias: bool,
    /// Bias of what attention adds.
    pub attn_out_bias: bool,
    /// Biases of the MLP.
    pub mlp_bias: bool,
    /// Bias of the logits.
    pub unembed_bias: bool,
    /// The embedding is the unembedding too.
    pub tied: bool,
}

impl Spec {
    /// Width of queries, keys and values side by side, `(H + 2 K) Dh`.
    pub fn qkv_width(&self) -> usize {
        (self.n_head + 2 * self.n_kv_head) * self.d_head
    }

    /// Width of what the first layer of the MLP computes: `M`, or `2 M` where it is gated.
    pub fn mlp_in_width(&self) -> usize {
        if self.gated { 2 * self.d_mlp } else { self.d_mlp }
    }

    /// The hook of the keys that attention multiplies queries with, which [`crate::Past`] takes.
    pub fn key_hook(&self, layer: usize) -> HookPoint {
        match (self.learned_positions, self.qk_norm) {
            (false, _) => HookPoint::RotK(layer),
            (true, true) => HookPoint::KNormed(layer),
            (true, false) => HookPoint::K(layer),
        }
    }

    /// Floating-point operations of a block's linear layers on one token.
    pub fn block_flops(&self) -> f64 {
        let attention = self.qkv_width() + self.n_head * self.d_head;
        let mlp = self.mlp_in_width() + self.d_mlp;
        2.0 * self.d_model as f64 * (attention + mlp) as f64
    }

    /// Floating-point operations of the logits of one position.
    pub fn unembed_flops(&self) -> f64 {
        2.0 * self.d_model as f64 * self.d_vocab as f64
    }
}
