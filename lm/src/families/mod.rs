//! Families of models, one file each: what a `config.json` says ([`Spec`]) and which tensor of a checkpoint is which parameter
//! ([`Entry`]).

mod config;
mod gemma;
mod gpt2;
mod llama;
mod neox;
mod qwen;
mod rope;

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use self::config::Config;
pub use self::gpt2::to_hugging_face;
use crate::entry::Entry;
use crate::{Error, Spec};

/// A family of models: the form of their checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// GPT-2.
    Gpt2,
    /// Llama, SmolLM2, Mistral: serial blocks with RMS norms, a gated MLP, rotary positions.
    Llama,
    /// Qwen 2, 2.5 and 3: the same, with biases of q, k, v or norms of q and k.
    Qwen,
    /// Gemma 2 and 3: norms before and after attention and MLP, a scaled embedding.
    Gemma,
    /// GPT-NeoX and Pythia: layer norms, parallel residual, partial rotation.
    Neox,
}

impl Family {
    /// Part of a tensor's name before the number of its block, without the prefix of the whole model.
    pub(crate) fn block_prefix(self) -> &'static str {
        match self {
            Self::Gpt2 => "h.",
            _ => "layers.",
        }
    }

    /// Name of the token embedding in a checkpoint, without the prefix of the whole model.
    pub(crate) fn embed_name(self) -> &'static str {
        match self {
            Self::Gpt2 => "wte.weight",
            Self::Neox => "embed_in.weight",
            _ => "embed_tokens.weight",
        }
    }

    /// Name of the unembedding in a checkpoint.
    pub(crate) fn unembed_name(self) -> &'static str {
        match self {
            Self::Neox => "embed_out.weight",
            _ => "lm_head.weight",
        }
    }

    /// Whether a tensor of a checkpoint is no parameter: a mask or table that follows from the config, or a part of another
    /// modality.
    pub(crate) fn is_no_parameter(self, name: &str) -> bool {
        let ends: &[&str] = match self {
            Self::Gpt2 => &[".attn.bias", ".attn.masked_bias"],
            Self::Neox => &[".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"],
            _ => &[".rotary_emb.inv_freq"],
        };
        let other_modality = self == Self::Gemma
            && ["vision_tower.", "multi_modal_projector."]
                .iter()
                .any(|prefix| name.starts_with(prefix));
        other_modality || ends.iter().any(|end| name.ends_with(end))
    }
}

/// Reads a `config.json`, of which `path` is named in errors.
pub(crate) fn spec(path: &Path, json: Value) -> Result<Spec, Error> {
    let config = Config::new(path, json)?;
    let kind = config.text_or("model_type", "gpt2")?;
    let spec = match kind.as_str() {
        "gpt2" => gpt2::spec(&config),
        "llama" => llama::spec(&config),
        "mistral" => llama::mistral(&config),
        "qwen2" => qwen::qwen2(&config),
        "qwen3" => qwen::qwen3(&config),
        "gemma2" => gemma::gemma2(&config),
        "gemma3_text" => gemma::gemma3(&config),
        "gpt_neox" => neox::spec(&config),
        _ => {
            let supported = "gpt2, llama, mistral, qwen2, qwen3, gemma2, gemma3_text or gpt_neox";
            return Err(config.unsupported("model_type", kind, supported));
        }
    }?;
    config.finish()?;
    Ok(spec)
}

impl Spec {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or that asks for a computation that this program does not have.
    pub fn read(path: &Path) -> Result<Self, Error> {
        spec(path, artifacts::read_json(path)?)
    }
}

/// Every parameter of a model: its place among the weights and its name and form in a checkpoint of its family.
pub(crate) fn entries(spec: &Spec) -> Vec<Entry> {
    match spec.family {
        Family::Gpt2 => gpt2::entries(spec),
        Family::Llama | Family::Qwen => llama::entries(spec),
        Family::Gemma => gemma::entries(spec),
        Family::Neox => neox::entries(spec),
    }
}
