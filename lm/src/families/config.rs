//! A `config.json` that knows which of its keys were read, so that none that changes the computation is passed over.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kernels::Nonlinearity;
use serde_json::{Map, Value};

use crate::Error;

/// No size of a model is larger; what is, is damaged.
const LARGEST_SIZE: usize = 1 << 24;
/// No model has more blocks.
const MOST_LAYERS: usize = 1 << 16;

/// Keys that say nothing of the computation of a forward pass without dropout: names, training, generation, caches.
const WITHOUT_EFFECT: [&str; 42] = [
    "architectures",
    "attention_dropout",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bos_token_id",
    "cache_implementation",
    "classifier_dropout",
    "dtype",
    "embd_pdrop",
    "eoi_token_index",
    "eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout",
    "id2label",
    "initializer_range",
    "is_decoder",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "max_length",
    "model_type",
    "n_ctx",
    "name_or_path",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "pretraining_tp",
    "problem_type",
    "reorder_and_upcast_attn",
    "resid_pdrop",
    "return_dict",
    "rope_interleaved",
    "sep_token_id",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "use_cache",
    "use_return_dict",
];
/// Beginnings of such keys.
const WITHOUT_EFFECT_BEGIN: [&str; 3] = ["_", "summary_", "unsloth"];

/// The keys of a `config.json`.
pub(super) struct Config {
    path: PathBuf,
    keys: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Config {
    /// The keys of `json`; those of the text model where it wraps one.
    pub(super) fn new(path: &Path, json: Value) -> Result<Self, Error> {
        let not_an_object = || Error::from(artifacts::Error::format(path, "it is no JSON object"));
        let Value::Object(mut keys) = json else {
            return Err(not_an_object());
        };
        if keys.get("model_type").and_then(Value::as_str) == Some("gemma3") {
            let Some(Value::Object(mut text)) = keys.remove("text_config") else {
                return Err(not_an_object());
            };
            text.entry("model_type").or_insert_with(|| "gemma3_text".into());
            if let Some(quantization) = keys.remove("quantization_config") {
                text.insert("quantization_config".to_owned(), quantization);
            }
            keys = text;
        }
        Ok(Self {
            path: path.to_owned(),
            keys,
            read: RefCell::default(),
        })
    }

    /// The value of `key`, null where it is not there.
    pub(super) fn get(&self, key: &str) -> &Value {
        self.read.borrow_mut().insert(key.to_owned());
        self.keys.get(key).unwrap_or(&Value::Null)
    }

    /// Whether `key` is there, be it null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// The error of a key that asks for what this program does not compute.
    pub(super) fn unsupported(&self, field: &str, found: impl ToString, supported: &'static str) -> Error {
        Error::Unsupported {
            path: self.path.clone(),
            field: field.to_owned(),
            found: found.to_string(),
            supported,
        }
    }

    /// A size, `default` where the key is null or not there.
    pub(super) fn size_or(&self, key: &str, default: usize) -> Result<usize, Error> {
        match self.get(key) {
            Value::Null => Ok(default),
            _ => self.size(key),
        }
    }

    /// A size that must be there.
    pub(super) fn size(&self, key: &str) -> Result<usize, Error> {
        let value = self.get(key);
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        let found = if value.is_null() {
            "not there".to_owned()
        } else {
            value.to_string()
        };
        let refused = || self.unsupported(key, found, "a whole number from 1 to 16777216");
        size.filter(|size| (1..=LARGEST_SIZE).contains(size))
            .ok_or_else(refused)
    }

    /// A number of blocks.
    pub(super) fn layers(&self, key: &str) -> Result<usize, Error> {
        let layers = self.size(key)?;
        if layers > MOST_LAYERS {
            return Err(self.unsupported(key, layers, "at most 65536"));
        }
        Ok(layers)
    }

    /// A positive number, `default` where the key is null or not there.
    pub(super) fn number_or(&self, key: &str, default: f64) -> Result<f64, Error> {
        Ok(self.number(key)?.unwrap_or(default))
    }

    /// A positive number, if there is one.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.get(key) {
            Value::Null => Ok(None),
            value => match value.as_f64() {
                Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
                _ => Err(self.unsupported(key, value, "a number above 0")),
            },
        }
    }

    /// True or false, `default` where the key is null or not there.
    pub(super) fn flag_or(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.get(key) {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(*flag),
            other => Err(self.unsupported(key, other, "true or false")),
        }
    }

    /// A word, `default` where the key is null or not there.
    pub(super) fn text_or(&self, key: &str, default: &str) -> Result<String, Error> {
        match self.get(key) {
            Value::Null => Ok(default.to_owned()),
            Value::String(text) => Ok(text.clone()),
            other => Err(self.unsupported(key, other, "a word")),
        }
    }

    /// An activation function.
    pub(super) fn activation(&self, key: &str, default: &str) -> Result<Nonlinearity, Error> {
        let name = self.text_or(key, default)?;
        match name.as_str() {
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Nonlinearity::GeluTanh),
            "gelu" => Ok(Nonlinearity::GeluErf),
            "relu" => Ok(Nonlinearity::Relu),
            "silu" | "swish" => Ok(Nonlinearity::Silu),
            _ => {
                let supported = "gelu_new, gelu_pytorch_tanh, gelu, relu or silu";
                Err(self.unsupported(key, name, supported))
            }
        }
    }

    /// Refuses a key that asks for something, if it does.
    pub(super) fn must_be(&self, key: &str, expected: &Value, supported: &'static str) -> Result<(), Error> {
        match self.get(key) {
            value if is_nothing(value) || value == expected => Ok(()),
            value => Err(self.unsupported(key, value, supported)),
        }
    }

    /// Refuses keys that nothing has read and that may change the computation.
    pub(super) fn finish(&self) -> Result<(), Error> {
        self.must_be("quantization_config", &Value::Null, "nothing")?;
        self.must_be("pruned_heads", &Value::Null, "nothing")?;
        self.must_be("add_cross_attention", &Value::Bool(false), "false")?;
        let read = self.read.borrow();
        let passed_over = |key: &&String| {
            let begins = WITHOUT_EFFECT_BEGIN.iter().any(|begin| key.starts_with(begin));
            !(read.contains(*key) || begins || WITHOUT_EFFECT.contains(&key.as_str()) || is_nothing(&self.keys[*key]))
        };
        match self.keys.keys().find(passed_over) {
            None => Ok(()),
            Some(key) => Err(self.unsupported(
                key,
                &self.keys[key],
                "no such key (it may change the computation; if it does not, remove it)",
            )),
        }
    }
}

/// Whether a value asks for nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}
