//! Models at full size, without their weights: hashed ones, against what `transformers` computes from the same hash
//! (`scripts/gpt2_geometry.py`, `scripts/llama_geometry.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernels::{cpu, to_vec};
use lm::{HookPoint, Logits, Model, Request, Spec, Start, TokenBatch, Trace};

#[derive(serde::Deserialize)]
struct Expected {
    tokens: Vec<Vec<u32>>,
    hooks: BTreeMap<String, Numbers>,
}

#[derive(serde::Deserialize)]
struct Numbers {
    mean: f64,
    norm: f64,
    values: Vec<f64>,
}

fn check(name: &str, found: &[f32], expected: &Numbers) {
    let n = found.len();
    let mean = found.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
    let norm = found.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let size = norm / (n as f64).sqrt();
    let close = |found: f64, expected: f64, scale: f64| (found - expected).abs() <= 1e-4 * scale;
    assert!(
        close(mean, expected.mean, size),
        "{name}: mean {mean}, expected {}",
        expected.mean
    );
    assert!(
        close(norm, expected.norm, norm),
        "{name}: norm {norm}, expected {}",
        expected.norm
    );
    for (i, &expected) in expected.values.iter().enumerate() {
        let value = f64::from(found[i * (n - 1) / 63]);
        // Errors of sums of thousands of terms are a share of what is usual, not of this one number.
        assert!(
            close(value, expected, size.max(expected.abs())),
            "{name} {i}: {value}, expected {expected}"
        );
    }
}

/// Compares every hook and the logits of one pass, and some hooks alone, with the numbers in the fixture's folder.
fn compare(model: &Model, dir: &Path, n_hooks: usize, alone: &[HookPoint]) {
    let expected: Expected = artifacts::read_json(&dir.join("expected.json")).unwrap();
    let hooks: Vec<HookPoint> = expected.hooks.keys().filter_map(|name| name.parse().ok()).collect();
    assert_eq!(hooks.len(), n_hooks);
    assert_eq!(expected.hooks.len(), hooks.len() + 1);
    let tokens = TokenBatch::new(&expected.tokens).unwrap();
    let run = |capture: Vec<HookPoint>, logits: Logits| -> Trace {
        let request = Request {
            capture,
            logits,
            ..Request::default()
        };
        model.run(Start::Tokens(&tokens), &request).unwrap()
    };
    let numbers = |trace: &Trace, hook: HookPoint| match trace.tensor3(hook) {
        Ok(tensor) => to_vec(tensor),
        Err(_) => to_vec(trace.tensor4(hook).unwrap()),
    };
    let all = run(hooks.clone(), Logits::All);
    check("logits", &to_vec(all.logits_all().unwrap()), &expected.hooks["logits"]);
    let by_name = |trace: &Trace, hook: HookPoint| {
        let name = hook.to_string();
        check(&name, &numbers(trace, hook), &expected.hooks[&name]);
    };
    for hook in hooks {
        by_name(&all, hook);
    }
    // Alone, a hook is computed by other kernels, and what comes after it is not computed.
    for &hook in alone {
        by_name(&run(vec![hook], Logits::None), hook);
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[test]
fn every_hook_of_gpt2_small_equals_transformers() {
    let model = Model::hashed(Spec::gpt2(12, 12, 768, 1024, 50_257), &cpu());
    let alone = [HookPoint::ResidPre(8), HookPoint::Z(3), HookPoint::MlpPost(11)];
    compare(&model, &fixture("gpt2-geometry"), 12 * 11 + 3, &alone);
}

#[test]
fn hooks_of_smollm2_135m_equal_transformers() {
    let dir = fixture("llama-geometry");
    let model = Model::hashed(Spec::read(&dir.join("config.json")).unwrap(), &cpu());
    let alone = [HookPoint::ResidPre(15), HookPoint::Z(3), HookPoint::MlpPost(29)];
    compare(&model, &dir, 30 * 3 + 2, &alone);
}
