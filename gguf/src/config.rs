//! The `config.json` that a GGUF file was made from, from the keys of its metadata.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::Error;
use crate::{Architecture, Gguf};

/// Keys of a computation that is not there: each may only have the value with which it changes nothing.
const WITHOUT_EFFECT: [(&str, f64); 5] = [
    ("expert_count", 0.0),
    ("expert_used_count", 0.0),
    ("attention.max_alibi_bias", 0.0),
    ("attention.clamp_kqv", 0.0),
    ("rope.scaling.attn_factor", 1.0),
];

/// Keys that say nothing of the computation.
const HARMLESS: [&str; 2] = ["rope.scaling.finetuned", "tensor_data_layout"];

/// Depths of the 27B models of Gemma 2 and 3, whose scores are scaled by another number than the others'. It is not in the file.
const DEPTH_OF_GEMMA_2_27B: u64 = 46;
const DEPTH_OF_GEMMA_3_27B: u64 = 62;

/// The configuration, in the spelling before transformers 5.
pub(crate) fn of(gguf: &Gguf) -> Result<Value, Error> {
    let keys = Keys {
        gguf,
        asked: RefCell::default(),
    };
    let mut config = Map::new();
    let sizes = keys.sizes(&mut config)?;
    keys.rope(&sizes, &mut config)?;
    keys.tokens(&mut config)?;
    match gguf.architecture {
        Architecture::Llama => keys.llama(&sizes, &mut config)?,
        Architecture::Qwen2 | Architecture::Qwen3 => keys.qwen(&sizes, &mut config)?,
        Architecture::Gemma2 | Architecture::Gemma3 => keys.gemma(&sizes, &mut config)?,
        Architecture::GptNeox => keys.neox(&mut config)?,
    }
    keys.nothing_else()?;
    Ok(Value::Object(config))
}

/// Sizes that other keys depend on.
struct Sizes {
    blocks: u64,
    width: u64,
    heads: u64,
    head: u64,
    context: u64,
}

/// The keys of the architecture; those that were asked for are remembered.
struct Keys<'a> {
    gguf: &'a Gguf,
    asked: RefCell<BTreeSet<String>>,
}

impl Keys<'_> {
    /// The whole key, which counts as understood from here on.
    fn key(&self, name: &str) -> String {
        let key = self.gguf.key(name);
        self.asked.borrow_mut().insert(key.clone());
        key
    }

    fn unsigned(&self, name: &str) -> Result<Option<u64>, Error> {
        self.gguf.metadata.uniform(&self.key(name))
    }

    /// A size: a positive number that must be there.
    fn size(&self, name: &str) -> Result<u64, Error> {
        let metadata = &self.gguf.metadata;
        let key = self.key(name);
        match metadata.required(&key, metadata.uniform(&key)?)? {
            0 => Err(metadata.source().damaged(format!("`{key}` is 0"))),
            size => Ok(size),
        }
    }

    fn float(&self, name: &str) -> Result<Option<f64>, Error> {
        self.gguf.metadata.float(&self.key(name))
    }

    fn required_float(&self, name: &str) -> Result<f64, Error> {
        self.gguf.metadata.required(&self.gguf.key(name), self.float(name)?)
    }

    /// The error that the value of a key is not supported.
    fn unsupported(&self, name: &str, found: impl std::fmt::Display, supported: &str) -> Error {
        let key = self.gguf.key(name);
        self.gguf
            .metadata
            .source()
            .unsupported(format!("`{key}` is {found}, supported is {supported}"))
    }

    /// Whether a tensor of the checkpoint is there.
    fn has(&self, name: &str) -> bool {
        self.gguf.shape(name).is_some()
    }

    fn sizes(&self, config: &mut Map<String, Value>) -> Result<Sizes, Error> {
        let gguf = self.gguf;
        let neox = gguf.architecture == Architecture::GptNeox;
        let (heads, width) = (self.size("attention.head_count")?, self.size("embedding_length")?);
        self.key("attention.head_count_kv");
        let kv_heads = gguf.kv_heads()?;
        let head = match self.unsigned("attention.key_length")? {
            Some(head) => head,
            None if width.is_multiple_of(heads) => width / heads,
            None => {
                let reason = format!("{heads} heads cannot share an `embedding_length` of {width}");
                return Err(gguf.metadata.source().damaged(reason));
            }
        };
        if let Some(value) = self.unsigned("attention.value_length")?
            && value != head
        {
            return Err(self.unsupported("attention.value_length", value, "what keys have"));
        }
        let embedding = if neox {
            "gpt_neox.embed_in.weight"
        } else {
            "model.embed_tokens.weight"
        };
        let rows = gguf.shape(embedding).and_then(|shape| shape.first());
        let vocabulary = self.unsigned("vocab_size")?.or(rows.map(|&rows| rows as u64));
        let sizes = Sizes {
            blocks: self.size("block_count")?,
            width,
            heads,
            head,
            context: self.size("context_length")?,
        };
        let output = if neox { "embed_out.weight" } else { "lm_head.weight" };
        config.extend(object(json!({
            "vocab_size": gguf.metadata.required(&gguf.key("vocab_size"), vocabulary)?,
            "hidden_size": sizes.width,
            "intermediate_size": self.size("feed_forward_length")?,
            "num_hidden_layers": sizes.blocks,
            "num_attention_heads": heads,
            "max_position_embeddings": sizes.context,
            "tie_word_embeddings": !self.has(output),
        })));
        if neox {
            if kv_heads != heads {
                return Err(self.unsupported("attention.head_count_kv", kv_heads, "the number of heads"));
            }
            if head.checked_mul(heads) != Some(width) {
                return Err(self.unsupported("attention.key_length", head, "the width divided by the heads"));
            }
        } else {
            config.insert("num_key_value_heads".to_owned(), json!(kv_heads));
            config.insert("head_dim".to_owned(), json!(head));
        }
        Ok(sizes)
    }

    /// Base, rotated part and scaling of the rotary embedding.
    fn rope(&self, sizes: &Sizes, config: &mut Map<String, Value>) -> Result<(), Error> {
        let neox = self.gguf.architecture == Architecture::GptNeox;
        let base = match self.float("rope.freq_base")? {
            // Gemma 3 has two bases, and no reader agrees with another on what is meant without one.
            None if self.gguf.architecture == Architecture::Gemma3 => self.required_float("rope.freq_base")?,
            base => base.unwrap_or(10_000.0),
        };
        let rotated = self.unsigned("rope.dimension_count")?.unwrap_or(sizes.head);
        if neox {
            config.insert("rotary_emb_base".to_owned(), json!(base));
            config.insert("rotary_pct".to_owned(), json!(rotated as f64 / sizes.head as f64));
        } else {
            config.insert("rope_theta".to_owned(), json!(base));
            if rotated != sizes.head {
                return Err(self.unsupported("rope.dimension_count", rotated, "the size of a head"));
            }
        }
        // An older spelling of the factor beside it.
        let (factor, older) = (self.float("rope.scaling.factor")?, self.float("rope.scale_linear")?);
        let kind = self.gguf.metadata.text(&self.key("rope.scaling.type"))?;
        let original = self.unsigned("rope.scaling.original_context_length")?;
        let fast = self.float("rope.scaling.yarn_beta_fast")?;
        let slow = self.float("rope.scaling.yarn_beta_slow")?;
        if let Some(other) = kind
            && !matches!(other, "none" | "linear" | "yarn")
        {
            return Err(self.unsupported("rope.scaling.type", format!("`{other}`"), "none, linear or yarn"));
        }
        let factor = match (kind, factor.or(older)) {
            (Some("none"), _) | (None, None) | (None | Some("linear"), Some(1.0)) => return Ok(()),
            (_, factor) => (self.gguf.metadata).required(&self.gguf.key("rope.scaling.factor"), factor)?,
        };
        let scaling = match kind {
            Some("yarn") => json!({
                "type": "yarn", "rope_type": "yarn", "factor": factor, "beta_fast": fast.unwrap_or(32.0),
                "beta_slow": slow.unwrap_or(1.0), "original_max_position_embeddings": original.unwrap_or(sizes.context),
            }),
            _ => json!({ "type": "linear", "rope_type": "linear", "factor": factor }),
        };
        config.insert("rope_scaling".to_owned(), scaling);
        Ok(())
    }

    /// The tokens that begin and end a text.
    fn tokens(&self, config: &mut Map<String, Value>) -> Result<(), Error> {
        for (name, key) in [("bos", "bos"), ("eos", "eos"), ("pad", "padding")] {
            if let Some(id) = self.gguf.metadata.unsigned(&format!("tokenizer.ggml.{key}_token_id"))? {
                config.insert(format!("{name}_token_id"), json!(id));
            }
        }
        Ok(())
    }

    /// A window that the file names and that is shorter than the context.
    fn window(&self, sizes: &Sizes) -> Result<Option<u64>, Error> {
        let window = self.unsigned("attention.sliding_window")?;
        Ok(window.filter(|&window| window > 0 && window < sizes.context))
    }

    fn llama(&self, sizes: &Sizes, config: &mut Map<String, Value>) -> Result<(), Error> {
        let epsilon = self.required_float("attention.layer_norm_rms_epsilon")?;
        config.extend(object(json!({ "rms_norm_eps": epsilon, "hidden_act": "silu" })));
        // Files of Mistral call themselves llama; only the window tells them apart, in those that name it.
        config.extend(object(match self.window(sizes)? {
            Some(window) => json!({
                "model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": window,
            }),
            None => json!({
                "model_type": "llama", "architectures": ["LlamaForCausalLM"],
                "attention_bias": self.has("model.layers.0.self_attn.q_proj.bias"),
                "mlp_bias": self.has("model.layers.0.mlp.down_proj.bias"),
            }),
        }));
        Ok(())
    }

    fn qwen(&self, sizes: &Sizes, config: &mut Map<String, Value>) -> Result<(), Error> {
        if let Some(window) = self.window(sizes)? {
            return Err(self.unsupported("attention.sliding_window", window, "none shorter than the context"));
        }
        let epsilon = self.required_float("attention.layer_norm_rms_epsilon")?;
        config.extend(object(
            json!({ "rms_norm_eps": epsilon, "hidden_act": "silu", "use_sliding_window": false }),
        ));
        config.extend(object(match self.gguf.architecture {
            Architecture::Qwen3 => json!({
                "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"],
                "attention_bias": self.has("model.layers.0.self_attn.q_proj.bias"),
            }),
            _ => json!({ "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"] }),
        }));
        Ok(())
    }

    fn gemma(&self, sizes: &Sizes, config: &mut Map<String, Value>) -> Result<(), Error> {
        let second = self.gguf.architecture == Architecture::Gemma2;
        let depth = if second {
            DEPTH_OF_GEMMA_2_27B
        } else {
            DEPTH_OF_GEMMA_3_27B
        };
        let scalar = match sizes.blocks == depth {
            true => sizes.width / sizes.heads,
            false => sizes.head,
        };
        config.extend(object(json!({
            "rms_norm_eps": self.required_float("attention.layer_norm_rms_epsilon")?,
            "hidden_activation": "gelu_pytorch_tanh", "attention_bias": false, "query_pre_attn_scalar": scalar,
        })));
        let caps = [
            self.float("attn_logit_softcapping")?,
            self.float("final_logit_softcapping")?,
        ];
        config.extend(object(if second {
            json!({
                "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"],
                "sliding_window": self.unsigned("attention.sliding_window")?.unwrap_or(4096),
                "attn_logit_softcapping": caps[0].unwrap_or(50.0), "final_logit_softcapping": caps[1].unwrap_or(30.0),
            })
        } else {
            if let Some(cap) = caps[0] {
                return Err(self.unsupported("attn_logit_softcapping", cap, "none"));
            }
            json!({
                "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"],
                "sliding_window": self.size("attention.sliding_window")?, "final_logit_softcapping": caps[1],
                "rope_local_base_freq": self.float("rope.freq_base_swa")?.unwrap_or(10_000.0),
            })
        }));
        if !second {
            config.extend(object(self.pattern(sizes)?));
        }
        Ok(())
    }

    /// Which blocks of Gemma 3 have the window: every one but each sixth, or as the file says for each block or as a number.
    fn pattern(&self, sizes: &Sizes) -> Result<Value, Error> {
        let name = "attention.sliding_window_pattern";
        let metadata = &self.gguf.metadata;
        let key = self.key(name);
        if !metadata.is_list(&key) {
            let every = metadata.unsigned(&key)?.unwrap_or(6);
            return Ok(json!({ "sliding_window_pattern": every }));
        }
        let slides = metadata.integers(&key)?.unwrap_or_default();
        if slides.len() as u64 != sizes.blocks {
            let found = format!("a list of {}", slides.len());
            return Err(self.unsupported(name, found, "one for each block"));
        }
        let kind = |slides: &i64| {
            if *slides == 0 {
                "full_attention"
            } else {
                "sliding_attention"
            }
        };
        Ok(json!({ "layer_types": slides.iter().map(kind).collect::<Vec<_>>() }))
    }

    fn neox(&self, config: &mut Map<String, Value>) -> Result<(), Error> {
        let parallel = self.gguf.metadata.flag(&self.key("use_parallel_residual"))?;
        config.extend(object(json!({
            "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu",
            "layer_norm_eps": self.required_float("attention.layer_norm_epsilon")?,
            "attention_bias": self.has("gpt_neox.layers.0.attention.query_key_value.bias"),
            "use_parallel_residual": parallel.unwrap_or(true),
        })));
        Ok(())
    }

    /// The error that a key of the architecture was not asked for, or asks for what is not there.
    fn nothing_else(&self) -> Result<(), Error> {
        for (name, idle) in WITHOUT_EFFECT {
            if let Some(found) = self.float(name)?
                && found != idle
            {
                return Err(self.unsupported(name, found, &idle.to_string()));
            }
        }
        let causal = "attention.causal";
        if self.gguf.metadata.flag(&self.key(causal))? == Some(false) {
            return Err(self.unsupported(causal, false, "true"));
        }
        for name in HARMLESS {
            self.key(name);
        }
        let asked = self.asked.borrow();
        let prefix = self.gguf.key("");
        let mut unknown = self
            .gguf
            .metadata
            .keys()
            .filter(|key| key.starts_with(&prefix) && !asked.contains(*key));
        match unknown.next() {
            Some(key) => Err(self.gguf.metadata.source().unsupported(format!(
                "`{key}` may change the computation, and what it means is not known here"
            ))),
            None => Ok(()),
        }
    }
}

/// The entries of an object that was written as JSON.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
