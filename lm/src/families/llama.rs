//! Llama, SmolLM2 and Mistral: `h = x + A(N1 x)`, `y = h + P(N2 h)` with RMS norms, rotary positions, a gated MLP, and fewer heads
//! of keys and values than of queries.
//!
//! Source: `LlamaForCausalLM` and `MistralForCausalLM` of transformers.

use super::Family;
use super::config::Config;
use super::rope::{self, Keys};
use crate::entry::{Entry, Form, Kind, Part, Slot};
use crate::spec::{LayerSpec, NormKind};
use crate::{Error, Spec};

/// Values of keys that a `config.json` may leave out.
pub(super) struct Defaults {
    pub(super) key_value_heads: Option<usize>,
    pub(super) d_head: Option<usize>,
    pub(super) n_ctx: usize,
    pub(super) activation: (&'static str, &'static str),
    pub(super) tied: bool,
    /// The kind of layer whose rotation is that of the model, where several have their own.
    pub(super) rope_kind: Option<&'static str>,
    pub(super) theta: f64,
}

/// Of Llama.
const LLAMA: Defaults = Defaults {
    key_value_heads: None,
    d_head: None,
    n_ctx: 2048,
    activation: ("hidden_act", "silu"),
    tied: false,
    rope_kind: None,
    theta: 1e4,
};

/// The config of a Llama.
pub(super) fn spec(config: &Config) -> Result<Spec, Error> {
    let mut spec = serial(config, Family::Llama, &LLAMA)?;
    spec.qkv_bias = config.flag_or("attention_bias", false)?;
    spec.attn_out_bias = spec.qkv_bias;
    spec.mlp_bias = config.flag_or("mlp_bias", false)?;
    Ok(spec)
}

/// The config of a Mistral: a Llama whose queries may see a window of keys only.
pub(super) fn mistral(config: &Config) -> Result<Spec, Error> {
    let defaults = Defaults {
        key_value_heads: Some(8),
        n_ctx: 131_072,
        ..LLAMA
    };
    let mut spec = serial(config, Family::Llama, &defaults)?;
    // Null says that there is none, as later versions do; an absent key means the default.
    let window = if config.has("sliding_window") {
        window(config)?
    } else {
        Some(4096)
    };
    spec.layers.iter_mut().for_each(|layer| layer.window = window);
    Ok(spec)
}

/// `sliding_window`, if there is one.
pub(super) fn window(config: &Config) -> Result<Option<usize>, Error> {
    match config.get("sliding_window") {
        serde_json::Value::Null => Ok(None),
        _ => config.size("sliding_window").map(Some),
    }
}

/// What all models with serial blocks and RMS norms have in common, with one rotation in all layers.
pub(super) fn serial(config: &Config, family: Family, defaults: &Defaults) -> Result<Spec, Error> {
    let (n_layer, n_head) = (config.layers("num_hidden_layers")?, config.size("num_attention_heads")?);
    let d_model = config.size("hidden_size")?;
    let n_kv_head = config.size_or("num_key_value_heads", defaults.key_value_heads.unwrap_or(n_head))?;
    if !n_head.is_multiple_of(n_kv_head) {
        return Err(config.unsupported("num_key_value_heads", n_kv_head, "a divisor of num_attention_heads"));
    }
    let d_head = head_width(config, d_model, n_head, defaults.d_head)?;
    let n_ctx = config.size_or("max_position_embeddings", defaults.n_ctx)?;
    let rotary = rope::rotary(
        config,
        &Keys {
            kind: defaults.rope_kind,
            theta: "rope_theta",
            default_theta: defaults.theta,
            scaled: true,
            dims: d_head,
            n_ctx,
        },
    )?;
    let layer = LayerSpec {
        window: None,
        rotary: Some(rotary),
        score_scale: (d_head as f64).powf(-0.5),
    };
    Ok(Spec {
        family,
        n_layer,
        n_head,
        n_kv_head,
        d_model,
        d_head,
        d_mlp: config.size("intermediate_size")?,
        n_ctx,
        d_vocab: config.size("vocab_size")?,
        norm: NormKind::Rms,
        epsilon: config.number_or("rms_norm_eps", 1e-6)?,
        parallel: false,
        post_norms: false,
        qk_norm: false,
        gated: true,
        activation: config.activation(defaults.activation.0, defaults.activation.1)?,
        layers: vec![layer; n_layer],
        score_cap: None,
        logit_cap: None,
        embed_scale: None,
        learned_positions: false,
        qkv_bias: false,
        attn_out_bias: false,
        mlp_bias: false,
        unembed_bias: false,
        tied: config.flag_or("tie_word_embeddings", defaults.tied)?,
    })
}

/// Width of a head: `head_dim`, else the family's, else `D / H`.
pub(super) fn head_width(
    config: &Config,
    d_model: usize,
    n_head: usize,
    default: Option<usize>,
) -> Result<usize, Error> {
    let d_head = match (config.get("head_dim").is_null(), default) {
        (false, _) => config.size("head_dim")?,
        (true, Some(d_head)) => d_head,
        (true, None) if d_model.is_multiple_of(n_head) => d_model / n_head,
        (true, None) => return Err(config.unsupported("hidden_size", d_model, "a multiple of num_attention_heads")),
    };
    if !d_head.is_multiple_of(2) {
        return Err(config.unsupported("head_dim", d_head, "an even number"));
    }
    Ok(d_head)
}

/// The parameters of a model with serial blocks: embedding, blocks, last norm, unembedding.
pub(super) fn entries(spec: &Spec) -> Vec<Entry> {
    let mut entries = vec![Entry::matrix(
        "embed_tokens.weight",
        Slot::Embed,
        [spec.d_vocab, spec.d_model],
    )];
    for l in 0..spec.n_layer {
        entries.push(norm(spec, l, "input_layernorm", Part::AttnNorm));
        entries.extend(attention(spec, l));
        entries.push(norm(spec, l, "post_attention_layernorm", Part::MlpNorm));
        entries.extend(gated_mlp(spec, l));
    }
    entries.extend(last(spec, Form::AsStored));
    entries
}

fn norm(spec: &Spec, l: usize, name: &str, part: Part) -> Entry {
    let name = format!("layers.{l}.{name}.weight");
    Entry::vector(&name, Slot::Block(l, part), Kind::Weight, spec.d_model)
}

/// The parameters of attention: q, k, v side by side, norms of q and k, the output matrix.
pub(super) fn attention(spec: &Spec, l: usize) -> Vec<Entry> {
    let name = |part: &str, kind: &str| format!("layers.{l}.self_attn.{part}.{kind}");
    let (queries, keys) = (spec.n_head * spec.d_head, spec.n_kv_head * spec.d_head);
    let parts = [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)];
    let qkv = Slot::Block(l, Part::Qkv);
    let mut entries = Vec::new();
    for (kind, suffix, there) in [(Kind::Weight, "weight", true), (Kind::Bias, "bias", spec.qkv_bias)] {
        let mut first = 0;
        for (part, width) in parts.into_iter().filter(|_| there) {
            let of = Entry::columns(&name(part, suffix), qkv, kind, spec.d_model, width);
            entries.push(of.at_column(first, spec.qkv_width()));
            first += width;
        }
    }
    if spec.qk_norm {
        for (part, place) in [("q_norm", Part::QNorm), ("k_norm", Part::KNorm)] {
            let slot = Slot::Block(l, place);
            entries.push(Entry::vector(&name(part, "weight"), slot, Kind::Weight, spec.d_head));
        }
    }
    let out = Slot::Block(l, Part::AttnOut);
    entries.push(Entry::columns(
        &name("o_proj", "weight"),
        out,
        Kind::Weight,
        queries,
        spec.d_model,
    ));
    if spec.attn_out_bias {
        entries.push(Entry::vector(&name("o_proj", "bias"), out, Kind::Bias, spec.d_model));
    }
    entries
}

/// The parameters of a gated MLP: gate and up side by side, down.
pub(super) fn gated_mlp(spec: &Spec, l: usize) -> Vec<Entry> {
    let name = |part: &str, kind: &str| format!("layers.{l}.mlp.{part}.{kind}");
    let (slot, m) = (Slot::Block(l, Part::MlpIn), spec.d_mlp);
    let mut entries = Vec::new();
    for (kind, suffix, there) in [(Kind::Weight, "weight", true), (Kind::Bias, "bias", spec.mlp_bias)] {
        for (place, part) in ["gate_proj", "up_proj"].into_iter().filter(|_| there).enumerate() {
            let of = Entry::columns(&name(part, suffix), slot, kind, spec.d_model, m);
            entries.push(of.at_column(place * m, 2 * m));
        }
    }
    let out = Slot::Block(l, Part::MlpOut);
    entries.push(Entry::columns(
        &name("down_proj", "weight"),
        out,
        Kind::Weight,
        m,
        spec.d_model,
    ));
    if spec.mlp_bias {
        entries.push(Entry::vector(&name("down_proj", "bias"), out, Kind::Bias, spec.d_model));
    }
    entries
}

/// The last norm, whose scale has `form`, and the unembedding.
pub(super) fn last(spec: &Spec, form: Form) -> Vec<Entry> {
    let norm = Entry::vector("norm.weight", Slot::FinalNorm, Kind::Weight, spec.d_model);
    let mut entries = vec![norm.in_form(form)];
    if !spec.tied {
        entries.push(Entry::matrix(
            spec.family.unembed_name(),
            Slot::Unembed,
            [spec.d_vocab, spec.d_model],
        ));
    }
    entries
}
