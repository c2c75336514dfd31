//! Three optimiser steps of dictionary_learning 0.1's trainers, repeated to the last weights.
//!
//! `tests/fixtures/steps/make.py` made the fixtures with the real library.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Tensor;
use kernels::{cpu, from_vec, to_vec};
use safetensors::SafeTensors;

use crate::Architecture;
use crate::parameters::Parameters;
use crate::pass;
use crate::trainer::{Schedule, Start, Trainer};

const D: usize = 24;
const F: usize = 80;
const ROWS: usize = 64;

type Tensors = BTreeMap<String, Vec<f32>>;

fn read(name: &str) -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/steps/{name}/step.safetensors"));
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let floats = file
        .tensors()
        .into_iter()
        .filter(|(_, view)| view.dtype() == safetensors::Dtype::F32);
    let numbers = |data: &[u8]| {
        data.chunks_exact(4)
            .map(|x| f32::from_le_bytes(x.try_into().unwrap()))
            .collect()
    };
    floats.map(|(name, view)| (name, numbers(view.data()))).collect()
}

/// The library's names for the same parameters, and whether its matrices are transposed to ours.
fn names(tensors: &Tensors) -> [(&'static str, bool); 4] {
    if tensors.contains_key("init.W_enc") {
        [("W_enc", true), ("b_enc", false), ("W_dec", false), ("b_dec", false)]
    } else {
        [
            ("encoder.weight", false),
            ("encoder.bias", false),
            ("decoder.weight", true),
            ("b_dec", false),
        ]
    }
}

/// A matrix `[F, D]`, which the file may hold as `[D, F]`.
fn rows(values: &[f32], transposed: bool) -> Tensor<2> {
    if transposed {
        from_vec::<2>(values.to_vec(), [D, F], &cpu()).transpose()
    } else {
        from_vec(values.to_vec(), [F, D], &cpu())
    }
}

fn parameters(tensors: &Tensors, stage: &str) -> Parameters {
    let names = names(tensors);
    let get = |i: usize| &tensors[&format!("{stage}.{}", names[i].0)];
    Parameters {
        w_enc: rows(get(0), names[0].1),
        b_enc: from_vec(get(1).clone(), [F], &cpu()),
        w_dec: rows(get(2), names[2].1),
        b_dec: from_vec(get(3).clone(), [D], &cpu()),
        extra: Vec::new(),
    }
}

/// Largest difference relative to the largest entry.
fn gap(a: Vec<f32>, b: Vec<f32>) -> f32 {
    let size = b.iter().fold(1e-6_f32, |most, x| most.max(x.abs()));
    a.iter().zip(&b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / size
}

fn trainer(architecture: Architecture, path: pass::Path, parameters: Parameters) -> Trainer {
    let schedule = Schedule {
        steps: 1000,
        learning_rate: 1.0,
        dead_after: usize::MAX,
        auxiliary_k: 0,
        auxiliary_weight: 0.0,
        resamples: 0,
    };
    let start = Start {
        n_latents: F,
        mean: vec![0.0; D],
        target_mean: None,
        seed: 0,
    };
    let mut trainer = Trainer::new(architecture, schedule, start, &cpu()).on_path(path);
    *trainer.parameters_mut() = parameters;
    trainer
}

#[test]
fn three_steps_equal_those_of_dictionary_learning() {
    for (name, architecture) in [
        ("dl-topk", Architecture::Topk { k: 6 }),
        ("dl-batchtopk", Architecture::BatchTopk { k: 6 }),
        ("dl-matryoshka", Architecture::Matryoshka { k: 6, levels: 3 }),
    ] {
        let tensors = read(name);
        for path in [pass::Path::Sparse, pass::Path::Dense] {
            let mut start = parameters(&tensors, "init");
            // Its first step sets b_dec to a geometric median and has learning rate 0.
            start.b_dec = parameters(&tensors, "after1").b_dec;
            let mut trainer = trainer(architecture, path, start);
            for step in 0..3 {
                // Its warm-up: 0, 1/10, 2/10 of 1e-3.
                trainer.set_learning_rate(1e-3 * step as f64 / 10.0);
                let x = from_vec(tensors[&format!("x{step}")].clone(), [ROWS, D], &cpu());
                trainer.step(pass::Batch { x: &x, target: None }).unwrap();
                let (found, expected) = (
                    trainer.parameters(),
                    parameters(&tensors, &format!("after{}", step + 1)),
                );
                let gaps = [
                    gap(to_vec(found.w_enc.clone()), to_vec(expected.w_enc)),
                    gap(to_vec(found.b_enc.clone()), to_vec(expected.b_enc)),
                    gap(to_vec(found.w_dec.clone()), to_vec(expected.w_dec)),
                    gap(to_vec(found.b_dec.clone()), to_vec(expected.b_dec)),
                ];
                assert!(
                    gaps.iter().all(|gap| *gap < 1e-4),
                    "{name}, {path:?}, step {step}: {gaps:?}"
                );
            }
        }
    }
}
