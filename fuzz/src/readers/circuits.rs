//! Circuits: files of pairs, graphs of EAP-IG's library and MIB, scores and circuits of this program.

use std::path::Path;

use ::circuits::{
    Circuit, CircuitFile, Graph, Metric, PairsFile, Ranking, Rule, ScoreFile, ScoreOptions, Scores, Selection, draw,
    evaluate, read_graph_json, read_graph_pt, write_graph_json,
};
use lm::{Model, Spec};
use text::Tokenizer;

use super::message;
use crate::scratch::{Scratch, bytes, repository};
use crate::{Form, Reader, Target};

pub(super) fn targets() -> Vec<Target> {
    let target = |name, form, seeds, reader| Target {
        name,
        form,
        seeds,
        reader,
    };
    vec![
        target(
            "circuit-pairs",
            Form::JsonLines,
            || vec![PAIRS.as_bytes().to_vec()],
            pairs,
        ),
        target("circuit-graph", Form::Json, || vec![made("graph.json")], graph),
        target(
            "circuit-importances",
            Form::Archive,
            || vec![bytes(&repository("circuits/tests/fixtures/eap-ig-graph/graph.pt"))],
            importances,
        ),
        target("circuit-scores", Form::Json, || vec![made("scores.json")], scores),
        target("circuit-file", Form::Json, || vec![made("circuit.json")], circuit),
    ]
}

const PAIRS: &str = r#"{"clean": " Mary John", "corrupted": " John John", "answer": " Mary", "wrong": [" John"]}
{"clean_ids": [0, 5, 9], "corrupted_ids": [0, 6, 9], "answer": 17, "wrong": [3, 4]}
{"clean_ids": [0, 5, 9], "corrupted_ids": [0, 6, 7, 9], "positions": [0, 2, 3], "answer": 17, "wrong": 3}
"#;

fn spec() -> Spec {
    Spec::gpt2(2, 4, 16, 8, 11)
}

/// Scores, a circuit and a graph of a small model, written into a folder.
fn write(folder: &Path) {
    let graph = Graph::new(&spec());
    let edges = graph.n_edges();
    let scores = Scores {
        values: (0..edges).map(|edge| edge as f64 - 20.0).collect(),
        errors: vec![Some(0.5); edges],
        by_pair: vec![0.5; 2 * edges],
        clean: vec![1.0, 2.0],
        corrupted: vec![0.0, 0.5],
        graph: graph.clone(),
    };
    let options = ScoreOptions::default();
    let file = ScoreFile::write(folder, &scores, None, &options, "a model", serde_json::json!({}))
        .expect("a folder of the test can be written to");
    let selection = Selection {
        edges: 20,
        rule: Rule::Greedy,
        ranking: Ranking::Absolute,
    };
    let circuit = Circuit::select(&graph, &scores.values, selection);
    CircuitFile::new(&circuit, &scores.values, &file, Some(selection))
        .write(&folder.join("circuit.json"))
        .expect("a folder of the test can be written to");
    write_graph_json(&folder.join("graph.json"), &circuit, &scores.values, spec().d_model)
        .expect("a folder of the test can be written to");
}

/// A file that this program writes.
fn made(name: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    write(scratch.path());
    bytes(&scratch.path().join(name))
}

/// Reads pairs, and runs those that the model can run.
fn pairs() -> Reader {
    let scratch = Scratch::new();
    let folder = repository("models/small-world");
    let tokenizer = Tokenizer::from_dir(&folder).expect("the shipped model has a tokenizer");
    let model = Model::load(&folder, &kernels::cpu()).expect("the shipped model can be read");
    Box::new(move |input| {
        let path = scratch.put("pairs.jsonl", input);
        let pairs = message(PairsFile::read(&path, &tokenizer))?.pairs;
        let few = &pairs[..pairs.len().min(4)];
        message(evaluate(&model, few, &[], Metric::LogitDiff, 4, &|_| ())).map(drop)
    })
}

fn graph() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let path = scratch.put("graph.json", input);
        message(read_graph_json(&path, &spec())).map(drop)
    })
}

fn importances() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let path = scratch.put("graph.pt", input);
        message(read_graph_pt(&path, &spec())).map(drop)
    })
}

/// Reads scores, and chooses a circuit from them.
fn scores() -> Reader {
    let scratch = Scratch::new();
    write(scratch.path());
    Box::new(move |input| {
        scratch.put("scores.json", input);
        let (_, graph, scores) = message(ScoreFile::read(scratch.path()))?;
        let selection = Selection {
            edges: 10,
            rule: Rule::TopN,
            ranking: Ranking::Signed,
        };
        Circuit::select(&graph, &scores, selection);
        Ok(())
    })
}

/// Reads a circuit, and draws it.
fn circuit() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let path = scratch.put("circuit.json", input);
        let (_, circuit, scores) = message(CircuitFile::read(&path))?;
        draw::svg(&circuit, &scores);
        draw::dot(&circuit, &scores);
        Ok(())
    })
}
