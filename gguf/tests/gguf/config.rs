//! Keys of the metadata as those of a `config.json`, and what is refused.

use std::path::Path;

use gguf::Gguf;
use serde_json::{Value, json};

use crate::writer::{Meta, Writer, text};
use crate::{line, llama, open, opened};

/// The line with which a file or its configuration is refused.
fn refused(writer: &Writer) -> String {
    line(open(&writer.bytes()).and_then(|gguf| gguf.config()))
}

pub(crate) fn gemma3() -> Writer {
    let mut writer = Writer::new("gemma3");
    for (key, value) in [
        ("attention.layer_norm_rms_epsilon", Meta::F32(1e-6)),
        ("attention.key_length", Meta::U32(6)),
        ("attention.value_length", Meta::U32(6)),
        ("attention.head_count_kv", Meta::U32(1)),
        ("attention.sliding_window", Meta::U32(16)),
        ("rope.freq_base", Meta::F32(1e6)),
        ("rope.scaling.type", text("linear")),
        ("rope.scaling.factor", Meta::F32(8.0)),
    ] {
        writer.set(&format!("gemma3.{key}"), value);
    }
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    writer
}

/// What every configuration has here.
fn with(more: Value) -> Value {
    let mut config = json!({
        "vocab_size": 5, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 64, "tie_word_embeddings": true,
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn the_configuration_of_llama_mistral_and_qwen() {
    let expected = with(json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "num_key_value_heads": 2, "head_dim": 4, "rope_theta": 10_000.0, "attention_bias": false, "mlp_bias": false,
    }));
    assert_eq!(opened(&llama()).config().unwrap(), expected);

    let mut writer = llama();
    writer.set("llama.vocab_size", Meta::U32(7));
    writer.set("llama.attention.head_count_kv", Meta::I32s(vec![1, 1]));
    writer.set("llama.rope.freq_base", Meta::F32(5e5));
    writer.set("llama.rope.dimension_count", Meta::U32(4));
    writer.set("llama.rope.scaling.type", text("yarn"));
    writer.set("llama.rope.scaling.factor", Meta::F32(4.0));
    writer.set("llama.rope.scaling.original_context_length", Meta::U32(16));
    writer.set("llama.attention.sliding_window", Meta::U32(32));
    writer.set("tokenizer.ggml.bos_token_id", Meta::U32(1));
    writer.set("tokenizer.ggml.eos_token_id", Meta::U32(2));
    writer.set("tokenizer.ggml.padding_token_id", Meta::U32(3));
    writer.set("general.name", text("whatever"));
    writer.tensor("output.weight", &[5, 8], &[0.5; 40]);
    let expected = with(json!({
        "model_type": "mistral", "architectures": ["MistralForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "num_key_value_heads": 1, "head_dim": 4, "rope_theta": 5e5, "sliding_window": 32, "tie_word_embeddings": false,
        "vocab_size": 7, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3,
        "rope_scaling": {
            "type": "yarn", "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16,
            "beta_fast": 32.0, "beta_slow": 1.0,
        },
    }));
    assert_eq!(opened(&writer).config().unwrap(), expected);

    let mut writer = Writer::new("qwen2");
    writer.set("qwen2.attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    let expected = with(json!({
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "num_key_value_heads": 2, "head_dim": 4, "rope_theta": 10_000.0, "use_sliding_window": false,
    }));
    assert_eq!(opened(&writer).config().unwrap(), expected);

    let mut writer = Writer::new("qwen3");
    writer.set("qwen3.attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    writer.set("qwen3.attention.key_length", Meta::U32(16));
    writer.set("qwen3.rope.freq_base", Meta::F32(1e6));
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    let expected = with(json!({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "num_key_value_heads": 2, "head_dim": 16, "rope_theta": 1e6, "use_sliding_window": false, "attention_bias": false,
    }));
    assert_eq!(opened(&writer).config().unwrap(), expected);
}

#[test]
fn the_configuration_of_gemma_and_neox() {
    let gemma = json!({
        "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "attention_bias": false, "query_pre_attn_scalar": 6,
        "num_key_value_heads": 1, "head_dim": 6,
    });
    let of_gemma = |more: Value| {
        let mut config = with(gemma.clone());
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    let third = json!({
        "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "sliding_window": 16, "rope_theta": 1e6,
        "rope_local_base_freq": 10_000.0, "final_logit_softcapping": null, "sliding_window_pattern": 6,
        "rope_scaling": { "type": "linear", "rope_type": "linear", "factor": 8.0 },
    });
    assert_eq!(opened(&gemma3()).config().unwrap(), of_gemma(third.clone()));
    let mut writer = gemma3();
    writer.set(
        "gemma3.attention.sliding_window_pattern",
        Meta::Bools(vec![true, false]),
    );
    let config = opened(&writer).config().unwrap();
    assert_eq!(config["layer_types"], json!(["sliding_attention", "full_attention"]));
    assert!(config.get("sliding_window_pattern").is_none());
    // The largest has another scale, which the file does not say.
    let mut writer = gemma3();
    writer.set("gemma3.block_count", Meta::U32(62));
    assert_eq!(opened(&writer).config().unwrap()["query_pre_attn_scalar"], 4);

    let mut writer = Writer::new("gemma2");
    writer.set("gemma2.attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    writer.set("gemma2.attention.key_length", Meta::U32(6));
    writer.set("gemma2.attention.head_count_kv", Meta::U32(1));
    writer.set("gemma2.attn_logit_softcapping", Meta::F32(40.0));
    writer.set("gemma2.attention.sliding_window", Meta::U32(8));
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    let expected = of_gemma(json!({
        "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "sliding_window": 8, "rope_theta": 1e4,
        "attn_logit_softcapping": 40.0, "final_logit_softcapping": 30.0,
    }));
    assert_eq!(opened(&writer).config().unwrap(), expected);

    let mut writer = Writer::new("gptneox");
    writer.set("gptneox.attention.layer_norm_epsilon", Meta::F32(1e-5));
    writer.set("gptneox.rope.dimension_count", Meta::U32(1));
    writer.set("gptneox.use_parallel_residual", Meta::Bool(false));
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    writer.tensor("output.weight", &[5, 8], &[0.5; 40]);
    writer.tensor("blk.0.attn_qkv.bias", &[24], &[0.5; 24]);
    let expected = with(json!({
        "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        "rotary_pct": 0.25, "rotary_emb_base": 10_000.0, "attention_bias": true, "use_parallel_residual": false,
        "tie_word_embeddings": false,
    }));
    assert_eq!(opened(&writer).config().unwrap(), expected);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    assert!(refused(&Writer::new("phi3")).contains("`phi3`"));
    for (key, value, expected) in [
        ("llama.rope.scaling.type", text("longrope"), "`longrope`"),
        ("llama.rope.scaling.type", text("yarn"), "`llama.rope.scaling.factor`"),
        ("llama.expert_count", Meta::U32(8), "`llama.expert_count` is 8"),
        ("llama.logit_scale", Meta::F32(8.0), "`llama.logit_scale`"),
        (
            "llama.rope.dimension_count",
            Meta::U32(2),
            "`llama.rope.dimension_count` is 2",
        ),
        ("llama.attention.causal", Meta::Bool(false), "`llama.attention.causal`"),
        (
            "llama.attention.head_count",
            Meta::U32(0),
            "`llama.attention.head_count` is 0",
        ),
        (
            "llama.attention.head_count",
            text("2"),
            "`llama.attention.head_count` is a text",
        ),
        (
            "llama.attention.head_count_kv",
            Meta::I32s(vec![1, 2]),
            "from block to block",
        ),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Meta::F32(f32::NAN),
            "is NaN, expected a finite number",
        ),
        (
            "llama.attention.value_length",
            Meta::U32(5),
            "`llama.attention.value_length` is 5",
        ),
        ("llama.embedding_length", Meta::U32(9), "2 heads cannot share"),
        ("general.type", text("adapter"), "`adapter`"),
        ("general.alignment", Meta::U32(0), "`general.alignment` is 0"),
        ("general.alignment", Meta::U32(24), "`general.alignment` is 24"),
        ("split.count", Meta::U32(3), "one of 3 files"),
    ] {
        let mut writer = llama();
        writer.set(key, value);
        let line = refused(&writer);
        assert!(line.contains(expected), "{line}");
    }
    let mut writer = llama();
    writer.pairs.retain(|(key, _)| key != "llama.context_length");
    assert!(refused(&writer).contains("`llama.context_length`"));
    let mut writer = llama();
    writer.pairs.push(("general.architecture".to_owned(), text("llama")));
    assert!(refused(&writer).contains("twice"));
    let mut writer = llama();
    writer.tensor("token_embd.weight", &[1], &[0.0]);
    assert!(refused(&writer).contains("`token_embd.weight` is there twice"));
    let mut writer = llama();
    writer.tensor("model.embed_tokens.weight", &[1], &[0.0]);
    assert!(refused(&writer).contains("`model.embed_tokens.weight`"));
    let mut writer = llama();
    writer.tensors.push(("x".to_owned(), vec![256], 10, vec![0; 84]));
    assert!(refused(&writer).contains("Q2_K"));
    let mut writer = llama();
    writer.tensors.push(("x".to_owned(), vec![2, 16], 2, vec![0; 18]));
    assert!(refused(&writer).contains("blocks of 32"));
    for (version, expected) in [(1, "version 1"), (4, "version 4"), (3_u32.swap_bytes(), "big-endian")] {
        let mut writer = llama();
        writer.version = version;
        assert!(refused(&writer).contains(expected));
    }
    assert!(line(open(b"GGML\0\0\0\0")).contains("GGUF"));
    let mut writer = Writer::new("qwen2");
    writer.set("qwen2.attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    writer.set("qwen2.attention.sliding_window", Meta::U32(64));
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    opened(&writer).config().unwrap();
    writer.set("qwen2.attention.sliding_window", Meta::U32(63));
    assert!(refused(&writer).contains("`qwen2.attention.sliding_window` is 63"));
    assert!(line(Gguf::open(Path::new("/nowhere/x.gguf"))).contains("/nowhere/x.gguf"));
    assert!(line(Gguf::open(Path::new("/"))).contains("cannot read /"));
}
