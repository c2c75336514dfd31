//! The training loop: it learns, and a resumed run ends with the same bytes as one that was never stopped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use kernels::cpu;
use lm::train::{TrainConfig, Trainer};
use lm::{Gpt2Config, TokenBatch};

fn config() -> TrainConfig {
    TrainConfig {
        steps: 60,
        learning_rate: 1e-2,
        warmup_steps: 5,
        weight_decay: 0.01,
        clip_norm: 1.0,
        init_std: 0.08,
        seed: 7,
    }
}

/// Rows that count upwards from a start that depends on the batch: the next token is always known.
fn batch(step: usize) -> TokenBatch {
    let rows: Vec<Vec<u32>> = (0..8)
        .map(|row| (0..9).map(|t| ((step * 3 + row + t) % 11) as u32).collect())
        .collect();
    TokenBatch::new(&rows).unwrap()
}

fn run(trainer: &mut Trainer, until: usize) -> f32 {
    let mut loss = f32::NAN;
    while trainer.steps_done() < until {
        loss = trainer.step(&batch(trainer.steps_done())).unwrap();
    }
    loss
}

#[test]
fn learns_to_count_and_resumes_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let model = Gpt2Config::new(1, 2, 16, 8, 11);
    let mut whole = Trainer::new(config(), model.clone(), &cpu());
    let loss = run(&mut whole, 60);
    assert!(loss < 0.2, "loss {loss} after 60 steps");
    whole.export(&folder.path().join("whole"), 0).unwrap();

    let mut first = Trainer::new(config(), model.clone(), &cpu());
    run(&mut first, 23);
    let checkpoint = folder.path().join("checkpoint.safetensors");
    first.save(&checkpoint).unwrap();
    let mut second = Trainer::resume(config(), model, &checkpoint, &cpu()).unwrap();
    run(&mut second, 60);
    second.export(&folder.path().join("resumed"), 0).unwrap();
    let bytes = |name: &str| std::fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
    assert_eq!(bytes("whole"), bytes("resumed"));
}
