//! Parts of edges: they add up to the edge, and they are those of PyTorch's autograd (`fixtures/eap-llama/make.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use burn::tensor::{Device, Tensor};
use circuits::finer::{EdgeParts, Parts, Vector, destination_parts, node_latents, positions, source_parts};
use circuits::{Ablation, Edge, Graph, Method, Metric, Pair, ScoreOptions, Scores, score};
use dictionaries::{Dictionary, Encoder};
use lm::{HookPoint, Logits, Model, Patch, Request, Start, TokenBatch};

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eap-llama/expected.safetensors")
}

fn model(family: &str) -> Model {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/families");
    Model::load(&folder.join(family), &kernels::cpu()).unwrap()
}

fn pairs() -> Vec<Pair> {
    let rows = |name: &str| -> Vec<Vec<u32>> {
        let (shape, ids) = artifacts::read_integers(&fixture(), name).unwrap();
        let row = |row: &[i64]| row.iter().map(|&id| id as u32).collect();
        ids.chunks(shape[1]).map(row).collect()
    };
    let prompts = rows("clean_ids")
        .into_iter()
        .zip(rows("corrupted_ids"))
        .zip(rows("answer_ids"));
    prompts
        .map(|((clean, corrupted), answers)| Pair {
            clean,
            corrupted,
            answer: answers[..2].to_vec(),
            wrong: answers[2..].to_vec(),
            positions: None,
        })
        .collect()
}

fn numbers(name: &str) -> Vec<f64> {
    let mut tensors = artifacts::read_tensors(&fixture()).unwrap();
    tensors
        .remove(name)
        .unwrap()
        .data
        .iter()
        .map(|&x| f64::from(x))
        .collect()
}

fn options(method: Method) -> ScoreOptions {
    ScoreOptions {
        method,
        batch: 4,
        ..ScoreOptions::default()
    }
}

/// The largest difference as a share of the largest number.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max) / largest
}

fn edge(graph: &Graph, name: &str) -> Edge {
    graph.parse(name).unwrap()
}

/// Every edge's parts add up to its score.
fn check_sums(scores: &Scores, parts: &[EdgeParts]) {
    let largest = scores.values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for found in parts {
        let expected = scores.values[scores.graph.edge_number(found.edge)];
        let off = (found.total() - expected).abs() / largest;
        assert!(
            off < 1e-5,
            "{}: {} and {expected}",
            scores.graph.name(found.edge),
            found.total()
        );
    }
}

/// A dictionary of invented weights: `relu(x W + 0.1)` and a decoder that does not give back what was put in.
struct Invented {
    encoder: Tensor<2>, // [D, F]
    decoder: Tensor<2>, // [F, D_out]
}

impl Invented {
    fn new(d_in: usize, d_out: usize, f: usize) -> Self {
        let mut rng = kernels::random::rng(3, "a dictionary of a test");
        let mut matrix = |rows, columns| {
            let values = kernels::random::normal(&mut rng, rows * columns, 0.4);
            kernels::from_vec(values, [rows, columns], &kernels::cpu())
        };
        Self {
            encoder: matrix(d_in, f),
            decoder: matrix(f, d_out),
        }
    }
}

impl Dictionary for Invented {
    fn d_in(&self) -> usize {
        self.encoder.dims()[0]
    }

    fn d_out(&self) -> usize {
        self.decoder.dims()[1]
    }

    fn n_latents(&self) -> usize {
        self.encoder.dims()[1]
    }

    fn device(&self) -> Device {
        kernels::cpu()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        codes.matmul(self.decoder.clone()) + 0.5
    }
}

impl Encoder for Invented {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        (activations.matmul(self.encoder.clone()) + 0.1).clamp_min(0.0)
    }

    fn code_change(&self, activations: Tensor<2>, change: Tensor<2>) -> Option<Tensor<2>> {
        let is_active = self.encode(activations).greater_scalar(0.0).float(); // [B, F]
        Some(change.matmul(self.encoder.clone()) * is_active)
    }
}

#[test]
fn neurons_and_positions_are_those_of_autograd() {
    let model = model("llama");
    let graph = Graph::new(model.spec());
    let options = options(Method::EapIgInputs);
    let [logits, key, into] = ["m0->logits", "m0->a1.kv0<k>", "input->m0"].map(|name| edge(&graph, name));
    let found = source_parts(
        &model,
        &pairs(),
        &options,
        logits.source,
        &[logits.destination, key.destination],
        Parts::Neurons,
    );
    for (name, found) in ["neurons.m0.logits", "neurons.m0.key"].into_iter().zip(found.unwrap()) {
        let error = error(&found.parts, &numbers(name));
        println!("{name}: off by {error:.1e}");
        assert!(
            error < 1e-4 && found.rest.abs() < 1e-6,
            "{name}: {error}, {}",
            found.rest
        );
    }
    let sources = [into.source, edge(&graph, "a0.h2->m0").source];
    let found = destination_parts(&model, &pairs(), &options, &sources, into.destination, Parts::Neurons).unwrap();
    for (name, found) in ["neurons.input.m0", "neurons.head.m0"].into_iter().zip(found) {
        let error = error(&found.parts, &numbers(name));
        println!("{name}: off by {error:.1e}");
        assert!(error < 1e-4, "{name}: {error}");
    }
    let mut found = positions(&model, &pairs(), &options, &[logits])
        .unwrap()
        .remove(0)
        .parts;
    found.reverse();
    assert!(error(&found, &numbers("positions.m0.logits")) < 1e-4);
}

#[test]
fn parts_add_up_to_their_edge() {
    for family in ["llama", "llama-bias", "neox", "neox-serial", "qwen3"] {
        let model = model(family);
        let spec = model.spec();
        let pairs: Vec<Pair> = pairs()
            .into_iter()
            .map(|pair| {
                let fit = |ids: Vec<u32>| ids.into_iter().map(|id| id % spec.d_vocab as u32).collect();
                Pair {
                    clean: fit(pair.clean),
                    corrupted: fit(pair.corrupted),
                    answer: vec![3],
                    wrong: vec![4],
                    positions: None,
                }
            })
            .collect();
        let graph = Graph::new(spec);
        let logits = graph.n_destinations() - 1;
        let (mlp, head) = (edge(&graph, "m0->logits").source, edge(&graph, "a0.h1->logits").source);
        let queries = edge(&graph, "m0->a1.h0<q>").destination;
        for method in [
            Method::Eap,
            Method::EapIgInputs,
            Method::EapIgActivations,
            Method::EapIgActivationsMended,
            Method::CleanCorrupted,
        ] {
            let options = options(method);
            let scores = score(&model, &pairs, &options, None, &|_| ()).unwrap();
            let of_mlp = Invented::new(spec.d_model, spec.d_model, 70);
            let of_head = Invented::new(spec.d_head, spec.d_head, 20);
            let transcoder = Invented::new(spec.d_model, spec.d_model, 30);
            let split =
                |source, parts| source_parts(&model, &pairs, &options, source, &[logits, queries], parts).unwrap();
            check_sums(&scores, &split(mlp, Parts::Neurons));
            let latents = split(mlp, Parts::Latents(&of_mlp));
            // With parallel blocks an MLP of the first block knows one token only, and the last one is not corrupted.
            let is_split = |edge: &EdgeParts| edge.rest != 0.0 && edge.parts.iter().any(|&part| part != 0.0);
            assert!(spec.parallel || latents.iter().all(is_split));
            check_sums(&scores, &latents);
            check_sums(&scores, &split(head, Parts::Latents(&of_head)));
            check_sums(
                &scores,
                &split(mlp, Parts::Transcoder(&transcoder, HookPoint::MlpNormed(0))),
            );
            let into = edge(&graph, "m0->m1").destination;
            let sources = [0, mlp, head];
            let split =
                |destination, parts| destination_parts(&model, &pairs, &options, &sources, destination, parts).unwrap();
            check_sums(&scores, &split(into, Parts::Neurons));
            let latents = split(into, Parts::Latents(&of_mlp));
            // The last block answers at the last position, whose token is not corrupted.
            assert!(spec.parallel || latents.iter().skip(1).all(is_split));
            check_sums(&scores, &latents);
            for reads in [HookPoint::MlpIn(1), HookPoint::MlpNormed(1)] {
                check_sums(&scores, &split(into, Parts::Transcoder(&transcoder, reads)));
            }
            if spec.n_kv_head == spec.n_head {
                let values = edge(&graph, "m0->a1.h1<v>").destination;
                check_sums(&scores, &split(values, Parts::Latents(&of_head)));
            }
            let edges: Vec<Edge> = graph.edges().step_by(5).collect();
            check_sums(&scores, &positions(&model, &pairs, &options, &edges).unwrap());
        }
    }
}

/// A latent of a destination follows what the source adds, and the metric follows what the latent writes: both by central differences, on
/// the clean prompt.
#[test]
fn latents_of_a_destination_are_those_of_central_differences() {
    let (model, pairs) = (model("llama"), pairs());
    let spec = model.spec();
    let graph = Graph::new(spec);
    let (read, adds) = (HookPoint::MlpIn(0), HookPoint::MlpOut(0));
    let into = edge(&graph, "input->m0");
    for transcodes in [false, true] {
        let dictionary = Invented::new(spec.d_model, spec.d_model, 40);
        let (parts, encoded) = match transcodes {
            true => (
                Parts::Transcoder(&dictionary, HookPoint::MlpNormed(0)),
                HookPoint::MlpNormed(0),
            ),
            false => (Parts::Latents(&dictionary), adds),
        };
        let options = options(Method::Eap);
        let found = destination_parts(&model, &pairs, &options, &[into.source], into.destination, parts);
        let found = found.unwrap().remove(0).parts;
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by(|&a, &b| found[b].abs().total_cmp(&found[a].abs()));
        let (best, step) = (&order[..4], 0.05_f32);
        let mut expected = vec![0.0; best.len()];
        for pair in &pairs {
            let run = |ids: &[u32], patches: Vec<Patch>| {
                let request = Request {
                    capture: vec![HookPoint::Embed, encoded],
                    patches,
                    logits: Logits::At(vec![ids.len() - 1]),
                    ..Request::default()
                };
                let batch = TokenBatch::new(&[ids]).unwrap();
                model.run(Start::Tokens(&batch), &request).unwrap()
            };
            let shifted = |hook, by: Tensor<3>| run(&pair.clean, vec![Patch::map(hook, move |x| x + by.clone())]);
            let embed = |ids: &[u32]| run(ids, vec![]).tensor3(HookPoint::Embed).unwrap();
            let difference = embed(&pair.corrupted) - embed(&pair.clean); // [1, T, D]
            let [_, t, d] = difference.dims();
            let codes = |share: f32| {
                let x = shifted(read, difference.clone() * share).tensor3(encoded).unwrap();
                dictionary.encode(x.reshape([t, d])) // [T, F]
            };
            let change = (codes(step) - codes(-step)) / (2.0 * step); // [T, F]
            for (place, &latent) in best.iter().enumerate() {
                let direction = dictionary.directions().narrow(0, latent, 1); // [1, D]
                let written = change.clone().narrow(1, latent, 1).matmul(direction).reshape([1, t, d]);
                let after = |share: f32| metric(pair, &shifted(adds, written.clone() * share));
                let falls = (after(-step) - after(step)) / f64::from(2.0 * step);
                expected[place] += falls / pairs.len() as f64;
            }
        }
        let found: Vec<f64> = best.iter().map(|&latent| found[latent]).collect();
        let error = error(&found, &expected);
        println!("transcoder {transcodes}: {found:.5?}, central differences {expected:.5?}, off by {error:.1e}");
        assert!(error < 2e-2);
    }
}

/// The metric of a pair in a run of its own.
fn metric(pair: &Pair, trace: &lm::Trace) -> f64 {
    let logits = kernels::to_vec(trace.logits_at().unwrap());
    let mean = |ids: &[u32]| ids.iter().map(|&id| f64::from(logits[id as usize])).sum::<f64>() / ids.len() as f64;
    mean(&pair.answer) - mean(&pair.wrong)
}

/// The metric of each pair with one vector replaced, by its own run.
fn patched(model: &Model, pair: &Pair, at: &Vector, position: usize) -> f64 {
    let run = |ids: &[u32], patches: Vec<Patch>| {
        let request = Request {
            capture: vec![at.hook],
            patches,
            logits: Logits::At(vec![ids.len() - 1]),
            ..Request::default()
        };
        model
            .run(Start::Tokens(&TokenBatch::new(&[ids]).unwrap()), &request)
            .unwrap()
    };
    let value = run(&pair.corrupted, vec![]).at(at.hook, at.head, &[position]).unwrap();
    let replaced = run(
        &pair.clean,
        vec![Patch::set(at.hook, at.head, vec![(0, position)], value)],
    );
    metric(pair, &run(&pair.clean, vec![])) - metric(pair, &replaced)
}

/// Latents and error term of one vector add up to what patching it changes.
#[test]
fn latents_of_a_vector_add_up_to_what_patching_it_changes() {
    let (model, pairs) = (model("llama"), pairs());
    let spec = model.spec();
    for (hook, head, width, position) in [
        (HookPoint::Z(0), Some(2), spec.d_head, 5),
        (HookPoint::ResidPre(1), None, spec.d_model, 5),
        (HookPoint::ResidPost(1), None, spec.d_model, 7),
    ] {
        let at = Vector {
            hook,
            head,
            positions: vec![position; pairs.len()],
        };
        let dictionary = Invented::new(width, width, 40);
        let found = node_latents(&model, &pairs, (Metric::LogitDiff, 64, 4), &at, &dictionary).unwrap();
        let expected = pairs
            .iter()
            .map(|pair| patched(&model, pair, &at, position))
            .sum::<f64>()
            / pairs.len() as f64;
        println!(
            "{hook}: total {:.5}, patched {:.5}, expected {expected:.5}",
            found.total, found.patched
        );
        assert!((found.patched - expected).abs() < 1e-4);
        assert!((found.total - expected).abs() < 1e-3 * expected.abs().max(0.1));
        let sum: f64 = found.scores.iter().sum::<f64>() + found.error;
        assert!((sum - found.total).abs() < 1e-4);
    }
}

#[test]
fn what_does_not_fall_apart_is_refused() {
    let model = model("llama");
    let graph = Graph::new(model.spec());
    let (mlp, head) = (edge(&graph, "m0->logits").source, edge(&graph, "a0.h1->logits").source);
    let split = |method, ablation, source, parts: Parts<'_>| {
        let options = ScoreOptions {
            ablation,
            ..options(method)
        };
        source_parts(&model, &pairs(), &options, source, &[graph.n_destinations() - 1], parts)
            .unwrap_err()
            .to_string()
    };
    let wide = Invented::new(5, 5, 7);
    let same = Ablation::Counterfactual;
    assert!(split(Method::Exact, same, mlp, Parts::Neurons).contains("gradients"));
    assert!(split(Method::Eap, Ablation::Zero, mlp, Parts::Neurons).contains("counterfactual"));
    assert!(split(Method::Eap, same, head, Parts::Neurons).contains("hook_z"));
    assert!(split(Method::Eap, same, mlp, Parts::Latents(&wide)).contains("width 5"));
    assert!(split(Method::Eap, same, 0, Parts::Neurons).contains("input"));
    let into = |name: &str, parts: Parts<'_>| {
        let destination = edge(&graph, name).destination;
        let found = destination_parts(&model, &pairs(), &options(Method::Eap), &[0], destination, parts);
        found.unwrap_err().to_string()
    };
    let fits = Invented::new(model.spec().d_model, model.spec().d_model, 7);
    assert!(into("input->a1.kv0<v>", Parts::Latents(&fits)).contains("several heads"));
    assert!(into("input->a1.h0<q>", Parts::Latents(&fits)).contains("by their values"));
    assert!(into("input->logits", Parts::Neurons).contains("only MLPs"));
    assert!(into("input->m1", Parts::Latents(&wide)).contains("width 5"));
    assert!(into("input->m1", Parts::Transcoder(&fits, HookPoint::ResidPre(0))).contains("mlp.hook_in"));
}
