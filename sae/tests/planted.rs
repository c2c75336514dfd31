//! A planted dictionary is found again; a checkpoint gives back what was saved; training repeats to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;

use dictionaries::{Architecture, Autoencoder, Dictionary, Encoder, Origin, Trained, Variant};
use kernels::{Precision, cpu, from_vec, random, to_vec};
use lm::HookPoint;
use rand::RngExt;
use sae::{Finished, Rows, TrainConfig, train};

const WIDTH: usize = 64;
const TRUE_FEATURES: usize = 128;
/// Every architecture, with the settings that suit about four active features a row.
const ARCHITECTURES: [Architecture; 10] = [
    Architecture::Relu { l1: 1.0 },
    Architecture::ReluApril { l1: 1.0 },
    Architecture::PAnneal { l1: 1.0, p_end: 0.5 },
    Architecture::Gated { l1: 3.0 },
    Architecture::Jumprelu {
        l0: 4.0,
        bandwidth: 0.5,
    },
    Architecture::JumpreluL0 {
        weight: 2.0,
        bandwidth: 0.5,
    },
    Architecture::JumpreluTanh {
        weight: 2.0,
        bandwidth: 2.0,
    },
    Architecture::Topk { k: 4 },
    Architecture::BatchTopk { k: 4 },
    Architecture::Matryoshka { k: 4, levels: 2 },
];

/// Random unit features `[TRUE_FEATURES, WIDTH]`, and rows in which each is active with probability 0.03 and an amplitude
/// between 0.5 and 1.5, plus noise of standard deviation 0.01.
fn planted(rows: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = random::rng(1, "planted");
    let features = random::unit_rows(&mut rng, TRUE_FEATURES, WIDTH);
    let mut values = random::normal(&mut rng, rows * WIDTH, 0.01);
    for row in values.chunks_mut(WIDTH) {
        for feature in features.chunks(WIDTH) {
            if rng.random_bool(0.03) {
                let amplitude = rng.random_range(0.5..1.5_f32);
                row.iter_mut().zip(feature).for_each(|(x, f)| *x += f * amplitude);
            }
        }
    }
    (features, values)
}

fn config(architecture: Architecture, target: Option<HookPoint>) -> TrainConfig {
    TrainConfig {
        expansion: 4,
        batch: 512,
        steps: 2000,
        seed: 0,
        dead_after: 10_000,
        auxiliary_k: 0,
        auxiliary_weight: 1.0 / 32.0,
        resamples: 4,
        precision: Precision::F32,
        part: [0, 1],
        held_out: 0.1,
        stream: false,
        checkpoint_every: 1000,
        variants: vec![Variant {
            name: architecture.name().to_owned(),
            architecture,
            seed: 0,
            learning_rate: 3e-3,
            target,
            l0: None,
            anneal_k: None,
            frozen_decoder: false,
        }],
    }
}

fn rows(values: &[f32]) -> Rows {
    Rows {
        width: WIDTH,
        values: values.to_vec(),
    }
}

/// Mean over the true features of the largest cosine with a learned one.
fn recovery(model: &Autoencoder, features: &[f32]) -> f32 {
    let learned = to_vec(model.directions());
    let best = |feature: &[f32]| {
        let cosine = |row: &[f32]| row.iter().zip(feature).map(|(a, b)| a * b).sum::<f32>();
        learned.chunks(WIDTH).map(cosine).fold(f32::MIN, f32::max)
    };
    features.chunks(WIDTH).map(best).sum::<f32>() / TRUE_FEATURES as f32
}

#[test]
fn every_architecture_finds_the_planted_features() {
    let (features, values) = planted(50_000);
    let mut failures = String::new();
    for architecture in ARCHITECTURES {
        let start = std::time::Instant::now();
        let config = config(architecture, None);
        let Finished { model, summary, .. } = train(rows(&values), BTreeMap::new(), &config, &cpu())
            .unwrap()
            .remove(0);
        let recovered = recovery(&model, &features);
        println!(
            "{}: mean best cosine {recovered:.3}, {summary:?}, {:.1} s",
            architecture.name(),
            start.elapsed().as_secs_f64()
        );
        let unit = |row: &[f32]| (row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4;
        let all_unit = to_vec(model.directions()).chunks(WIDTH).all(unit);
        if recovered < 0.95 || summary.fvu.unwrap() > 0.3 || !all_unit {
            failures += &format!("{}: {recovered:.3}, {summary:?}\n", architecture.name());
        }
    }
    assert!(
        failures.is_empty(),
        "mean best cosine with the planted features:\n{failures}"
    );
}

#[test]
fn checkpoints_round_trip_and_damage_is_named() {
    let (_, values) = planted(600);
    for architecture in ARCHITECTURES {
        check_checkpoint(architecture, &values);
    }
}

fn check_checkpoint(architecture: Architecture, values: &[f32]) {
    let mut config = config(architecture, None);
    config.steps = 20;
    let run = || train(rows(values), BTreeMap::new(), &config, &cpu()).unwrap().remove(0);
    let Finished {
        variant,
        model,
        summary,
    } = run();
    let again = run().model;
    assert_eq!(
        to_vec(model.parameters.w_enc.clone()),
        to_vec(again.parameters.w_enc),
        "the same run gives the same bytes"
    );

    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::Trained(Box::new(Trained {
        site: "blocks.1.hook_resid_pre@END".to_owned(),
        parent: "abc".to_owned(),
        model: "def".to_owned(),
        model_name: Some("owner/model".to_owned()),
        harvest: serde_json::json!({"source": {"kind": "text", "context": 64}, "bos": 0, "refactor_attention": false}),
        config: config.hash(&variant),
        settings: config.settings(&variant),
        variant,
        summary,
    }));
    model.save(folder.path(), &origin).unwrap();
    let (loaded, read) = Autoencoder::load(folder.path(), &cpu()).unwrap();
    assert_eq!(read, origin);
    // What SAELens loads the model and the text by.
    let cfg: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("cfg.json")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "model_name": "owner/model", "context_size": 64, "prepend_bos": true,
        "model_from_pretrained_kwargs": {
            "center_unembed": false, "center_writing_weights": false, "fold_ln": false, "fold_value_biases": false,
            "refactor_factored_attn_matrices": false,
        },
    });
    for (key, expected) in expected.as_object().unwrap() {
        assert_eq!(&cfg["metadata"][key], expected, "{key}");
    }
    let x = || from_vec(values[..10 * WIDTH].to_vec(), [10, WIDTH], &cpu());
    assert_eq!(to_vec(loaded.encode(x())), to_vec(model.encode(x())));

    let path = folder.path().join("sae_weights.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Autoencoder::load(folder.path(), &cpu()).unwrap_err().to_string();
    assert!(
        error.contains("sae_weights.safetensors") && !error.contains('\n'),
        "{error}"
    );
}
