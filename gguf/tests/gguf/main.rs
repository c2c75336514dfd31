//! GGUF files: small ones written here, blocks of every type as another implementation reads them, and SmolLM2 itself where
//! `SAELAB_SMOLLM2_GGUF` names its file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says when it is skipped"
)]

mod config;
mod smollm2;
mod tokenizer;
mod writer;

use std::path::Path;

use gguf::Gguf;
use serde_json::Value;
use writer::{Meta, Writer, text};

fn open(bytes: &[u8]) -> Result<Gguf, gguf::Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Gguf::open(file.path())
}

fn opened(writer: &Writer) -> Gguf {
    open(&writer.bytes()).unwrap()
}

fn line<T>(outcome: Result<T, gguf::Error>) -> String {
    let line = outcome.err().expect("it is refused").to_string();
    assert!(!line.contains('\n') && line.len() < 600, "{line}");
    line
}

fn values(gguf: &Gguf, name: &str) -> Vec<f32> {
    let mut all = Vec::new();
    gguf.read(name, &mut |piece| all.extend_from_slice(piece)).unwrap();
    all
}

/// A llama with every key that it needs.
fn llama() -> Writer {
    let mut writer = Writer::new("llama");
    writer.set("llama.attention.layer_norm_rms_epsilon", Meta::F32(1e-5));
    writer.tensor("token_embd.weight", &[5, 8], &[0.5; 40]);
    writer
}

#[test]
fn blocks_of_every_type_are_what_another_implementation_reads() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf-blocks.json");
    let fixtures: Value = artifacts::read_json(&fixtures).unwrap();
    let ids = [
        ("F16", 1),
        ("Q4_0", 2),
        ("Q4_1", 3),
        ("Q5_0", 6),
        ("Q5_1", 7),
        ("Q8_0", 8),
        ("Q4_K", 12),
        ("Q5_K", 13),
        ("Q6_K", 14),
        ("BF16", 30),
    ];
    assert_eq!(fixtures.as_object().unwrap().len(), ids.len() + 1, "and their origin");
    let mut writer = llama();
    for (name, id) in ids {
        let hex = fixtures[name]["hex"].as_str().unwrap();
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        let bytes = (0..hex.len() / 2).map(byte).collect();
        let n = fixtures[name]["values"].as_array().unwrap().len();
        writer.tensors.push((name.to_owned(), vec![1, n], id, bytes));
    }
    let gguf = opened(&writer);
    for (name, _) in ids {
        let expected = fixtures[name]["values"].as_array().unwrap();
        let found = values(&gguf, name);
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let expected = expected.as_f64().unwrap();
            // The fixture has eight digits.
            let close = (f64::from(*found) - expected).abs() <= 6e-8 * expected.abs();
            assert!(close, "{name} {i}: {found} is not {expected}");
        }
    }
}

#[test]
fn tensors_lie_at_any_alignment_and_have_their_names_of_the_checkpoint() {
    for (alignment, version) in [(32, 3), (64, 2), (8, 3)] {
        let mut writer = llama();
        writer.alignment = alignment;
        writer.version = version;
        if alignment != 32 {
            writer.set("general.alignment", Meta::U32(alignment as u32));
        }
        writer.tensor("blk.1.attn_norm.weight", &[3], &[1.0, 2.0, 3.0]);
        writer.tensor("blk.1.ffn_down.weight", &[1, 2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        writer.tensor("blk.01.ffn_up.weight", &[1], &[7.0]);
        writer.tensor("v.patch_embd.weight", &[1], &[8.0]);
        writer.tensor("rope_freqs.weight", &[2], &[1.0, 32.0]);
        let gguf = opened(&writer);
        let names: Vec<&str> = gguf.names().collect();
        let expected = [
            "blk.01.ffn_up.weight",
            "model.embed_tokens.weight",
            "model.layers.1.input_layernorm.weight",
            "model.layers.1.mlp.down_proj.weight",
            "v.patch_embd.weight",
        ];
        assert_eq!(names, expected);
        assert_eq!(gguf.shape(expected[3]), Some(&[1, 2, 3][..]));
        assert_eq!(gguf.shape("rope_freqs.weight"), None);
        assert_eq!(values(&gguf, expected[0]), [7.0]);
        assert_eq!(values(&gguf, expected[2]), [1.0, 2.0, 3.0]);
        assert_eq!(values(&gguf, expected[3]), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(gguf.rope_divisors().unwrap(), Some(vec![1.0, 32.0]));
        assert!(line(gguf.read("lm_head.weight", &mut |_| ())).contains("`lm_head.weight`"));
        assert!(!gguf.norms_include_one());
    }
    assert_eq!(opened(&llama()).rope_divisors().unwrap(), None);
    assert!(opened(&config::gemma3()).norms_include_one());
    let mut writer = llama();
    writer.tensor("rope_freqs.weight", &[2], &[1.0, 0.0]);
    assert!(line(opened(&writer).rope_divisors()).contains("rope_freqs"));
}

#[test]
fn names_of_every_family() {
    let blocks = |parts: &[&str], before: &str| -> Vec<String> {
        parts.iter().map(|part| format!("{before}.11.{part}")).collect()
    };
    let attention = [
        "self_attn.q_proj.weight",
        "self_attn.q_proj.bias",
        "self_attn.k_proj.weight",
        "self_attn.v_proj.bias",
    ];
    let rest = [
        "self_attn.o_proj.weight",
        "self_attn.q_norm.weight",
        "self_attn.k_norm.weight",
        "mlp.gate_proj.weight",
        "mlp.up_proj.weight",
        "mlp.down_proj.weight",
        "input_layernorm.weight",
    ];
    let stored = [
        "attn_q.weight",
        "attn_q.bias",
        "attn_k.weight",
        "attn_v.bias",
        "attn_output.weight",
        "attn_q_norm.weight",
        "attn_k_norm.weight",
        "ffn_gate.weight",
        "ffn_up.weight",
        "ffn_down.weight",
        "attn_norm.weight",
    ];
    let check = |architecture: &str, stored: &[&str], expected: Vec<String>, whole: [&str; 3]| {
        let mut writer = Writer::new(architecture);
        for name in ["token_embd.weight", "output_norm.weight", "output.weight"] {
            writer.tensor(name, &[1], &[0.0]);
        }
        for (i, name) in stored.iter().enumerate() {
            writer.tensor(&format!("blk.11.{name}"), &[1], &[i as f32]);
        }
        let gguf = opened(&writer);
        assert_eq!(gguf.names().count(), stored.len() + 3);
        for name in whole {
            assert!(gguf.shape(name).is_some(), "{architecture} {name}");
        }
        for name in &expected {
            assert!(gguf.shape(name).is_some(), "{architecture} {name}");
        }
        // Not only the right names, but each for the right tensor; one row is no whole head, where rows change places.
        for (i, name) in expected.iter().enumerate() {
            if !(architecture == "llama" && (name.contains("q_proj") || name.contains("k_proj"))
                || name.contains("query_key"))
            {
                assert_eq!(values(&gguf, name), [i as f32], "{name}");
            }
        }
    };
    let whole = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"];
    for architecture in ["llama", "qwen2", "qwen3"] {
        let parts = [&attention[..], &rest, &["post_attention_layernorm.weight"]].concat();
        let stored = [&stored[..], &["ffn_norm.weight"]].concat();
        check(architecture, &stored, blocks(&parts, "model.layers"), whole);
    }
    for architecture in ["gemma2", "gemma3"] {
        let norms = [
            "post_attention_layernorm.weight",
            "pre_feedforward_layernorm.weight",
            "post_feedforward_layernorm.weight",
        ];
        let parts = [&attention[..], &rest, &norms].concat();
        let stored = [
            &stored[..],
            &["post_attention_norm.weight", "ffn_norm.weight", "post_ffw_norm.weight"],
        ]
        .concat();
        check(architecture, &stored, blocks(&parts, "model.layers"), whole);
    }
    let neox = [
        ("attn_qkv.weight", "attention.query_key_value.weight"),
        ("attn_qkv.bias", "attention.query_key_value.bias"),
        ("attn_output.weight", "attention.dense.weight"),
        ("attn_norm.bias", "input_layernorm.bias"),
        ("ffn_norm.weight", "post_attention_layernorm.weight"),
        ("ffn_up.bias", "mlp.dense_h_to_4h.bias"),
        ("ffn_down.weight", "mlp.dense_4h_to_h.weight"),
    ];
    let whole = [
        "gpt_neox.embed_in.weight",
        "gpt_neox.final_layer_norm.weight",
        "embed_out.weight",
    ];
    check(
        "gptneox",
        &neox.map(|(stored, _)| stored),
        blocks(&neox.map(|(_, there)| there), "gpt_neox.layers"),
        whole,
    );
}

/// Rows that say their own number.
fn numbered(rows: usize, width: usize) -> Vec<f32> {
    (0..rows * width)
        .map(|i| (i / width) as f32 + (i % width) as f32 / 4096.0)
        .collect()
}

/// What llama.cpp's converter does to queries and keys: `[heads, 2, Dh / 2, ...]` becomes `[heads, Dh / 2, 2, ...]`.
fn paired(checkpoint: &[f32], heads: usize, rows: usize, width: usize) -> Vec<f32> {
    let head = rows / heads;
    let mut file = vec![f32::NAN; checkpoint.len()];
    for h in 0..heads {
        for j in 0..2 {
            for i in 0..head / 2 {
                let (from, to) = (h * head + j * head / 2 + i, h * head + 2 * i + j);
                file[to * width..][..width].copy_from_slice(&checkpoint[from * width..][..width]);
            }
        }
    }
    file
}

/// What it does to those of GPT-NeoX: `[heads, 3, Dh, ...]` becomes `[3, heads, Dh, ...]`.
fn apart(checkpoint: &[f32], heads: usize, rows: usize, width: usize) -> Vec<f32> {
    let head = rows / heads / 3;
    let mut file = Vec::new();
    for part in 0..3 {
        for h in 0..heads {
            let from = (3 * h + part) * head;
            file.extend_from_slice(&checkpoint[from * width..(from + head) * width]);
        }
    }
    file
}

#[test]
fn rows_of_queries_and_keys_go_back_into_their_order_in_pieces() {
    // Several pieces, of which the last is smaller.
    let (heads, kv_heads, head, width) = (10, 5, 128, 1024);
    let mut writer = Writer::new("llama");
    writer.set("llama.attention.head_count", Meta::U32(heads as u32));
    writer.set("llama.attention.head_count_kv", Meta::U32(kv_heads as u32));
    let queries = numbered(heads * head, width);
    let keys = numbered(kv_heads * head, width);
    let biases = numbered(heads * head, 1);
    let at = |name: &str| format!("model.layers.0.self_attn.{name}");
    writer.tensor(
        "blk.0.attn_q.weight",
        &[heads * head, width],
        &paired(&queries, heads, heads * head, width),
    );
    writer.tensor(
        "blk.0.attn_k.weight",
        &[kv_heads * head, width],
        &paired(&keys, kv_heads, kv_heads * head, width),
    );
    writer.tensor("blk.0.attn_v.weight", &[heads * head, width], &queries);
    writer.tensor(
        "blk.0.attn_q.bias",
        &[heads * head],
        &paired(&biases, heads, heads * head, 1),
    );
    let gguf = opened(&writer);
    for (name, expected, n) in [
        ("q_proj.weight", &queries, 2),
        ("k_proj.weight", &keys, 1),
        ("v_proj.weight", &queries, 2),
        ("q_proj.bias", &biases, 1),
    ] {
        let (mut all, mut pieces) = (Vec::new(), 0);
        let row = gguf.shape(&at(name)).unwrap().get(1).copied().unwrap_or(1);
        let mut sink = |piece: &[f32]| {
            assert!(piece.len() <= 1 << 20 && piece.len().is_multiple_of(row));
            pieces += 1;
            all.extend_from_slice(piece);
        };
        gguf.read(&at(name), &mut sink).unwrap();
        assert!(all == *expected, "{name}");
        assert_eq!(pieces, n, "{name}");
    }
    assert_ne!(paired(&queries, heads, heads * head, width), queries);
    // Other families have theirs as they are.
    let mut writer = Writer::new("qwen2");
    writer.tensor("blk.0.attn_q.weight", &[8, 2], &numbered(8, 2));
    assert_eq!(values(&opened(&writer), &at("q_proj.weight")), numbered(8, 2));
    // Rows that the heads cannot share.
    let mut writer = llama();
    writer.tensor("blk.0.attn_q.weight", &[7, 2], &numbered(7, 2));
    let gguf = opened(&writer);
    assert!(line(gguf.read(&at("q_proj.weight"), &mut |_| ())).contains("7 rows"));
}

#[test]
fn rows_of_neox_go_back_to_their_heads() {
    let (heads, head, width) = (7, 128, 896);
    let rows = 3 * heads * head;
    let mut writer = Writer::new("gptneox");
    writer.set("gptneox.attention.head_count", Meta::U32(heads as u32));
    let (weights, biases) = (numbered(rows, width), numbered(rows, 1));
    writer.tensor(
        "blk.0.attn_qkv.weight",
        &[rows, width],
        &apart(&weights, heads, rows, width),
    );
    writer.tensor("blk.0.attn_qkv.bias", &[rows], &apart(&biases, heads, rows, 1));
    let gguf = opened(&writer);
    let at = |name: &str| format!("gpt_neox.layers.0.attention.query_key_value.{name}");
    assert!(values(&gguf, &at("weight")) == weights);
    assert!(values(&gguf, &at("bias")) == biases);
    assert_ne!(apart(&biases, heads, rows, 1), biases);
}

/// A file with everything in it.
fn whole() -> Writer {
    let mut writer = llama();
    writer.set("tokenizer.ggml.model", text("llama"));
    writer.set(
        "tokenizer.ggml.tokens",
        writer::texts(&["<unk>", "<s>", "</s>", "a", "b", "ab", "\u{2581}"]),
    );
    writer.set(
        "tokenizer.ggml.scores",
        Meta::F32s(vec![0.0, 0.0, 0.0, -3.0, -4.0, -1.0, -2.0]),
    );
    writer.set("tokenizer.ggml.token_type", Meta::I32s(vec![2, 3, 3, 1, 1, 1, 1]));
    writer.set("tokenizer.ggml.add_bos_token", Meta::Bool(true));
    writer
        .tensors
        .push(("blk.0.attn_v.weight".to_owned(), vec![2, 32], 2, vec![1; 36]));
    writer.tensor("blk.0.attn_q.weight", &[8, 1], &numbered(8, 1));
    writer
}

/// Calls all that a file offers.
fn used(bytes: &[u8]) -> Result<(), gguf::Error> {
    let gguf = open(bytes)?;
    let mut outcomes = vec![
        gguf.config().map(drop),
        gguf.tokenizer().map(drop),
        gguf.rope_divisors().map(drop),
    ];
    for name in gguf.names() {
        let mut n = 0;
        outcomes.push(gguf.read(name, &mut |piece| n += piece.len()));
        if outcomes.last().unwrap().is_ok() {
            assert_eq!(n, gguf.shape(name).unwrap().iter().product::<usize>());
        }
    }
    outcomes.into_iter().collect()
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let bytes = whole().bytes();
    used(&bytes).unwrap();
    for length in 0..bytes.len() {
        line(open(&bytes[..length]));
    }
}

#[test]
fn no_number_in_a_file_makes_it_panic() {
    let bytes = whole().bytes();
    let mut refused = 0;
    for at in 0..bytes.len() - 8 {
        for (number, width) in [(u64::MAX, 8), (1 << 40, 8), (0, 8), (u64::MAX, 4), (0x7f, 1)] {
            let mut changed = bytes.clone();
            changed[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
            refused += u32::from(used(&changed).is_err());
        }
    }
    assert!(refused > 1000);
    // Counts, lengths and sizes that the file cannot hold are refused before anything is allocated for them.
    let n_tensors = 8;
    for at in [n_tensors, n_tensors + 8, n_tensors + 16] {
        for number in [u64::MAX, u64::MAX / 24, 1 << 40] {
            let mut changed = bytes.clone();
            changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
            assert!(line(open(&changed)).contains("it ends in"));
        }
    }
}
