//! Circuits of every kind of model against brute force: shared keys and values, parallel blocks, norms of what is added.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use burn::tensor::Tensor;
use circuits::{
    Circuit, Destination, Edge, Graph, Method, Metric, Node, Pair, Ranking, Rule, ScoreOptions, Selection, Slot,
    evaluate, score,
};
use lm::{HookPoint, Logits, Model, Patch, Request, Start, TokenBatch};
use strum::VariantArray;

/// A Llama with 4 heads of queries and 2 of keys, parallel blocks, norms of what is added, normed queries and keys.
const FAMILIES: [&str; 4] = ["llama", "neox", "gemma2", "qwen3"];

fn model(family: &str) -> Model {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../lm/tests/fixtures/families")
        .join(family);
    Model::load(&folder, &kernels::cpu()).unwrap()
}

/// Five pairs of two lengths; a few tokens of each differ.
fn pairs(model: &Model) -> Vec<Pair> {
    let token = |i: usize| ((i * 7919 + 13) % (model.spec().d_vocab - 3) + 2) as u32;
    (0..5)
        .map(|row| {
            let len = 6 + row % 2;
            let clean: Vec<u32> = (0..len).map(|i| token(row * 31 + i)).collect();
            let mut corrupted = clean.clone();
            for place in [1, len - 3] {
                corrupted[place] = token(row * 17 + place + 500);
            }
            Pair {
                clean,
                corrupted,
                answer: vec![2 + row as u32],
                wrong: vec![12 + row as u32, 13 + row as u32],
                positions: None,
            }
        })
        .collect()
}

fn options(method: Method) -> ScoreOptions {
    ScoreOptions {
        method,
        batch: 3,
        ..ScoreOptions::default()
    }
}

fn values(model: &Model, method: Method) -> Vec<f64> {
    score(model, &pairs(model), &options(method), None, &|_| ())
        .unwrap()
        .values
}

fn run(model: &Model, ids: &[u32], capture: Vec<HookPoint>, patches: Vec<Patch>) -> lm::Trace {
    let request = Request {
        capture,
        patches,
        logits: Logits::At(vec![ids.len() - 1]),
        ..Request::default()
    };
    model
        .run(Start::Tokens(&TokenBatch::new(&[ids]).unwrap()), &request)
        .unwrap()
}

fn metric(pair: &Pair, trace: &lm::Trace) -> f64 {
    let logits = kernels::to_vec(trace.logits_at().unwrap());
    let mean = |tokens: &[u32]| {
        tokens
            .iter()
            .map(|&token| f64::from(logits[token as usize]))
            .sum::<f64>()
            / tokens.len() as f64
    };
    mean(&pair.answer) - mean(&pair.wrong)
}

/// What a node adds in a run of one prompt, `[1, T, D]`, by the hook where it is added.
fn added(model: &Model, ids: &[u32], node: Node) -> Tensor<3> {
    match node {
        Node::Input => run(model, ids, vec![HookPoint::Embed], vec![])
            .tensor3(HookPoint::Embed)
            .unwrap(),
        Node::Mlp { layer } => {
            let hook = HookPoint::MlpOut(layer);
            run(model, ids, vec![hook], vec![]).tensor3(hook).unwrap()
        }
        Node::Head { layer, head } => {
            let hook = HookPoint::AttnResult(layer);
            let all = run(model, ids, vec![hook], vec![]).tensor4(hook).unwrap(); // [1, T, H, D]
            let [b, t, _, d] = all.dims();
            all.narrow(2, head, 1).reshape([b, t, d])
        }
        Node::KeyValue { .. } | Node::Logits => panic!("adds nothing"),
    }
}

/// The metric where one destination reads `shift` besides what it reads in the clean run.
fn shifted(model: &Model, pair: &Pair, to: Destination, shift: &Tensor<3>) -> f64 {
    let (hook, head) = match (to.node, to.slot) {
        (Node::Head { layer, head }, Some(Slot::Q)) => (HookPoint::QInput(layer), head),
        (Node::Head { layer, head } | Node::KeyValue { layer, head }, Some(Slot::K)) => {
            (HookPoint::KInput(layer), head)
        }
        (Node::Head { layer, head } | Node::KeyValue { layer, head }, Some(Slot::V)) => {
            (HookPoint::VInput(layer), head)
        }
        (Node::Mlp { layer }, None) => (HookPoint::MlpIn(layer), 0),
        (Node::Logits, None) => (HookPoint::ResidPost(model.spec().n_layer - 1), 0),
        other => panic!("no destination: {other:?}"),
    };
    let [_, t, d] = shift.dims();
    let at: Vec<(usize, usize)> = (0..t).map(|position| (0, position)).collect();
    let patch = Patch {
        hook,
        head: hook.has_heads().then_some(head),
        change: lm::Change::Add(lm::Vectors {
            at,
            values: shift.clone().reshape([t, d]),
        }),
    };
    metric(pair, &run(model, &pair.clean, vec![], vec![patch]))
}

/// The same number for each edge, one pair and one edge at a time.
fn by_edge(model: &Model, of: impl Fn(&Pair, Destination, Tensor<3>) -> f64) -> Vec<f64> {
    let (graph, pairs) = (Graph::new(model.spec()), pairs(model));
    let mut sums = vec![0.0; graph.n_edges()];
    for pair in &pairs {
        for source in 0..graph.n_sources() {
            let node = graph.source(source);
            let difference = added(model, &pair.corrupted, node) - added(model, &pair.clean, node);
            for destination in (0..graph.n_destinations()).filter(|&to| source < graph.sources_of(to)) {
                let number = graph.edge_number(Edge { source, destination });
                sums[number] += of(pair, graph.destination(destination), difference.clone()) / pairs.len() as f64;
            }
        }
    }
    sums
}

/// The largest difference as a share of the largest number.
fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f64::max) / largest
}

#[test]
fn exact_patching_is_what_patching_the_residual_stream_gives() {
    for family in ["llama", "neox", "qwen3"] {
        let model = model(family);
        let expected = by_edge(&model, |pair, to, difference| {
            metric(pair, &run(&model, &pair.clean, vec![], vec![])) - shifted(&model, pair, to, &difference)
        });
        let error = error(&values(&model, Method::Exact), &expected);
        println!("{family}: {} edges, off by {error:.1e} of the largest", expected.len());
        assert!(error < 1e-3, "{family}: {error}");
    }
}

#[test]
fn attribution_is_the_derivative_along_the_difference() {
    for family in ["llama", "neox", "qwen3"] {
        let model = model(family);
        let step = 0.02;
        // Central differences of two widths, which leave an error of the fourth order.
        let expected = by_edge(&model, |pair, to, difference| {
            let at = |share: f32| shifted(&model, pair, to, &(difference.clone() * share));
            let central = |width: f32| (at(-width) - at(width)) / f64::from(2.0 * width);
            (4.0 * central(step) - central(2.0 * step)) / 3.0
        });
        let error = error(&values(&model, Method::Eap), &expected);
        println!("{family}: {} edges, off by {error:.1e} of the largest", expected.len());
        assert!(error < 2e-3, "{family}: {error}");
    }
}

/// All of a graph but one edge, which the circuit's run takes apart in another way than exact patching does.
#[test]
fn exact_patching_is_the_circuit_of_all_other_edges() {
    for family in FAMILIES {
        let model = model(family);
        let graph = Graph::new(model.spec());
        let without =
            |number: usize| Circuit::new(graph.clone(), (0..graph.n_edges()).filter(|&other| other != number));
        let circuits: Vec<Circuit> = (0..graph.n_edges()).map(without).collect();
        let found = evaluate(&model, &pairs(&model), &circuits, Metric::LogitDiff, 3, &|_| ()).unwrap();
        let falls = found.circuits.iter().map(|values| {
            let fall = found.clean.iter().zip(values).map(|(clean, circuit)| clean - circuit);
            fall.sum::<f64>() / found.clean.len() as f64
        });
        let error = error(&values(&model, Method::Exact), &falls.collect::<Vec<_>>());
        println!("{family}: {} edges, off by {error:.1e} of the largest", circuits.len());
        assert!(error < 1e-3, "{family}: {error}");
    }
}

#[test]
fn no_edge_is_the_corrupted_run_and_every_edge_the_clean_one() {
    for family in FAMILIES {
        let model = model(family);
        let graph = Graph::new(model.spec());
        // With all edges but those out of the input nothing but corrupted values can arrive either.
        let without_input = graph
            .edges()
            .enumerate()
            .filter(|(_, edge)| edge.source > 0)
            .map(|(number, _)| number);
        let circuits = [
            Circuit::full(graph.clone()),
            Circuit::empty(graph.clone()),
            Circuit::new(graph.clone(), without_input.collect::<Vec<_>>()),
        ];
        for &metric in Metric::VARIANTS {
            let found = evaluate(&model, &pairs(&model), &circuits, metric, 3, &|_| ()).unwrap();
            let largest = found
                .clean
                .iter()
                .chain(&found.corrupted)
                .fold(0.0, |most: f64, x| most.max(x.abs()));
            let near =
                |a: &[f64], b: &[f64], share: f64| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= share * largest);
            assert!(near(&found.circuits[0], &found.clean, 1e-7), "{family} {metric}");
            assert!(near(&found.circuits[1], &found.corrupted, 1e-6), "{family} {metric}");
            assert!(near(&found.circuits[2], &found.corrupted, 1e-4), "{family} {metric}");
            assert!(
                !near(&found.clean, &found.corrupted, 1e-2),
                "{family} {metric}: the runs do not differ"
            );
        }
    }
}

/// Pruned edges carried nothing. Where a norm takes all heads of a layer together they may, so not there.
#[test]
fn pruning_changes_no_run() {
    for family in ["llama", "neox", "qwen3"] {
        let model = model(family);
        let graph = Graph::new(model.spec());
        let scores = values(&model, Method::Eap);
        for edges in [graph.n_edges() / 10, graph.n_edges() / 3] {
            let selection = Selection {
                edges,
                rule: Rule::TopN,
                ranking: Ranking::Absolute,
            };
            let pruned = Circuit::select(&graph, &scores, selection);
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&a, &b| scores[b].abs().total_cmp(&scores[a].abs()));
            let whole = Circuit::new(graph.clone(), order.into_iter().take(edges));
            let found = evaluate(
                &model,
                &pairs(&model),
                &[whole.clone(), pruned.clone()],
                Metric::LogitDiff,
                5,
                &|_| (),
            )
            .unwrap();
            println!("{family}: {edges} edges, {} after pruning", pruned.len());
            assert!(error(&found.circuits[0], &found.circuits[1]) < 1e-4, "{family}");
        }
    }
}

/// Gradients without a residual stream for every head are those with one.
#[test]
fn gradients_at_inputs_of_heads_are_those_that_watching_gives() {
    for family in FAMILIES {
        let model = model(family);
        let ids = pairs(&model)[0].clean.clone();
        let batch = TokenBatch::new(&[&ids]).unwrap();
        for l in 0..model.spec().n_layer {
            for (inner, outer) in [
                (HookPoint::Q(l), HookPoint::QInput(l)),
                (HookPoint::K(l), HookPoint::KInput(l)),
                (HookPoint::V(l), HookPoint::VInput(l)),
            ] {
                let request = |watch| Request {
                    capture: vec![HookPoint::ResidPre(l)],
                    watch: vec![watch],
                    logits: Logits::At(vec![ids.len() - 1]),
                    ..Request::default()
                };
                let gradient = |watch| {
                    let trace = model.run(Start::Tokens(&batch), &request(watch)).unwrap();
                    let loss = trace.logits_at().unwrap().narrow(1, 3, 1).sum();
                    let resid = trace.tensor3(HookPoint::ResidPre(l)).unwrap().inner();
                    (resid, trace.gradients(loss).unwrap().tensor4(watch).unwrap())
                };
                let (resid, of_inner) = gradient(inner);
                let (_, expected) = gradient(outer);
                let found = model
                    .head_input_gradients(inner, resid, of_inner, lm::NormRule::Exact)
                    .unwrap();
                assert_eq!(found.dims(), expected.dims());
                let of = |tensor: Tensor<4>| kernels::to_vec(tensor).into_iter().map(f64::from).collect::<Vec<_>>();
                let error = error(&of(found), &of(expected));
                assert!(error < 1e-4, "{family} {inner}: {error}");
            }
        }
    }
}
