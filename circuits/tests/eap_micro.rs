//! Scores, circuits and their runs against those of EAP-IG's own code on a GPT-2 (`fixtures/eap-micro/make.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use artifacts::HostTensor;
use circuits::{
    Circuit, Edge, Graph, Grid, Method, Metric, Pair, Ranking, Rule, ScoreOptions, Selection, evaluate, score,
};
use lm::Model;
use strum::VariantArray;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/eap-micro")
        .join(name)
}

fn model() -> Model {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/gpt2-micro");
    Model::load(&folder, &kernels::cpu()).unwrap()
}

fn pairs() -> Vec<Pair> {
    let rows = |name: &str| -> Vec<Vec<u32>> {
        let (shape, ids) = artifacts::read_integers(&fixture("expected.safetensors"), name).unwrap();
        ids.chunks(shape[1])
            .map(|row| row.iter().map(|&id| id as u32).collect())
            .collect()
    };
    let prompts = rows("clean_ids").into_iter().zip(rows("corrupted_ids"));
    prompts
        .zip(rows("answer_ids"))
        .map(|((clean, corrupted), answers)| Pair {
            clean,
            corrupted,
            answer: vec![answers[0]],
            wrong: vec![answers[1]],
            positions: None,
        })
        .collect()
}

fn expected(name: &str) -> HostTensor {
    artifacts::read_tensors(&fixture("expected.safetensors"))
        .unwrap()
        .remove(name)
        .unwrap()
}

fn options(method: Method) -> ScoreOptions {
    ScoreOptions {
        method,
        steps: 5,
        grid: Grid::Later,
        batch: 4,
        ..ScoreOptions::default()
    }
}

fn scores(options: &ScoreOptions) -> Vec<f64> {
    score(&model(), &pairs(), options, None, &|_| ()).unwrap().values
}

/// The largest difference as a share of the largest number.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max) / largest
}

/// A table `[sources, destinations]` in the order of the graph's edges.
fn in_order(graph: &Graph, table: &HostTensor) -> Vec<f64> {
    assert_eq!(table.shape, [graph.n_sources(), graph.n_destinations()]);
    let at = |edge: Edge| f64::from(table.data[edge.source * graph.n_destinations() + edge.destination]);
    graph.edges().map(at).collect()
}

#[test]
fn scores_are_those_of_the_published_code() {
    let graph = Graph::new(model().spec());
    for (name, method, most, share) in [
        // The published code divides the gradient of a mean by the number of pairs once more.
        ("scores.EAP", Method::Eap, 1e-4, 6.0),
        ("scores.EAP-IG-inputs", Method::EapIgInputs, 1e-4, 6.0),
        ("scores.EAP-IG-activations", Method::EapIgActivations, 1e-4, 6.0),
        ("scores.clean-corrupted", Method::CleanCorrupted, 1e-4, 6.0),
        ("scores.exact", Method::Exact, 1e-3, 1.0),
    ] {
        let found = scores(&options(method));
        let expected: Vec<f64> = in_order(&graph, &expected(name)).iter().map(|x| x * share).collect();
        let error = error(&found, &expected);
        println!("{name}: off by {error:.2e} of the largest");
        assert!(error < most, "{name}: {error}");
    }
}

#[test]
fn greedy_circuits_and_their_metrics_are_those_of_the_published_code() {
    let (model, pairs) = (model(), pairs());
    let graph = Graph::new(model.spec());
    let found = scores(&options(Method::EapIgInputs));
    let sizes = [20, 60, 120];
    let circuits = sizes.map(|edges| {
        let selection = Selection {
            edges,
            rule: Rule::Greedy,
            ranking: Ranking::Absolute,
        };
        Circuit::select(&graph, &found, selection)
    });
    let evaluation = evaluate(&model, &pairs, &circuits, Metric::LogitDiff, 4, &|_| ()).unwrap();
    for ((edges, circuit), values) in sizes.into_iter().zip(&circuits).zip(&evaluation.circuits) {
        let kept = in_order(&graph, &expected(&format!("greedy{edges}.in_graph")));
        let differ: Vec<String> = (0..graph.n_edges())
            .filter(|&number| circuit.keeps(number) != (kept[number] > 0.0))
            .map(|number| graph.name(graph.edge(number)))
            .collect();
        assert!(differ.is_empty(), "{edges}: {differ:?}");
        check(&format!("greedy{edges}.metric"), values);
        println!("{edges} edges asked for: {} left", circuit.len());
    }
    check("baseline.metric", &evaluation.clean);
    check("corrupted.metric", &evaluation.corrupted);
}

fn check(name: &str, found: &[f64]) {
    let expected: Vec<f64> = expected(name).data.iter().map(|&x| f64::from(x)).collect();
    let error = error(found, &expected);
    println!("{name}: off by {error:.2e} of the largest");
    assert!(error < 1e-4, "{name}: {found:?}, expected {expected:?}");
}

#[test]
fn one_step_to_the_clean_end_is_plain_attribution() {
    let ig = ScoreOptions {
        steps: 1,
        grid: Grid::Paper,
        ..options(Method::EapIgInputs)
    };
    let (plain, ig) = (scores(&options(Method::Eap)), scores(&ig));
    assert!(error(&ig, &plain) < 1e-6);
    // Not so at the other end.
    let later = scores(&ScoreOptions {
        steps: 1,
        ..options(Method::EapIgInputs)
    });
    assert!(error(&later, &plain) > 0.1);
}

/// Scores out of the input add up to the change of the metric as the steps grow.
#[test]
fn edges_out_of_the_input_add_up_to_the_change_of_the_metric() {
    let (model, pairs) = (model(), pairs());
    let graph = Graph::new(model.spec());
    let mut errors = Vec::new();
    for steps in [1, 16, 64, 256] {
        let options = ScoreOptions {
            steps,
            grid: Grid::Paper,
            ..options(Method::EapIgInputs)
        };
        let found = score(&model, &pairs, &options, None, &|_| ()).unwrap();
        let of_input: f64 = graph
            .edges()
            .zip(&found.values)
            .filter(|(edge, _)| edge.source == 0)
            .map(|(_, score)| score)
            .sum();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let change = mean(&found.clean) - mean(&found.corrupted);
        println!("{steps} steps: {of_input:.5}, change {change:.5}");
        errors.push((of_input - change).abs() / change.abs());
    }
    assert!(errors[3] < 0.03 && errors[3] < errors[2] / 3.0, "{errors:?}");
}

#[test]
fn scores_do_not_depend_on_the_batch() {
    for &method in Method::VARIANTS {
        let of = |batch| {
            scores(&ScoreOptions {
                batch,
                ..options(method)
            })
        };
        let error = error(&of(1), &of(6));
        assert!(error < 1e-5, "{method}: {error}");
    }
}

/// Where the outputs of the groups are changed one at a time, a run's share goes to the edges out of its group: with one step, which
/// changes nothing, that is plain attribution, and the published mean is too.
#[test]
fn mended_activations_with_one_step_are_plain_attribution() {
    let plain = scores(&options(Method::Eap));
    for method in [Method::EapIgActivations, Method::EapIgActivationsMended] {
        let one = scores(&ScoreOptions {
            steps: 1,
            ..options(method)
        });
        let several = scores(&options(method));
        println!("{method}: {:.2e}, {:.2e}", error(&one, &plain), error(&several, &plain));
        assert!(error(&several, &plain) > 1e-3, "{method}");
    }
    let mended = scores(&ScoreOptions {
        steps: 1,
        ..options(Method::EapIgActivationsMended)
    });
    assert!(error(&mended, &plain) < 1e-5);
}
