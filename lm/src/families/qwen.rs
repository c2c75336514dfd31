//! Qwen 2 and 2.5 (biases of q, k and v) and Qwen 3 (norms of q and k): Llama's blocks, with a window in the upper layers of some.
//!
//! Source: `Qwen2ForCausalLM` and `Qwen3ForCausalLM` of transformers.

use serde_json::Value;

use super::Family;
use super::config::Config;
use super::llama::{Defaults, serial};
use crate::{Error, Spec};

/// What both leave out of their configs.
const DEFAULTS: Defaults = Defaults {
    key_value_heads: Some(32),
    d_head: None,
    n_ctx: 32_768,
    activation: ("hidden_act", "silu"),
    tied: false,
    rope_kind: None,
    theta: 1e4,
};

/// The config of a Qwen 2 or 2.5.
pub(super) fn qwen2(config: &Config) -> Result<Spec, Error> {
    let mut spec = serial(config, Family::Qwen, &DEFAULTS)?;
    spec.qkv_bias = true;
    windows(config, &mut spec)?;
    Ok(spec)
}

/// The config of a Qwen 3.
pub(super) fn qwen3(config: &Config) -> Result<Spec, Error> {
    let defaults = Defaults {
        d_head: Some(128),
        ..DEFAULTS
    };
    let mut spec = serial(config, Family::Qwen, &defaults)?;
    spec.qkv_bias = config.flag_or("attention_bias", false)?;
    spec.attn_out_bias = spec.qkv_bias;
    spec.qk_norm = true;
    windows(config, &mut spec)?;
    Ok(spec)
}

/// The layers whose queries see a window: those that `layer_types` names, else those from `max_window_layers` on; none unless
/// `use_sliding_window` is set.
fn windows(config: &Config, spec: &mut Spec) -> Result<(), Error> {
    let used = config.flag_or("use_sliding_window", false)?;
    let window = match config.get("sliding_window") {
        Value::Null => 4096,
        _ => config.size("sliding_window")?,
    };
    let from = match config.get("max_window_layers") {
        Value::Null => 28,
        // Zero is a number of layers too.
        value => value
            .as_u64()
            .and_then(|from| usize::try_from(from).ok())
            .ok_or_else(|| config.unsupported("max_window_layers", value, "a whole number"))?,
    };
    let kinds = layer_types(config, spec.n_layer)?;
    for (l, layer) in spec.layers.iter_mut().enumerate() {
        let slides = kinds.as_ref().map_or(used && l >= from, |kinds| kinds[l]);
        layer.window = slides.then_some(window);
    }
    Ok(())
}

/// `layer_types`, if given: for each layer whether its attention slides.
pub(super) fn layer_types(config: &Config, n_layer: usize) -> Result<Option<Vec<bool>>, Error> {
    let value = config.get("layer_types");
    if value.is_null() {
        return Ok(None);
    }
    let kinds = value.as_array().map(|kinds| {
        let slides = |kind: &Value| match kind.as_str() {
            Some("sliding_attention") => Some(true),
            Some("full_attention") => Some(false),
            _ => None,
        };
        kinds.iter().map(slides).collect::<Option<Vec<bool>>>()
    });
    match kinds.flatten() {
        Some(kinds) if kinds.len() == n_layer => Ok(Some(kinds)),
        _ => {
            let supported = "sliding_attention or full_attention for each layer";
            Err(config.unsupported("layer_types", value, supported))
        }
    }
}
