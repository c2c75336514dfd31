//! Names of tensors: in a GGUF file, and in the checkpoint that the file was made from.

use crate::Architecture;

/// Which order the rows of a tensor have in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// That of the checkpoint.
    AsStored,
    /// The rows of each head go in pairs, one from each of its halves: queries of `llama`.
    PairsOfQueries,
    /// The same of keys.
    PairsOfKeys,
    /// All queries, all keys, all values, where the checkpoint has those of one head after those of another.
    QkvApart,
}

/// Tensors outside of blocks: name in the file, in most checkpoints, and in those of GPT-NeoX.
const WHOLE: [(&str, &str, &str); 3] = [
    ("token_embd", "model.embed_tokens", "gpt_neox.embed_in"),
    ("output_norm", "model.norm", "gpt_neox.final_layer_norm"),
    ("output", "lm_head", "embed_out"),
];

/// Parts of a block of every family but GPT-NeoX, without norms.
const PARTS: [(&str, &str); 9] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Norms of a block with two.
const TWO_NORMS: [(&str, &str); 2] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
];

/// Norms of a block of Gemma.
const FOUR_NORMS: [(&str, &str); 4] = [
    ("attn_norm", "input_layernorm"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
];

/// Parts of a block of GPT-NeoX, without norms.
const NEOX_PARTS: [(&str, &str); 4] = [
    ("attn_qkv", "attention.query_key_value"),
    ("attn_output", "attention.dense"),
    ("ffn_up", "mlp.dense_h_to_4h"),
    ("ffn_down", "mlp.dense_4h_to_h"),
];

/// The name in the checkpoint of a tensor of the file, and the order of its rows. A name that is not known stays as it is.
pub(crate) fn in_checkpoint(architecture: Architecture, name: &str) -> (String, Rows) {
    known(architecture, name).unwrap_or_else(|| (name.to_owned(), Rows::AsStored))
}

fn known(architecture: Architecture, name: &str) -> Option<(String, Rows)> {
    let (stem, parameter) = name.rsplit_once('.')?;
    if !matches!(parameter, "weight" | "bias") {
        return None;
    }
    let is_neox = architecture == Architecture::GptNeox;
    let Some(inside) = stem.strip_prefix("blk.") else {
        let (_, usual, neox) = WHOLE.iter().find(|(gguf, ..)| *gguf == stem)?;
        let stem = if is_neox { neox } else { usual };
        return Some((format!("{stem}.{parameter}"), Rows::AsStored));
    };
    let (number, part) = inside.split_once('.')?;
    let block: u32 = number.parse().ok()?;
    if block.to_string() != number {
        return None;
    }
    let (parts, norms, before): (&[_], &[_], _) = match architecture {
        Architecture::GptNeox => (&NEOX_PARTS, &TWO_NORMS, "gpt_neox.layers"),
        Architecture::Gemma2 | Architecture::Gemma3 => (&PARTS, &FOUR_NORMS, "model.layers"),
        Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => (&PARTS, &TWO_NORMS, "model.layers"),
    };
    let (_, there) = parts.iter().chain(norms).find(|(gguf, _)| *gguf == part)?;
    let rows = match (architecture, part) {
        (Architecture::Llama, "attn_q") => Rows::PairsOfQueries,
        (Architecture::Llama, "attn_k") => Rows::PairsOfKeys,
        (Architecture::GptNeox, "attn_qkv") => Rows::QkvApart,
        _ => Rows::AsStored,
    };
    Some((format!("{before}.{block}.{there}.{parameter}"), rows))
}
