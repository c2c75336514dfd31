//! GPT-2: the forward pass at every hook, interventions, a restart, and training.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use kernels::to_vec;
use lm::interchange::{Interchange, Pair};
use lm::train::{PretrainConfig, Pretrainer};
use lm::{HookPoint, Logits, Model, Past, Patch, Request, Spec, Start, TokenBatch, Trace};

use crate::compare::{Case, Closeness, Numbers};
use crate::draw;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("gpt2-micro at every hook", Closeness::Pass, every_hook),
        Case::new("gpt2-micro without captures", Closeness::Pass, no_hook),
        Case::new("gpt2-micro with overwritten values", Closeness::Pass, overwritten),
        Case::new("gpt2-micro restarted behind kept keys", Closeness::Pass, restarted),
        Case::new("small-world's logits", Closeness::Pass, small_world),
        Case::new("three training steps", Closeness::Pass, training),
    ]
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn micro(device: &Device) -> Model {
    Model::load(&root().join("lm/tests/fixtures/gpt2-micro"), device).unwrap()
}

fn ids() -> TokenBatch {
    let path = root().join("lm/tests/fixtures/gpt2-micro/expected.safetensors");
    let (shape, ids) = artifacts::read_integers(&path, "ids").unwrap();
    let rows: Vec<Vec<u32>> = ids
        .chunks(shape[1])
        .map(|row| row.iter().map(|&id| id as u32).collect())
        .collect();
    TokenBatch::new(&rows).unwrap()
}

fn captured(trace: &Trace, hooks: &[HookPoint]) -> Numbers {
    let numbers = |hook: &HookPoint| match trace.tensor3(*hook) {
        Ok(tensor) => to_vec(tensor),
        Err(_) => to_vec(trace.tensor4(*hook).unwrap()),
    };
    hooks.iter().map(|hook| (hook.to_string(), numbers(hook))).collect()
}

fn logits(trace: &Trace) -> (String, Vec<f32>) {
    ("logits".to_owned(), to_vec(trace.logits_all().unwrap()))
}

fn every_hook(device: &Device) -> Numbers {
    let names = artifacts::read_tensors(&root().join("lm/tests/fixtures/gpt2-micro/expected.safetensors")).unwrap();
    let hooks: Vec<HookPoint> = names.keys().filter_map(|name| name.parse().ok()).collect();
    assert_eq!(hooks.len(), 36);
    let request = Request {
        capture: hooks.clone(),
        logits: Logits::All,
        ..Request::default()
    };
    let trace = micro(device).run(Start::Tokens(&ids()), &request).unwrap();
    captured(&trace, &hooks).into_iter().chain([logits(&trace)]).collect()
}

fn no_hook(device: &Device) -> Numbers {
    let model = micro(device);
    let run = |logits| {
        let request = Request {
            logits,
            ..Request::default()
        };
        model.run(Start::Tokens(&ids()), &request).unwrap()
    };
    let at = run(Logits::At(vec![16, 3, 0, 9])).logits_at().unwrap();
    vec![logits(&run(Logits::All)), ("logits of a row".to_owned(), to_vec(at))]
}

fn overwritten(device: &Device) -> Numbers {
    let overwrite = |hook, head, width| {
        Patch::set(
            hook,
            head,
            vec![(1, 4), (3, 16), (1, 0)],
            draw("overwrite", [3, width], 1.0, device),
        )
    };
    let request = Request {
        capture: vec![HookPoint::Z(1), HookPoint::ResidPre(2)],
        patches: vec![
            overwrite(HookPoint::Z(1), Some(2), 12),
            overwrite(HookPoint::ResidPre(2), None, 48),
        ],
        logits: Logits::All,
        ..Request::default()
    };
    let trace = micro(device).run(Start::Tokens(&ids()), &request).unwrap();
    captured(&trace, &request.capture)
        .into_iter()
        .chain([logits(&trace)])
        .collect()
}

/// The last positions alone, behind the keys and values of the first.
fn restarted(device: &Device) -> Numbers {
    const FROM: usize = 9;
    let model = micro(device);
    let keys_values: Vec<[HookPoint; 2]> = (1..3).map(|l| [HookPoint::K(l), HookPoint::V(l)]).collect();
    let request = Request {
        capture: keys_values
            .iter()
            .flatten()
            .copied()
            .chain([HookPoint::ResidPre(1)])
            .collect(),
        ..Request::default()
    };
    let whole = model.run(Start::Tokens(&ids()), &request).unwrap();
    let resid = whole.tensor3(HookPoint::ResidPre(1)).unwrap();
    let resid = resid.narrow(1, FROM, ids().len() - FROM); // [B, T - FROM, D]
    let kept = |hook| whole.tensor4(hook).unwrap().narrow(1, 0, FROM); // [B, FROM, H, Dh]
    let past = Past {
        blocks: keys_values.iter().map(|hooks| hooks.map(kept)).collect(),
    };
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let start = Start::Resid { layer: 1, resid, past };
    vec![logits(&model.run(start, &request).unwrap())]
}

fn small_world(device: &Device) -> Numbers {
    let model = Model::load(&root().join("models/small-world"), device).unwrap();
    let d_vocab = model.spec().d_vocab;
    let row = |row: usize| -> Vec<u32> { (0..21).map(|t| ((row * 131 + t * 37) % d_vocab) as u32).collect() };
    let batch = TokenBatch::new(&(0..3).map(row).collect::<Vec<_>>()).unwrap();
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    vec![logits(&model.run(Start::Tokens(&batch), &request).unwrap())]
}

fn training(device: &Device) -> Numbers {
    let config = PretrainConfig {
        steps: 60,
        learning_rate: 1e-3,
        warmup_steps: 1,
        weight_decay: 0.01,
        clip_norm: 1.0,
        init_std: 0.08,
        seed: 7,
    };
    let mut trainer = Pretrainer::new(config, Spec::gpt2(2, 2, 24, 11, 31), device);
    let pairs = |step: usize| {
        let pair = |i: usize| Pair {
            source: (0..7).map(|t| ((step + i * 5 + t * 3) % 31) as u32).collect(),
            base: (0..7).map(|t| ((step + i * 2 + t * 4) % 31) as u32).collect(),
            bit: i.is_multiple_of(2),
            clue: 2 + i,
            answer: (step * 3 + i) as u32,
        };
        Interchange {
            layer: 1,
            clue_layer: 0,
            bit_weight: 0.5,
            answer_weight: 0.25,
            groups: vec![(0..3).map(pair).collect()],
        }
    };
    let losses = (0..3).flat_map(|step: usize| {
        let row = |row: usize| -> Vec<u32> { (0..10).map(|t| ((step * 7 + row * 3 + t * t) % 31) as u32).collect() };
        let rows = TokenBatch::new(&(0..5).map(row).collect::<Vec<_>>()).unwrap();
        let losses = trainer.step(&rows, Some(&pairs(step))).unwrap();
        [losses.text]
            .into_iter()
            .chain(losses.interchange.into_iter().flatten())
    });
    vec![("losses".to_owned(), losses.collect())]
}
