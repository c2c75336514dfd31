//! Scores, circuits and finer parts on a Llama with grouped heads against PyTorch's autograd (`fixtures/eap-llama/make.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use artifacts::HostTensor;
use circuits::{Ablation, Circuit, Edge, Graph, Grid, Method, Metric, Pair, ScoreOptions, evaluate, score};
use lm::Model;
use strum::VariantArray;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eap-llama/expected.safetensors")
}

fn model() -> Model {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/families/llama");
    Model::load(&folder, &kernels::cpu()).unwrap()
}

fn rows(name: &str) -> Vec<Vec<u32>> {
    let (shape, ids) = artifacts::read_integers(&fixture(), name).unwrap();
    let width = *shape.last().unwrap();
    let row = |row: &[i64]| row.iter().map(|&id| id as u32).collect();
    ids.chunks(width).map(row).collect()
}

/// Pairs whose corrupted prompts are the tensor `corrupted`.
fn pairs(corrupted: &str, positions: Option<Vec<usize>>) -> Vec<Pair> {
    let prompts = rows("clean_ids")
        .into_iter()
        .zip(rows(corrupted))
        .zip(rows("answer_ids"));
    prompts
        .map(|((clean, corrupted), answers)| Pair {
            clean,
            corrupted,
            answer: answers[..2].to_vec(),
            wrong: answers[2..].to_vec(),
            positions: positions.clone(),
        })
        .collect()
}

/// Pairs with one token more in the corrupted prompt.
fn aligned() -> Vec<Pair> {
    let positions = rows("positions")[0].iter().map(|&position| position as usize).collect();
    pairs("longer_ids", Some(positions))
}

fn expected(name: &str) -> HostTensor {
    artifacts::read_tensors(&fixture()).unwrap().remove(name).unwrap()
}

fn numbers(name: &str) -> Vec<f64> {
    expected(name).data.iter().map(|&x| f64::from(x)).collect()
}

/// A table `[sources, destinations]` in the order of the graph's edges.
fn in_order(name: &str) -> Vec<f64> {
    let (graph, table) = (Graph::new(model().spec()), expected(name));
    assert_eq!(table.shape, [graph.n_sources(), graph.n_destinations()]);
    let at = |edge: Edge| f64::from(table.data[edge.source * graph.n_destinations() + edge.destination]);
    graph.edges().map(at).collect()
}

/// The largest difference as a share of the largest number.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max) / largest
}

fn check(name: &str, found: &[f64], expected: &[f64], most: f64) {
    let error = error(found, expected);
    println!("{name}: off by {error:.2e} of the largest");
    assert!(error < most, "{name}: {error}");
}

fn options(method: Method) -> ScoreOptions {
    ScoreOptions {
        method,
        batch: 4,
        ..ScoreOptions::default()
    }
}

#[test]
fn scores_are_those_of_autograd() {
    for (method, ablation, name, most) in [
        (Method::Eap, Ablation::Counterfactual, "eap", 1e-4),
        (
            Method::EapIgInputs,
            Ablation::Counterfactual,
            "logit_diff.eap-ig-inputs",
            1e-4,
        ),
        (
            Method::EapIgActivations,
            Ablation::Counterfactual,
            "eap-ig-activations",
            1e-4,
        ),
        (
            Method::EapIgActivationsMended,
            Ablation::Counterfactual,
            "eap-ig-activations-mended",
            1e-4,
        ),
        (
            Method::CleanCorrupted,
            Ablation::Counterfactual,
            "clean-corrupted",
            1e-4,
        ),
        (Method::Relp, Ablation::Counterfactual, "relp", 1e-4),
        (
            Method::RelpFrozenPatterns,
            Ablation::Counterfactual,
            "relp-frozen-patterns",
            1e-4,
        ),
        (
            Method::InformationFlow,
            Ablation::Counterfactual,
            "information-flow",
            1e-4,
        ),
        (Method::Exact, Ablation::Counterfactual, "exact", 1e-3),
        (Method::Eap, Ablation::Zero, "zero.eap", 1e-4),
        (Method::Eap, Ablation::Mean, "mean.eap", 1e-4),
        (
            Method::EapIgActivations,
            Ablation::Zero,
            "zero.eap-ig-activations",
            1e-4,
        ),
        (
            Method::EapIgActivationsMended,
            Ablation::Zero,
            "zero.eap-ig-activations-mended",
            1e-4,
        ),
        (Method::Exact, Ablation::Zero, "zero.exact", 1e-3),
    ] {
        let options = ScoreOptions {
            ablation,
            ..options(method)
        };
        let found = score(&model(), &pairs("corrupted_ids", None), &options, None, &|_| ()).unwrap();
        check(name, &found.values, &in_order(name), most);
    }
    let later = ScoreOptions {
        grid: Grid::Later,
        ..options(Method::EapIgInputs)
    };
    let found = score(&model(), &pairs("corrupted_ids", None), &later, None, &|_| ()).unwrap();
    check("later", &found.values, &in_order("later.eap-ig-inputs"), 1e-4);
}

#[test]
fn all_metrics_and_their_gradients_are_those_of_autograd() {
    for &metric in Metric::VARIANTS {
        let options = ScoreOptions {
            metric,
            ..options(Method::EapIgInputs)
        };
        let found = score(&model(), &pairs("corrupted_ids", None), &options, None, &|_| ()).unwrap();
        check(
            &metric.to_string(),
            &found.values,
            &in_order(&format!("{metric}.eap-ig-inputs")),
            2e-4,
        );
        let corrupted = numbers(&format!("{metric}.corrupted"));
        check("corrupted", &found.corrupted, &corrupted, 1e-4);
        if metric.judges() {
            check("clean", &found.clean, &numbers(&format!("{metric}.clean")), 1e-4);
        } else {
            assert!(
                found.clean.iter().all(|value| value.abs() < 1e-5),
                "{metric}: {:?}",
                found.clean
            );
        }
    }
}

#[test]
fn circuits_are_those_of_split_inputs() {
    let graph = Graph::new(model().spec());
    let every = |n: usize| Circuit::new(graph.clone(), (0..graph.n_edges()).step_by(n));
    let circuits = [2, 3, 7].map(every);
    let found = evaluate(
        &model(),
        &pairs("corrupted_ids", None),
        &circuits,
        Metric::LogitDiff,
        4,
        &|_| (),
    )
    .unwrap();
    for (n, values) in [2, 3, 7].into_iter().zip(&found.circuits) {
        check(&format!("circuit{n}"), values, &numbers(&format!("circuit{n}")), 1e-4);
    }
}

/// Pairs of unequal length: what stands at a corrupted position takes the place of the clean one that it is given for.
#[test]
fn aligned_pairs_are_run_as_their_positions_say() {
    for (method, name) in [
        (Method::EapIgInputs, "aligned.eap-ig-inputs"),
        (Method::CleanCorrupted, "aligned.clean-corrupted"),
    ] {
        let found = score(&model(), &aligned(), &options(method), None, &|_| ()).unwrap();
        check(name, &found.values, &in_order(name), 1e-4);
    }
    let graph = Graph::new(model().spec());
    let circuits = [
        Circuit::new(graph.clone(), (0..graph.n_edges()).step_by(3)),
        Circuit::empty(graph.clone()),
        Circuit::full(graph),
    ];
    // A pair of equal length beside them, so that a batch has corrupted prompts of two lengths.
    let mut mixed = aligned();
    mixed.extend(pairs("corrupted_ids", None).into_iter().take(1));
    let found = evaluate(&model(), &mixed, &circuits, Metric::LogitDiff, 7, &|_| ()).unwrap();
    check("circuit", &found.circuits[0][..6], &numbers("aligned.circuit3"), 1e-4);
    check("corrupted", &found.corrupted[..6], &numbers("aligned.corrupted"), 1e-4);
    check("no edge", &found.circuits[1], &found.corrupted, 1e-5);
    check("all edges", &found.circuits[2], &found.clean, 1e-6);
}

/// Relevance with frozen patterns shares out all of the metric of a model without biases: what flows out of the input, cut to zero, is
/// the metric itself. Gradients do not add up so.
#[test]
fn relevance_out_of_the_input_is_the_metric() {
    let sum = |method| {
        let options = ScoreOptions {
            ablation: Ablation::Zero,
            ..options(method)
        };
        let found = score(&model(), &pairs("corrupted_ids", None), &options, None, &|_| ()).unwrap();
        let edges = found.graph.edges().zip(&found.values);
        let of_input: f64 = edges.filter(|(edge, _)| edge.source == 0).map(|(_, score)| score).sum();
        (of_input, found.clean.iter().sum::<f64>() / found.clean.len() as f64)
    };
    let (relevance, metric) = sum(Method::RelpFrozenPatterns);
    println!(
        "relevance {relevance:.6}, metric {metric:.6}, gradients {:.6}",
        sum(Method::Eap).0
    );
    assert!((relevance - metric).abs() < 1e-4 * metric.abs().max(1.0));
    assert!((sum(Method::Eap).0 - metric).abs() > 1e-2);
}

/// What was kept of a run that was ended is taken, and what is of other settings is not.
#[test]
fn a_run_that_was_ended_goes_on_where_it_stopped() {
    let (model, pairs) = (model(), pairs("corrupted_ids", None));
    let options = ScoreOptions {
        batch: 2,
        ..options(Method::Exact)
    };
    let whole = score(&model, &pairs, &options, None, &|_| ()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let parts = folder.path().join("parts");
    std::fs::create_dir(&parts).unwrap();
    std::fs::write(parts.join("another"), "file").unwrap();
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        score(&model, &pairs, &options, Some(&parts), &|done| {
            assert!(done < 4, "the run is ended here")
        })
    }));
    assert!(stopped.is_err());
    let kept = std::fs::read_dir(&parts).unwrap().count() - 1;
    assert!(kept > 0, "nothing was kept");
    let done = std::sync::Mutex::new(Vec::new());
    let again = score(&model, &pairs, &options, Some(&parts), &|n| {
        done.lock().unwrap().push(n)
    })
    .unwrap();
    assert_eq!(again, whole);
    assert_eq!(std::fs::read_dir(&parts).unwrap().count(), 1, "what is of others stays");
}
