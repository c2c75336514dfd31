//! The file of SmolLM2-135M-Instruct (`make smollm2`), against what other programs read in it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gguf::Gguf;
use serde_json::{Value, json};

use crate::tokenizer::{ids, loaded};
use crate::values;

/// The file and what is known of it, where `SAELAB_SMOLLM2_GGUF` names it.
fn given() -> Option<(Gguf, Value)> {
    let Some(path) = std::env::var_os("SAELAB_SMOLLM2_GGUF").map(PathBuf::from) else {
        println!("skipped: SAELAB_SMOLLM2_GGUF does not name the file (make smollm2)");
        return None;
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/smollm2-gguf.json");
    let golden: Value = artifacts::read_json(&golden).unwrap();
    assert_eq!(artifacts::sha256_file(&path).unwrap(), golden["sha256"], "another file");
    Some((Gguf::open(&path).unwrap(), golden))
}

fn close(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() <= tolerance * expected.abs().max(1e-3),
        "{what}: {found} is not {expected}"
    );
}

/// The name in the checkpoint, written out here once more.
fn in_checkpoint(name: &str) -> String {
    let name = name.replace("blk.", "model.layers.");
    let parts = [
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("attn_norm", "input_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("attn_output", "self_attn.o_proj"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    let (part, there) = parts.iter().find(|(part, _)| name.contains(part)).unwrap();
    name.replace(part, there)
}

#[test]
fn its_tensors_and_configuration() {
    let Some((gguf, golden)) = given() else { return };
    let begin = Instant::now();
    let mut numbers = 0;
    for name in gguf.names() {
        gguf.read(name, &mut |piece| numbers += piece.len()).unwrap();
    }
    println!("{numbers} numbers in {:?}", begin.elapsed());
    assert_eq!(numbers, 134_515_008);
    assert_eq!(gguf.names().count(), 272);
    for (name, expected) in golden["tensors_as_stored"].as_object().unwrap() {
        let there = in_checkpoint(name);
        assert_eq!(json!(gguf.shape(&there)), expected["shape"], "{name}");
        let found = values(&gguf, &there);
        let sum: f64 = found.iter().map(|&x| f64::from(x)).sum();
        let squares: f64 = found.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        close(sum, &expected["sum"], 1e-6, name);
        close(squares, &expected["sum_of_squares"], 1e-6, name);
        // The first row stays the first and the last the last, whatever changes places between them.
        for (i, first) in expected["first4"].as_array().unwrap().iter().enumerate() {
            close(found[i].into(), first, 1e-6, name);
        }
        for (last, found) in expected["last2"]
            .as_array()
            .unwrap()
            .iter()
            .zip(&found[found.len() - 2..])
        {
            close((*found).into(), last, 1e-6, name);
        }
    }
    let rows = golden["tensors_in_checkpoint_order"].as_object().unwrap();
    let mut seen = 0;
    for (key, expected) in rows.iter().filter(|(key, _)| *key != "note") {
        let (which, row) = key.split_once(".0[row ").unwrap();
        let row: usize = row.split_once(',').unwrap().0.parse().unwrap();
        let found = values(&gguf, &format!("model.layers.0.self_attn.{which}.weight"));
        for (i, expected) in expected.as_array().unwrap().iter().enumerate() {
            close(found[row * 576 + i].into(), expected, 1e-6, key);
            seen += 1;
        }
    }
    assert_eq!(seen, 16);
    let config = gguf.config().unwrap();
    let expected = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 49152, "hidden_size": 576,
        "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100_000.0, "hidden_act": "silu",
        "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 2,
    });
    assert_eq!(config, expected);
    assert_eq!(gguf.rope_divisors().unwrap(), None);
}

#[test]
fn its_tokenizer() {
    let Some((gguf, golden)) = given() else { return };
    let golden = &golden["tokenizer"];
    let tokenizer = gguf.tokenizer().unwrap();
    assert_eq!(json!(tokenizer.bos), golden["bos"][0]);
    assert_eq!(json!(tokenizer.eos), golden["eos"][0]);
    assert_eq!(json!(tokenizer.add_bos), golden["add_bos"]);
    assert!(tokenizer.chat_template.as_ref().unwrap().contains("<|im_start|>"));
    let inner = loaded(&tokenizer);
    for special in golden["special"].as_array().unwrap() {
        assert_eq!(json!(inner.token_to_id(special[1].as_str().unwrap())), special[0]);
    }
    let cases = golden["cases"].as_array().unwrap();
    for case in cases.iter().chain([&golden["chat"]]) {
        let text = case["text"].as_str().unwrap();
        let found = ids(&inner, text);
        assert_eq!(json!(found), case["ids"], "{text:?}");
        if case["round_trips"] == true {
            assert_eq!(inner.decode(&found, false).unwrap(), text);
        }
    }
    assert_eq!(cases.len(), 14);
}
