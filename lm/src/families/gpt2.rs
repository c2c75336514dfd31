//! GPT-2: layer norms, learned positions, an MLP of two matrices, biases everywhere, tied embeddings.
//!
//! Linear layers are Conv1D there, stored `[in, out]`. Source: `GPT2LMHeadModel` of transformers; Radford et al. 2019.

use kernels::Nonlinearity;
use serde_json::{Value, json};

use super::Family;
use super::config::Config;
use crate::entry::{Entry, Kind, Part, Slot};
use crate::spec::{LayerSpec, NormKind};
use crate::{Error, Spec};

/// The config of a GPT-2.
pub(super) fn spec(config: &Config) -> Result<Spec, Error> {
    let (n_layer, n_head) = (config.layers("n_layer")?, config.size("n_head")?);
    let (d_model, n_ctx) = (config.size("n_embd")?, config.size("n_positions")?);
    if !d_model.is_multiple_of(n_head) {
        return Err(config.unsupported("n_embd", d_model, "a multiple of n_head"));
    }
    let (by_width, by_layer) = (
        config.flag_or("scale_attn_weights", true)?,
        config.flag_or("scale_attn_by_inverse_layer_idx", false)?,
    );
    let mut spec = Spec::gpt2(n_layer, n_head, d_model, n_ctx, config.size("vocab_size")?);
    spec.d_mlp = config.size_or("n_inner", 4 * d_model)?;
    spec.epsilon = config.number_or("layer_norm_epsilon", 1e-5)?;
    spec.activation = config.activation("activation_function", "gelu_new")?;
    spec.tied = config.flag_or("tie_word_embeddings", true)?;
    for (l, layer) in spec.layers.iter_mut().enumerate() {
        layer.score_scale = score_scale(l, spec.d_head, by_width, by_layer);
    }
    Ok(spec)
}

/// Factor of the scores of layer `l`.
fn score_scale(l: usize, d_head: usize, by_width: bool, by_layer: bool) -> f64 {
    let mut scale = 1.0;
    if by_width {
        scale /= (d_head as f64).sqrt();
    }
    if by_layer {
        scale /= (l + 1) as f64;
    }
    scale
}

impl Spec {
    /// GPT-2's computation at the given sizes, for a model that is trained here.
    pub fn gpt2(n_layer: usize, n_head: usize, d_model: usize, n_ctx: usize, d_vocab: usize) -> Self {
        let d_head = d_model / n_head;
        let layer = LayerSpec {
            window: None,
            rotary: None,
            score_scale: score_scale(0, d_head, true, false),
        };
        Self {
            family: Family::Gpt2,
            n_layer,
            n_head,
            n_kv_head: n_head,
            d_model,
            d_head,
            d_mlp: 4 * d_model,
            n_ctx,
            d_vocab,
            norm: NormKind::LayerNorm,
            epsilon: 1e-5,
            parallel: false,
            post_norms: false,
            qk_norm: false,
            gated: false,
            activation: Nonlinearity::GeluTanh,
            layers: vec![layer; n_layer],
            score_cap: None,
            logit_cap: None,
            embed_scale: None,
            learned_positions: true,
            qkv_bias: true,
            attn_out_bias: true,
            mlp_bias: true,
            unembed_bias: false,
            tied: true,
        }
    }
}

/// `config.json` of a GPT-2 for `GPT2LMHeadModel.from_pretrained`; `bos` begins and ends a text.
pub fn to_hugging_face(spec: &Spec, bos: u32) -> Value {
    let scale = |l: usize| spec.layers.get(l).map_or(1.0, |layer| layer.score_scale);
    json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "activation_function": match spec.activation {
            Nonlinearity::GeluTanh => "gelu_new",
            Nonlinearity::GeluErf => "gelu",
            Nonlinearity::Relu => "relu",
            Nonlinearity::Silu => "silu",
        },
        "bos_token_id": bos,
        "eos_token_id": bos,
        "layer_norm_epsilon": spec.epsilon,
        "n_ctx": spec.n_ctx,
        "n_embd": spec.d_model,
        "n_head": spec.n_head,
        "n_inner": spec.d_mlp,
        "n_layer": spec.n_layer,
        "n_positions": spec.n_ctx,
        "scale_attn_by_inverse_layer_idx": spec.n_layer > 1 && scale(1) != scale(0),
        "scale_attn_weights": scale(0) != 1.0 || spec.d_head == 1,
        "tie_word_embeddings": spec.tied,
        "torch_dtype": "float32",
        "vocab_size": spec.d_vocab,
    })
}

/// The parameters, in the order of a checkpoint.
pub(super) fn entries(spec: &Spec) -> Vec<Entry> {
    let (d, m) = (spec.d_model, spec.d_mlp);
    let mut entries = vec![
        Entry::matrix(spec.family.embed_name(), Slot::Embed, [spec.d_vocab, d]),
        Entry::matrix("wpe.weight", Slot::PosEmbed, [spec.n_ctx, d]),
    ];
    for l in 0..spec.n_layer {
        let slot = |part| Slot::Block(l, part);
        entries.extend(norm(&format!("h.{l}.ln_1"), slot(Part::AttnNorm), d));
        entries.extend(linear(&format!("h.{l}.attn.c_attn"), slot(Part::Qkv), [d, 3 * d]));
        entries.extend(linear(&format!("h.{l}.attn.c_proj"), slot(Part::AttnOut), [d, d]));
        entries.extend(norm(&format!("h.{l}.ln_2"), slot(Part::MlpNorm), d));
        entries.extend(linear(&format!("h.{l}.mlp.c_fc"), slot(Part::MlpIn), [d, m]));
        entries.extend(linear(&format!("h.{l}.mlp.c_proj"), slot(Part::MlpOut), [m, d]));
    }
    entries.extend(norm("ln_f", Slot::FinalNorm, d));
    if !spec.tied {
        let name = spec.family.unembed_name();
        entries.push(Entry::matrix(name, Slot::Unembed, [spec.d_vocab, d]));
    }
    if spec.unembed_bias {
        entries.push(Entry::vector("lm_head.bias", Slot::Unembed, Kind::Bias, spec.d_vocab));
    }
    entries
}

/// Scale and shift of a layer norm.
fn norm(name: &str, slot: Slot, d: usize) -> [Entry; 2] {
    [
        Entry::vector(&format!("{name}.weight"), slot, Kind::Weight, d),
        Entry::vector(&format!("{name}.bias"), slot, Kind::Bias, d),
    ]
}

/// Matrix and bias of a linear layer of `[in, out]`.
fn linear(name: &str, slot: Slot, shape: [usize; 2]) -> [Entry; 2] {
    [
        Entry::matrix(&format!("{name}.weight"), slot, shape),
        Entry::vector(&format!("{name}.bias"), slot, Kind::Bias, shape[1]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_computation_is_refused_by_name() {
        let path = std::path::Path::new("config.json");
        let read = |key: &str, value: Value| {
            let mut json = to_hugging_face(&Spec::gpt2(2, 2, 8, 16, 32), 0);
            json[key] = value;
            super::super::spec(path, json)
        };
        for (key, value) in [
            ("pruned_heads", json!({"0": [1]})),
            ("quantization_config", json!({"quant_method": "gptq"})),
            ("activation_function", json!("mish")),
            ("add_cross_attention", true.into()),
            ("model_type", "mamba".into()),
            ("sliding_window", 4.into()),
        ] {
            let error = read(key, value).unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        for value in ["-1", "1.5", "1e300", "\"2\"", "0", "16777217", "[2]", "{}", "true"] {
            for key in ["n_layer", "n_head", "n_embd", "n_inner", "n_positions", "vocab_size"] {
                let error = read(key, serde_json::from_str(value).unwrap()).unwrap_err().to_string();
                assert!(
                    error.contains(&format!("`{key}` is {}", value.replace("1e300", "1e+300"))),
                    "{error}"
                );
            }
        }
        let error = read("n_layer", Value::Null).unwrap_err().to_string();
        assert!(error.contains("`n_layer` is not there"), "{error}");
        assert_eq!(read("n_inner", Value::Null).unwrap().d_mlp, 4 * 8);
        for (key, value) in [("pruned_heads", json!({})), ("summary_type", "mean".into())] {
            assert_eq!(read(key, value).unwrap(), Spec::gpt2(2, 2, 8, 16, 32));
        }
    }
}
