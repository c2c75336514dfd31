//! A planted dictionary is found again; a checkpoint gives back what was saved; training repeats to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use activations::Dictionary;
use kernels::{cpu, from_vec, random, to_vec};
use sae::{Architecture, Autoencoder, Origin, TrainConfig, train};

const WIDTH: usize = 16;
const TRUE_FEATURES: usize = 32;

/// Unit features `[TRUE_FEATURES, WIDTH]`, and rows that are sums of few of them.
fn planted(rows: usize) -> (Vec<f32>, Vec<f32>) {
    let mut rng = random::rng(1, "planted");
    let mut features = random::normal(&mut rng, TRUE_FEATURES * WIDTH, 1.0);
    for row in features.chunks_mut(WIDTH) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
    }
    let draws = random::normal(&mut rng, rows * TRUE_FEATURES, 1.0);
    let mut values = vec![0.0; rows * WIDTH];
    for (row, draws) in values.chunks_mut(WIDTH).zip(draws.chunks(TRUE_FEATURES)) {
        // About 5 % of the features are active (a normal draw above 1.645), with amplitude 0.5 to about 1.5.
        for (feature, draw) in features.chunks(WIDTH).zip(draws).filter(|(_, draw)| **draw > 1.645) {
            row.iter_mut().zip(feature).for_each(|(x, f)| *x += f * (draw - 1.145));
        }
    }
    (features, values)
}

fn config(architecture: Architecture) -> TrainConfig {
    TrainConfig {
        expansion: 4,
        batch: 256,
        steps: 1500,
        learning_rate: 3e-3,
        seed: 0,
        variants: vec![architecture],
    }
}

fn recovery(model: &Autoencoder, features: &[f32]) -> f32 {
    let learned = to_vec(model.directions());
    let best = |feature: &[f32]| {
        let cosine = |row: &[f32]| row.iter().zip(feature).map(|(a, b)| a * b).sum::<f32>();
        learned.chunks(WIDTH).map(cosine).fold(f32::MIN, f32::max)
    };
    features.chunks(WIDTH).map(best).sum::<f32>() / TRUE_FEATURES as f32
}

#[test]
fn both_architectures_find_the_planted_features() {
    let (features, values) = planted(8000);
    for (architecture, least) in [
        (Architecture::Topk { k: 3 }, 0.9),
        (Architecture::Relu { l1: 0.5 }, 0.9),
    ] {
        let mut steps = 0;
        let (model, summary) = train(&values, WIDTH, architecture, &config(architecture), &cpu(), &mut |_| {
            steps += 1
        })
        .unwrap();
        assert_eq!(steps, 1500);
        let recovered = recovery(&model, &features);
        assert!(
            recovered > least,
            "{architecture:?}: mean best cosine {recovered}, {summary:?}"
        );
        assert!(summary.fvu < 0.3 && summary.l0 < 12.0, "{architecture:?}: {summary:?}");
        for row in to_vec(model.directions()).chunks(WIDTH) {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-4);
        }
    }
}

#[test]
fn checkpoints_round_trip_and_damage_is_named() {
    let (_, values) = planted(600);
    let architecture = Architecture::Topk { k: 2 };
    let mut config = config(architecture);
    config.steps = 20;
    let run = || train(&values, WIDTH, architecture, &config, &cpu(), &mut |_| ()).unwrap();
    let (model, summary) = run();
    let (again, _) = run();
    assert_eq!(
        to_vec(model.w_enc.clone()),
        to_vec(again.w_enc),
        "the same run gives the same bytes"
    );

    let folder = tempfile::tempdir().unwrap();
    let origin = Origin {
        node: "blocks.1.hook_resid_pre@END".parse().unwrap(),
        parent: "abc".to_owned(),
        config: config.hash(architecture),
        summary,
    };
    model.save(folder.path(), &origin).unwrap();
    let (loaded, read) = Autoencoder::load(folder.path(), &cpu()).unwrap();
    assert_eq!(read, origin);
    let x = || from_vec(values[..10 * WIDTH].to_vec(), [10, WIDTH], &cpu());
    assert_eq!(to_vec(loaded.encode(x(), &[])), to_vec(model.encode(x(), &[])));

    let path = folder.path().join("sae.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = Autoencoder::load(folder.path(), &cpu()).unwrap_err().to_string();
    assert!(error.contains("sae.safetensors") && !error.contains('\n'), "{error}");
}
