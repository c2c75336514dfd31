//! Every architecture: loss, gradients, three training steps, and the finished autoencoder.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor};
use dictionaries::{Architecture, Parameters};
use kernels::{Precision, cpu, from_vec, to_vec};
use sae::{Batch, Checkpoints, Grid, Resumed, Rows, Schedule, Split, Start, TrainConfig, TrainFile, Trainer, train};

use crate::compare::{Case, Closeness, Numbers};
use crate::draw;

/// Sizes of a batch and of an autoencoder.
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: usize,
    width: usize,
    n_latents: usize,
}

/// A batch as in training, and sizes at which no block is full.
const PLAIN: Size = Size {
    rows: 64,
    width: 24,
    n_latents: 96,
};
const ONE_ROW: Size = Size {
    rows: 1,
    width: 7,
    n_latents: 33,
};
const ODD: Size = Size {
    rows: 37,
    width: 13,
    n_latents: 61,
};

/// So many latents that a GPU computes at the selected ones only: without AuxK and the levels of Matryoshka, and with them.
const WIDE: Size = Size {
    rows: 37,
    width: 13,
    n_latents: 397,
};
const WIDER: Size = Size {
    rows: 37,
    width: 13,
    n_latents: 1201,
};
const WIDE_ONE_ROW: Size = Size {
    rows: 1,
    width: 7,
    n_latents: 385,
};

fn architectures(k: usize) -> Vec<Architecture> {
    let bandwidth = 0.8;
    let all = vec![
        Architecture::Relu { l1: 0.7 },
        Architecture::ReluApril { l1: 0.7 },
        Architecture::PAnneal { l1: 0.7, p_end: 0.5 },
        Architecture::Gated { l1: 0.7 },
        Architecture::Jumprelu { l0: 3.0, bandwidth },
        Architecture::JumpreluL0 { weight: 0.5, bandwidth },
        Architecture::JumpreluTanh { weight: 0.5, bandwidth },
        Architecture::Topk { k },
        Architecture::BatchTopk { k },
        Architecture::Matryoshka { k, levels: 3 },
    ];
    // Fails to compile when an architecture is added, which belongs into the list then.
    for architecture in &all {
        match architecture {
            Architecture::Relu { .. }
            | Architecture::ReluApril { .. }
            | Architecture::PAnneal { .. }
            | Architecture::Gated { .. }
            | Architecture::Jumprelu { .. }
            | Architecture::JumpreluL0 { .. }
            | Architecture::JumpreluTanh { .. }
            | Architecture::Topk { .. }
            | Architecture::BatchTopk { .. }
            | Architecture::Matryoshka { .. } => {}
        }
    }
    all
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, k) in [(PLAIN, 3), (ONE_ROW, 3), (ODD, 5)] {
        for architecture in architectures(k) {
            cases.extend(of_training(architecture, size));
        }
    }
    for size in [WIDE, WIDER, WIDE_ONE_ROW] {
        for architecture in architectures(3).into_iter().filter(|a| a.k().is_some()) {
            cases.extend(of_training(architecture, size));
        }
    }
    // k = F, and no latent that is ever active.
    for architecture in architectures(ODD.n_latents).into_iter().filter(|a| a.k().is_some()) {
        cases.extend(of_training(architecture, ODD));
    }
    let narrow = architectures(5).into_iter().map(|architecture| (architecture, ODD));
    let wide = architectures(3).into_iter().filter(|a| a.k().is_some());
    for (architecture, size) in narrow.chain(wide.map(|architecture| (architecture, WIDER))) {
        let name = format!("{} without an active latent, {size:?}", architecture.name());
        cases.push(Case::new(name, Closeness::Pass, move |device| {
            silent(architecture, size, device)
        }));
    }
    cases.push(Case::new("latents that die and come back", Closeness::Steps, revived));
    cases.push(Case::new("finished autoencoders", Closeness::Steps, finished));
    cases.push(Case::new("a checkpoint of the CPU goes on", Closeness::Steps, resumed));
    cases
}

fn of_training(architecture: Architecture, size: Size) -> [Case; 2] {
    let name = format!("{} {:?}, {size:?}", architecture.name(), architecture.k());
    [
        Case::new(format!("{name}, gradients"), Closeness::Pass, move |device| {
            gradients(&trainer(architecture, size, device), &batch(0, size, device))
        }),
        Case::new(format!("{name}, three steps"), Closeness::Steps, move |device| {
            three_steps(architecture, size, device)
        }),
    ]
}

fn trainer(architecture: Architecture, size: Size, device: &Device) -> Trainer {
    let schedule = Schedule {
        steps: 300,
        learning_rate: 1e-3,
        // What the first batch does not use is dead at once.
        dead_after: size.rows,
        auxiliary_k: 0,
        auxiliary_weight: 1.0 / 32.0,
        resamples: 0,
        frozen_decoder: false,
        l0: None,
        anneal_k: 1.0,
        precision: Precision::F32,
    };
    let start = Start {
        n_latents: size.n_latents,
        mean: vec![0.1; size.width],
        target_mean: None,
        seed: 3,
    };
    Trainer::new(architecture, schedule, start, device)
}

fn batch(step: usize, size: Size, device: &Device) -> Tensor<2> {
    draw(&format!("batch {step}"), [size.rows, size.width], 1.0, device)
}

fn tensors(what: &str, p: &Parameters) -> Numbers {
    let mut all = vec![
        (format!("{what} W_enc"), to_vec(p.w_enc.clone())),
        (format!("{what} b_enc"), to_vec(p.b_enc.clone())),
        (format!("{what} W_dec"), to_vec(p.w_dec.clone())),
        (format!("{what} b_dec"), to_vec(p.b_dec.clone())),
    ];
    let extra = p.extra.iter().enumerate();
    all.extend(extra.map(|(i, extra)| (format!("{what} extra {i}"), to_vec(extra.clone()))));
    all
}

fn gradients(trainer: &Trainer, x: &Tensor<2>) -> Numbers {
    let (loss, of) = trainer.gradients(Batch { x, target: None }).unwrap();
    let mut numbers = tensors("gradient of", &of);
    numbers.push(("loss".to_owned(), vec![loss]));
    numbers
}

/// What three steps report, and how far they move each parameter.
fn three_steps(architecture: Architecture, size: Size, device: &Device) -> Numbers {
    let mut trainer = trainer(architecture, size, device);
    let before = tensors("movement of", trainer.parameters());
    let mut numbers = Numbers::new();
    for step in 0..3 {
        let x = batch(step, size, device);
        let report = trainer.step(Batch { x: &x, target: None }).unwrap().read().unwrap();
        numbers.push((format!("losses {step}"), vec![report.loss, report.squared_error]));
        numbers.push((format!("gradient norm {step}"), vec![report.gradient_norm]));
        numbers.push((format!("active and dead {step}"), vec![report.l0, report.dead]));
    }
    let after = tensors("movement of", trainer.parameters());
    let moved = before.into_iter().zip(after);
    numbers.extend(moved.map(|((name, before), (_, after))| {
        let moved = after.iter().zip(&before).map(|(a, b)| a - b);
        (name, moved.collect())
    }));
    numbers
}

/// Encoder biases so low that nothing is above zero or any threshold.
fn silent(architecture: Architecture, size: Size, device: &Device) -> Numbers {
    let mut trainer = trainer(architecture, size, device);
    let parameters = trainer.parameters_mut();
    parameters.b_enc = parameters.b_enc.clone() - 1e3;
    let mut numbers = gradients(&trainer, &batch(0, size, device));
    for step in 0..2 {
        let x = batch(step, size, device);
        let report = trainer.step(Batch { x: &x, target: None }).unwrap().read().unwrap();
        numbers.push((format!("loss {step}"), vec![report.loss]));
        numbers.push((format!("active and dead {step}"), vec![report.l0, report.dead]));
    }
    numbers
}

/// Half of the latents are silent for two steps, which makes them dead; then all are active, which a GPU does not look for at
/// once.
fn revived(device: &Device) -> Numbers {
    let architecture = Architecture::Topk { k: ODD.n_latents };
    let mut trainer = trainer(architecture, ODD, device);
    let mut numbers = Numbers::new();
    for step in 0..5 {
        let of = |latent: usize| {
            if step < 2 && latent.is_multiple_of(2) {
                -1e3
            } else {
                0.0
            }
        };
        trainer.parameters_mut().b_enc = from_vec((0..ODD.n_latents).map(of).collect(), [ODD.n_latents], device);
        let x = batch(step, ODD, device);
        let report = trainer.step(Batch { x: &x, target: None }).unwrap().read().unwrap();
        assert_eq!(report.dead > 0.0, [1, 2].contains(&step), "step {step}");
        numbers.push((format!("losses {step}"), vec![report.loss, report.squared_error]));
        numbers.push((format!("active and dead {step}"), vec![report.l0, report.dead]));
    }
    numbers.extend(tensors("after", trainer.parameters()));
    numbers
}

/// Steps of this device twice, with what the clip and AuxK are scaled by: the same bits.
pub(crate) fn repeated(device: &Device) -> [Numbers; 2] {
    [0, 1].map(|_| {
        let of = |(architecture, size): (Architecture, Size)| {
            let name = format!("{} {size:?}", architecture.name());
            let numbers = three_steps(architecture, size, device);
            numbers
                .into_iter()
                .map(move |(what, numbers)| (format!("{name}, {what}"), numbers))
                .collect::<Numbers>()
        };
        let architectures = architectures(3).into_iter().filter(|a| a.k().is_some());
        architectures
            .flat_map(|a| [(a, WIDE), (a, WIDER)])
            .flat_map(of)
            .collect()
    })
}

fn config() -> TrainConfig {
    let file = serde_json::json!({
        "steps": 6, "batch": 32, "expansion": 3, "dead_after": 64, "checkpoint_every": 3, "learning_rate": 1e-3,
        "autoencoder": [
            {"architecture": "relu", "l1": 0.5},
            {"architecture": "gated", "l1": 0.5},
            {"architecture": "jumprelu", "l0": 3},
            {"architecture": "topk", "k": 3},
            {"architecture": "topk", "k": 3, "frozen_decoder": true},
            {"architecture": "batch-topk", "k": 3},
        ],
    });
    TrainConfig::try_from(serde_json::from_value::<TrainFile>(file).unwrap()).unwrap()
}

fn inputs() -> Rows {
    Rows {
        width: 19,
        values: to_vec(draw("inputs", [300, 19], 0.3, &cpu())),
    }
}

/// Codes and reconstructions after a short training, and how many latents are active on what was held out.
fn finished(device: &Device) -> Numbers {
    let x = draw("unseen", [33, 19], 0.3, device);
    let trained = train(inputs(), BTreeMap::new(), &config(), device).unwrap();
    trained
        .into_iter()
        .flat_map(|finished| {
            let name = finished.variant.name;
            let summary = vec![finished.summary.fvu.unwrap() as f32, finished.summary.l0 as f32];
            [
                (format!("{name}, summary"), summary),
                (format!("{name}, codes"), to_vec(finished.model.codes(x.clone()))),
                (
                    format!("{name}, reconstruction"),
                    to_vec(finished.model.reconstruct(x.clone())),
                ),
            ]
        })
        .collect()
}

/// Three steps on the CPU, the checkpoint, and three steps here.
fn resumed(device: &Device) -> Numbers {
    let folder = tempfile::tempdir().unwrap();
    let grid = |device: &Device| {
        let config = config();
        let split = Split::last(inputs(), BTreeMap::new(), config.held_out);
        Grid::new(split, config.variants.clone(), &config, device).unwrap()
    };
    let mut losses = Vec::new();
    let mut steps = |grid: &mut Grid, until: usize| {
        while grid.steps_done() < until {
            grid.step(&mut |_, outcome| losses.push(outcome.read().unwrap().loss))
                .unwrap();
        }
    };
    let mut first = grid(&cpu());
    steps(&mut first, 3);
    let checkpoints = Checkpoints {
        dir: folder.path().to_owned(),
        training: "training".to_owned(),
        parent: "parent".to_owned(),
    };
    first.save(&checkpoints).unwrap();
    let mut second = grid(device);
    assert_eq!(second.resume(&checkpoints).unwrap(), Resumed::At(3));
    steps(&mut second, 6);
    vec![("losses".to_owned(), losses)]
}
