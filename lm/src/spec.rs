//! Hugging Face's `config.json` of a GPT-2, reduced to what the forward pass needs.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, files};

/// No size of a model is larger; what is, is damaged, and its tensors could not even be listed.
const LARGEST_SIZE: usize = 1 << 24;

/// Activation function of the MLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `gelu_new`, also called `gelu_pytorch_tanh`: GPT-2's tanh approximation.
    GeluTanh,
    /// `gelu`: exact, with the error function.
    GeluErf,
    /// `relu`.
    Relu,
}

/// A validated GPT-2 configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads of a block, `H`.
    pub n_head: usize,
    /// Width of the residual stream, `D`.
    pub d_model: usize,
    /// Width of a head, `Dh = D / H`.
    pub d_head: usize,
    /// Width of the MLP.
    pub d_mlp: usize,
    /// Number of positions.
    pub n_ctx: usize,
    /// Size of the vocabulary, `V`.
    pub d_vocab: usize,
    /// Epsilon of the layer norms.
    pub layer_norm_epsilon: f64,
    /// Activation function of the MLP.
    pub activation: Activation,
    /// Divide attention scores by the root of `Dh`.
    pub scale_attn_weights: bool,
    /// Divide attention scores of block l by `l + 1` as well.
    pub scale_attn_by_inverse_layer_idx: bool,
}

/// The fields of `config.json` that change the computation; all others are ignored.
#[derive(Debug, Deserialize, Serialize)]
struct Raw {
    model_type: Option<String>,
    // Of any type, so that an error names the field.
    #[serde(default)]
    n_layer: Value,
    #[serde(default)]
    n_head: Value,
    #[serde(default)]
    n_embd: Value,
    #[serde(default)]
    n_inner: Value,
    #[serde(default)]
    n_positions: Value,
    #[serde(default)]
    vocab_size: Value,
    #[serde(default = "default_activation")]
    activation_function: String,
    #[serde(default = "default_epsilon")]
    layer_norm_epsilon: f64,
    #[serde(default = "default_true")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default = "default_true")]
    tie_word_embeddings: bool,
    #[serde(default)]
    pruned_heads: Value,
    #[serde(default)]
    quantization_config: Value,
}

// The defaults of Hugging Face's GPT2Config.
fn default_activation() -> String {
    "gelu_new".to_owned()
}
fn default_epsilon() -> f64 {
    1e-5
}
fn default_true() -> bool {
    true
}

impl Spec {
    /// Reads and validates `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let raw: Raw = files::read_json(path)?;
        let unsupported = |field, found: String, supported| Error::Unsupported {
            path: path.to_owned(),
            field,
            found,
            supported,
        };
        if let Some(kind) = raw.model_type.filter(|kind| kind != "gpt2") {
            return Err(unsupported("model_type", kind, "gpt2"));
        }
        if raw.add_cross_attention {
            return Err(unsupported("add_cross_attention", "true".to_owned(), "false"));
        }
        if !raw.tie_word_embeddings {
            return Err(unsupported("tie_word_embeddings", "false".to_owned(), "true"));
        }
        for (field, value) in [
            ("pruned_heads", &raw.pruned_heads),
            ("quantization_config", &raw.quantization_config),
        ] {
            if !(value.is_null() || value.as_object().is_some_and(Map::is_empty)) {
                return Err(unsupported(field, value.to_string(), "nothing"));
            }
        }
        let activation = match raw.activation_function.as_str() {
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "gelu" => Activation::GeluErf,
            "relu" => Activation::Relu,
            _ => {
                let supported = "gelu_new, gelu_pytorch_tanh, gelu or relu";
                return Err(unsupported("activation_function", raw.activation_function, supported));
            }
        };
        let size = |field, value: &Value| {
            let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
            let found = if value.is_null() {
                "not there".to_owned()
            } else {
                value.to_string()
            };
            let refused = || unsupported(field, found, "a whole number from 1 to 16777216");
            size.filter(|size| (1..=LARGEST_SIZE).contains(size))
                .ok_or_else(refused)
        };
        let (n_layer, n_head) = (size("n_layer", &raw.n_layer)?, size("n_head", &raw.n_head)?);
        let (d_model, n_ctx) = (size("n_embd", &raw.n_embd)?, size("n_positions", &raw.n_positions)?);
        let d_vocab = size("vocab_size", &raw.vocab_size)?;
        let d_mlp = match &raw.n_inner {
            Value::Null => 4 * d_model,
            inner => size("n_inner", inner)?,
        };
        let epsilon = raw.layer_norm_epsilon;
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return Err(unsupported(
                "layer_norm_epsilon",
                epsilon.to_string(),
                "a number above 0",
            ));
        }
        if !d_model.is_multiple_of(n_head) {
            return Err(unsupported("n_embd", d_model.to_string(), "a multiple of n_head"));
        }
        Ok(Self {
            n_layer,
            n_head,
            d_model,
            d_head: d_model / n_head,
            d_mlp,
            n_ctx,
            d_vocab,
            layer_norm_epsilon: raw.layer_norm_epsilon,
            activation,
            scale_attn_weights: raw.scale_attn_weights,
            scale_attn_by_inverse_layer_idx: raw.scale_attn_by_inverse_layer_idx,
        })
    }

    /// GPT-2's computation at the given sizes, for a model that is trained here.
    pub fn new(n_layer: usize, n_head: usize, d_model: usize, n_ctx: usize, d_vocab: usize) -> Self {
        Self {
            n_layer,
            n_head,
            d_model,
            d_head: d_model / n_head,
            d_mlp: 4 * d_model,
            n_ctx,
            d_vocab,
            layer_norm_epsilon: 1e-5,
            activation: Activation::GeluTanh,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
        }
    }

    /// Floating-point operations of a block's four linear layers on one token.
    pub fn block_flops(&self) -> f64 {
        2.0 * (self.d_model * (4 * self.d_model + 2 * self.d_mlp)) as f64
    }

    /// `config.json` for `GPT2LMHeadModel.from_pretrained`; `bos` begins and ends a text.
    pub fn to_hugging_face(&self, bos: u32) -> serde_json::Value {
        serde_json::json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "activation_function": match self.activation {
                Activation::GeluTanh => "gelu_new",
                Activation::GeluErf => "gelu",
                Activation::Relu => "relu",
            },
            "bos_token_id": bos,
            "eos_token_id": bos,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "n_ctx": self.n_ctx,
            "n_embd": self.d_model,
            "n_head": self.n_head,
            "n_inner": self.d_mlp,
            "n_layer": self.n_layer,
            "n_positions": self.n_ctx,
            "scale_attn_by_inverse_layer_idx": self.scale_attn_by_inverse_layer_idx,
            "scale_attn_weights": self.scale_attn_weights,
            "tie_word_embeddings": true,
            "torch_dtype": "float32",
            "vocab_size": self.d_vocab,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_the_computation_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let read = |key: &str, value: Value| {
            let mut json = Spec::new(2, 2, 8, 16, 32).to_hugging_face(0);
            json[key] = value;
            std::fs::write(&path, json.to_string()).unwrap();
            Spec::read(&path)
        };
        for (key, value) in [
            ("pruned_heads", serde_json::json!({"0": [1]})),
            ("quantization_config", serde_json::json!({"quant_method": "gptq"})),
            ("activation_function", serde_json::json!("swish")),
            ("add_cross_attention", true.into()),
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
        for (key, value) in [("pruned_heads", serde_json::json!({})), ("summary_type", "mean".into())] {
            assert_eq!(read(key, value).unwrap(), Spec::new(2, 2, 8, 16, 32));
        }
    }
}
