//! GGUF files: configuration, tensors and tokenizer of a model in one file.

#[path = "../../../gguf/tests/gguf/writer.rs"]
#[allow(dead_code, reason = "the tests of the reader use all of it")]
mod writer;

use gguf::Gguf;

use self::writer::{Meta, Writer, text, texts};
use super::message;
use crate::scratch::Scratch;
use crate::{Form, Reader, Target};

pub(super) fn targets() -> Vec<Target> {
    vec![Target {
        name: "gguf",
        form: Form::Bytes,
        seeds: || vec![llama().bytes(), neox().bytes(), gemma().bytes()],
        reader,
    }]
}

/// Opens a file and calls all that it offers.
fn reader() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let gguf = message(Gguf::open(&scratch.put("x.gguf", input)))?;
        let mut outcomes = vec![
            message(gguf.config().map(drop)),
            message(gguf.tokenizer().map(drop)),
            message(gguf.rope_divisors().map(drop)),
        ];
        for name in gguf.names() {
            let mut numbers = 0;
            let outcome = message(gguf.read(name, &mut |piece| numbers += piece.len()));
            if outcome.is_ok() {
                assert_eq!(Some(numbers), gguf.shape(name).map(|shape| shape.iter().product()));
            }
            outcomes.push(outcome);
        }
        outcomes.into_iter().collect()
    })
}

/// Byte-level BPE, permuted queries in single precision, and a tensor of every type with blocks.
fn llama() -> Writer {
    let mut writer = Writer::new("llama");
    writer.set("llama.attention.layer_norm_rms_epsilon", Meta::F32(1e-5));
    writer.set("llama.rope.scaling.type", text("yarn"));
    writer.set("llama.rope.scaling.factor", Meta::F32(4.0));
    writer.set("tokenizer.ggml.model", text("gpt2"));
    writer.set("tokenizer.ggml.pre", text("llama-bpe"));
    writer.set("tokenizer.ggml.tokens", texts(&["a", "b", "ab", "<s>"]));
    writer.set("tokenizer.ggml.token_type", Meta::I32s(vec![1, 1, 1, 3]));
    writer.set("tokenizer.ggml.merges", texts(&["a b"]));
    writer.set("tokenizer.ggml.bos_token_id", Meta::U32(3));
    writer.set("tokenizer.chat_template", text("{{ messages }}"));
    writer.tensor("token_embd.weight", &[4, 8], &[0.5; 32]);
    writer.tensor("blk.0.attn_q.weight", &[8, 1], &[0.25; 8]);
    writer.tensor("rope_freqs.weight", &[2], &[1.0, 8.0]);
    let types = [
        (1, 1, 2),
        (30, 1, 2),
        (2, 32, 18),
        (3, 32, 20),
        (6, 32, 22),
        (7, 32, 24),
        (8, 32, 34),
        (12, 256, 144),
        (13, 256, 176),
        (14, 256, 210),
    ];
    for (id, numbers, bytes) in types {
        let name = format!("blk.{id}.ffn_up.weight");
        writer.tensors.push((name, vec![1, numbers], id, vec![id as u8; bytes]));
    }
    writer
}

/// Queries, keys and values in one, an alignment of its own.
fn neox() -> Writer {
    let mut writer = Writer::new("gptneox");
    writer.alignment = 8;
    writer.set("general.alignment", Meta::U32(8));
    writer.set("gptneox.attention.layer_norm_epsilon", Meta::F32(1e-5));
    writer.set("gptneox.use_parallel_residual", Meta::Bool(true));
    writer.set("tokenizer.ggml.model", text("gpt2"));
    writer.set("tokenizer.ggml.pre", text("olmo"));
    writer.set("tokenizer.ggml.tokens", texts(&["a", "b"]));
    writer.set("tokenizer.ggml.merges", texts(&[]));
    writer.tensor("token_embd.weight", &[2, 8], &[0.5; 16]);
    writer.tensor("blk.0.attn_qkv.weight", &[24, 2], &[0.25; 48]);
    writer.tensor("blk.0.attn_qkv.bias", &[24], &[0.25; 24]);
    writer
}

/// SentencePiece.
fn gemma() -> Writer {
    let mut writer = Writer::new("gemma3");
    writer.set("gemma3.attention.layer_norm_rms_epsilon", Meta::F32(1e-6));
    writer.set("gemma3.attention.sliding_window", Meta::U32(8));
    writer.set(
        "gemma3.attention.sliding_window_pattern",
        Meta::Bools(vec![true, false]),
    );
    writer.set("gemma3.attention.head_count_kv", Meta::I32s(vec![1, 1]));
    writer.set("gemma3.rope.freq_base", Meta::F32(1e6));
    writer.set("tokenizer.ggml.model", text("llama"));
    writer.set(
        "tokenizer.ggml.tokens",
        texts(&[
            "<unk>",
            "<s>",
            "</s>",
            "a",
            "b",
            "ab",
            "\u{2581}",
            "<0x0A>",
            "\u{2581}\u{2581}",
        ]),
    );
    writer.set("tokenizer.ggml.scores", Meta::F32s(vec![0.0; 9]));
    writer.set("tokenizer.ggml.token_type", Meta::I32s(vec![2, 3, 3, 1, 1, 1, 1, 6, 4]));
    writer.set("tokenizer.ggml.add_space_prefix", Meta::Bool(false));
    writer.tensor("token_embd.weight", &[9, 8], &[0.5; 72]);
    writer
}
