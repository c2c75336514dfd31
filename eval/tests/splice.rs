//! Cross-entropy with a reconstruction in place, on the shipped model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use activations::Packing;
use eval::{Change, SpliceTask};
use kernels::{cpu, to_vec};
use lm::{Gpt2, HookPoint, Logits, Request, Start, TokenBatch, Tokenizer};
use tasks::world::World;

const HOOK: HookPoint = HookPoint::ResidPre(2);

fn model() -> (Gpt2, Vec<Vec<u32>>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let world = World::new();
    let documents: Vec<String> = (0..12).map(|index| world.document(3, index).text()).collect();
    let windows = Packing::documents(40).windows(documents.into_iter().map(Ok), &tokenizer);
    (
        Gpt2::load(&dir, &cpu()).unwrap(),
        windows.unwrap().into_iter().map(|window| window.ids).collect(),
    )
}

#[test]
fn nothing_changed_costs_nothing_and_ablations_cost() {
    let (model, windows) = model();
    let task = SpliceTask::new(&model, HOOK, None, &windows).unwrap();
    let same = task.change(&|x| x).unwrap();
    assert!(
        same.kl.abs() < 1e-6 && (same.ce - task.ce_clean).abs() < 1e-6,
        "{same:?}"
    );
    assert!((task.recovered(same, task.zero).unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(task.recovered(task.zero, task.zero), Some(0.0));
    assert_eq!(task.change(&|x| x.zeros_like()).unwrap(), task.zero);
    assert!(
        task.zero.ce > task.ce_clean + 0.5 && task.zero.kl > 0.5,
        "{:?}",
        task.zero
    );
    assert!(task.mean.kl > 0.5 && task.mean != task.zero, "{:?}", task.mean);
    // Half way between the vectors and zero costs less than zero.
    let half: Change = task.change(&|x| x * 0.5).unwrap();
    assert!(half.kl > same.kl && half.kl < task.zero.kl, "{half:?}");
}

#[test]
fn cross_entropy_is_that_of_a_softmax_in_f64() {
    let (model, windows) = model();
    let task = SpliceTask::new(&model, HOOK, None, &windows).unwrap();
    let (mut sum, mut n) = (0.0, 0);
    for window in windows.iter().filter(|window| window.len() >= 3) {
        let request = Request {
            logits: Logits::All,
            ..Request::default()
        };
        let batch = TokenBatch::new(&[window]).unwrap();
        let logits = model
            .run(Start::Tokens(&batch), &request)
            .unwrap()
            .logits_all()
            .unwrap();
        let vocabulary = logits.dims()[2];
        let logits = to_vec(logits);
        for position in 1..window.len() - 1 {
            let row = &logits[position * vocabulary..][..vocabulary];
            let most = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
            let total: f64 = row.iter().map(|x| (f64::from(*x) - most).exp()).sum();
            sum += most + total.ln() - f64::from(row[window[position + 1] as usize]);
            n += 1;
        }
    }
    assert_eq!(task.tokens, n);
    assert!(
        (task.ce_clean - sum / n as f64).abs() < 1e-5,
        "{} {}",
        task.ce_clean,
        sum / n as f64
    );
}

#[test]
fn text_without_a_prediction_is_refused() {
    let (model, _) = model();
    let error = SpliceTask::new(&model, HOOK, None, &[vec![0, 1]])
        .unwrap_err()
        .to_string();
    assert!(error.contains("three tokens"), "{error}");
}
