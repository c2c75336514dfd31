//! Gemma 2 and Gemma 3 (text): `h = x + Npa(A(Nin x))`, `y = h + Npf(P(Npre h))`, norms whose weights are stored as what is added
//! to 1, an embedding times the root of `D`, and windows in most layers. Gemma 2 caps scores and logits; Gemma 3 norms q and k and
//! turns the layers with a window by another base.
//!
//! Source: `Gemma2ForCausalLM` and `Gemma3ForCausalLM` of transformers.

use super::Family;
use super::config::Config;
use super::llama::{Defaults, attention, gated_mlp, last, serial, window};
use super::qwen::layer_types;
use super::rope::{self, Keys};
use crate::entry::{Entry, Form, Kind, Part, Slot};
use crate::{Error, Spec};

/// What both leave out of their configs.
const DEFAULTS: Defaults = Defaults {
    key_value_heads: Some(4),
    d_head: Some(256),
    n_ctx: 8192,
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
    tied: true,
    rope_kind: None,
    theta: 1e4,
};

/// The config of a Gemma 2.
pub(super) fn gemma2(config: &Config) -> Result<Spec, Error> {
    // Files carry a `hidden_act` that the model does not read.
    config.get("hidden_act");
    let mut spec = common(config, &DEFAULTS)?;
    spec.score_cap = cap(config, "attn_logit_softcapping", Some(50.0))?;
    spec.logit_cap = cap(config, "final_logit_softcapping", Some(30.0))?;
    let kinds = layer_types(config, spec.n_layer)?;
    let window = window_or(config, 4096)?;
    for (l, layer) in spec.layers.iter_mut().enumerate() {
        let slides = kinds.as_ref().map_or(l % 2 == 0, |kinds| kinds[l]);
        layer.window = slides.then_some(window);
    }
    Ok(spec)
}

/// The config of a Gemma 3, text only.
pub(super) fn gemma3(config: &Config) -> Result<Spec, Error> {
    let defaults = Defaults {
        n_ctx: 131_072,
        rope_kind: Some("full_attention"),
        theta: 1e6,
        ..DEFAULTS
    };
    config.get("hidden_act");
    // Bounded scores are Gemma 2's; the key is there and not read.
    config.get("attn_logit_softcapping");
    config.must_be("use_bidirectional_attention", &false.into(), "false")?;
    let mut spec = common(config, &defaults)?;
    spec.qk_norm = true;
    spec.logit_cap = cap(config, "final_logit_softcapping", None)?;
    let pattern = config.size_or("sliding_window_pattern", 6)?;
    let kinds = layer_types(config, spec.n_layer)?;
    let window = window_or(config, 4096)?;
    let sliding = rope::rotary(
        config,
        &Keys {
            kind: Some("sliding_attention"),
            theta: "rope_local_base_freq",
            default_theta: 1e4,
            scaled: false,
            dims: spec.d_head,
            n_ctx: spec.n_ctx,
        },
    )?;
    for (l, layer) in spec.layers.iter_mut().enumerate() {
        let slides = kinds
            .as_ref()
            .map_or(!(l + 1).is_multiple_of(pattern), |kinds| kinds[l]);
        if slides {
            layer.window = Some(window);
            layer.rotary = Some(sliding.clone());
        }
    }
    Ok(spec)
}

/// What both have in common.
fn common(config: &Config, defaults: &Defaults) -> Result<Spec, Error> {
    let mut spec = serial(config, Family::Gemma, defaults)?;
    spec.post_norms = true;
    spec.qkv_bias = config.flag_or("attention_bias", false)?;
    spec.attn_out_bias = spec.qkv_bias;
    spec.embed_scale = Some((spec.d_model as f64).sqrt());
    let scale = config.number_or("query_pre_attn_scalar", 256.0)?.powf(-0.5);
    spec.layers.iter_mut().for_each(|layer| layer.score_scale = scale);
    Ok(spec)
}

/// A bound: null says that there is none, an absent key means `default`.
fn cap(config: &Config, key: &str, default: Option<f64>) -> Result<Option<f64>, Error> {
    if config.has(key) {
        config.number(key)
    } else {
        Ok(default)
    }
}

fn window_or(config: &Config, default: usize) -> Result<usize, Error> {
    Ok(window(config)?.unwrap_or(default))
}

/// The parameters, with four norms in a block.
pub(super) fn entries(spec: &Spec) -> Vec<Entry> {
    let mut entries = vec![Entry::matrix(
        "embed_tokens.weight",
        Slot::Embed,
        [spec.d_vocab, spec.d_model],
    )];
    for l in 0..spec.n_layer {
        let norms = [
            ("input_layernorm", Part::AttnNorm),
            ("post_attention_layernorm", Part::AttnPostNorm),
            ("pre_feedforward_layernorm", Part::MlpNorm),
            ("post_feedforward_layernorm", Part::MlpPostNorm),
        ];
        entries.extend(norms.map(|(name, part)| {
            let name = format!("layers.{l}.{name}.weight");
            Entry::vector(&name, Slot::Block(l, part), Kind::Weight, spec.d_model).in_form(Form::PlusOne)
        }));
        entries.extend(attention(spec, l).into_iter().map(|entry| match entry.slot {
            Slot::Block(_, Part::QNorm | Part::KNorm) => entry.in_form(Form::PlusOne),
            _ => entry,
        }));
        entries.extend(gated_mlp(spec, l));
    }
    entries.extend(last(spec, Form::PlusOne));
    entries
}
