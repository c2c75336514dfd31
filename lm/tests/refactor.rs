//! Re-factored attention: the same log-probabilities, other activations, another hash.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use kernels::{cpu, to_vec};
use lm::{Dtype, HookPoint, LoadOptions, Logits, Model, Request, Start, TokenBatch};

const REFACTORED: LoadOptions = LoadOptions {
    refactor_attention: true,
    dtype: Dtype::F32,
};

fn folder(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// Log-probabilities of all positions, `[B * T, V]`, from the logits of a run.
fn log_probabilities(model: &Model, tokens: &TokenBatch) -> Vec<f64> {
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let logits = model
        .run(Start::Tokens(tokens), &request)
        .unwrap()
        .logits_all()
        .unwrap();
    let d_vocab = model.spec().d_vocab;
    let of = |row: &[f32]| {
        let row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        let most = row.iter().copied().fold(f64::MIN, f64::max);
        let sum = row.iter().map(|value| (value - most).exp()).sum::<f64>().ln() + most;
        row.into_iter().map(move |value| value - sum).collect::<Vec<_>>()
    };
    to_vec(logits).chunks_exact(d_vocab).flat_map(of).collect()
}

/// Rows of token ids that use the whole vocabulary.
fn tokens(d_vocab: usize, len: usize) -> TokenBatch {
    let row = |i: usize| {
        (0..len)
            .map(|t| ((i * 7919 + t * 104_729 + i * t) % d_vocab) as u32)
            .collect::<Vec<_>>()
    };
    TokenBatch::new(&(0..8).map(row).collect::<Vec<_>>()).unwrap()
}

#[test]
fn log_probabilities_stay_what_they_were() {
    for part in ["tests/fixtures/gpt2-micro", "../models/small-world"] {
        let plain = Model::load(&folder(part), &cpu()).unwrap();
        let refactored = Model::load_with(&folder(part), REFACTORED, &cpu()).unwrap();
        let tokens = tokens(plain.spec().d_vocab, 20);
        let (a, b) = (
            log_probabilities(&plain, &tokens),
            log_probabilities(&refactored, &tokens),
        );
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{part}: {a} {b}");
        }
    }
}

#[test]
fn heads_write_and_attend_as_before_in_other_axes() {
    let part = "../models/small-world";
    let plain = Model::load(&folder(part), &cpu()).unwrap();
    let refactored = Model::load_with(&folder(part), REFACTORED, &cpu()).unwrap();
    let tokens = tokens(plain.spec().d_vocab, 20);
    let of = |model: &Model, hook: HookPoint| {
        let request = Request {
            capture: vec![hook],
            ..Request::default()
        };
        let trace = model.run(Start::Tokens(&tokens), &request).unwrap();
        match trace.tensor3(hook) {
            Ok(tensor) => to_vec(tensor),
            Err(_) => to_vec(trace.tensor4(hook).unwrap()),
        }
    };
    let gap = |hook| {
        let pairs = of(&plain, hook).into_iter().zip(of(&refactored, hook));
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(gap(HookPoint::Pattern(2)) < 1e-4);
    assert!(gap(HookPoint::Q(2)) > 0.1 && gap(HookPoint::Z(2)) > 0.1);
    // What is written differs by its mean alone.
    let (d, out) = (plain.spec().d_model, HookPoint::AttnOut(2));
    for (a, b) in of(&plain, out)
        .chunks_exact(d)
        .zip(of(&refactored, out).chunks_exact(d))
    {
        let mean = a.iter().sum::<f32>() / d as f32;
        assert!(a.iter().zip(b).all(|(a, b)| (a - mean - b).abs() < 1e-3));
    }
}

#[test]
fn the_hash_tells_the_two_apart() {
    let part = folder("tests/fixtures/gpt2-micro");
    let plain = Model::load(&part, &cpu()).unwrap();
    let refactored = Model::load_with(&part, REFACTORED, &cpu()).unwrap();
    assert_eq!(plain.hash(), plain.file_hash());
    assert_eq!(refactored.file_hash(), plain.file_hash());
    assert_ne!(refactored.hash(), plain.hash());
    assert_eq!(refactored.hash().len(), 64);
}

/// Activations of one config were once taken for those of another with the same weights.
#[test]
fn the_hash_tells_configs_apart_and_refuses_what_cannot_be_computed() {
    let part = folder("tests/fixtures/gpt2-micro");
    let changed = tempfile::tempdir().unwrap();
    std::fs::copy(part.join("model.safetensors"), changed.path().join("model.safetensors")).unwrap();
    let text = std::fs::read_to_string(part.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut load = |epsilon: f64| {
        config["layer_norm_epsilon"] = epsilon.into();
        std::fs::write(changed.path().join("config.json"), config.to_string()).unwrap();
        Model::load(changed.path(), &cpu())
    };
    let hash = |model: &Model| model.file_hash().to_owned();
    let plain = hash(&Model::load(&part, &cpu()).unwrap());
    assert_eq!(hash(&load(1e-5).unwrap()), plain);
    assert_ne!(hash(&load(0.5).unwrap()), plain);
    let error = load(-1.0).unwrap_err().to_string();
    assert!(error.contains("`layer_norm_epsilon` is -1"), "{error}");
}
