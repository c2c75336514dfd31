//! Graphs that EAP-IG's own code wrote (`fixtures/eap-ig-graph/make.py`): JSON and `.pt` hold the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use circuits::{Graph, read_graph_json, read_graph_pt};
use lm::Spec;

fn fixture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eap-ig-graph");
    folder.join(name)
}

#[test]
fn both_forms_of_the_published_code_hold_the_same_graph() {
    let mut spec = Spec::gpt2(2, 4, 16, 8, 11);
    let (circuit, scores) = read_graph_pt(&fixture("graph.pt"), &spec).unwrap();
    let (of_json, scores_of_json) = read_graph_json(&fixture("graph.json"), &spec).unwrap();
    assert_eq!(circuit, of_json);
    let off = scores.iter().zip(&scores_of_json).map(|(a, b)| (a - b).abs());
    assert!(off.fold(0.0, f64::max) < 1e-6);
    assert!(scores.iter().all(|&score| score != 0.0));
    // Every third edge in the order of that library's names, as the script marks them.
    let graph = Graph::new(&spec);
    let mut names: Vec<String> = graph.edges().map(|edge| graph.name(edge)).collect();
    names.sort();
    for (place, name) in names.iter().enumerate() {
        let number = graph.edge_number(graph.parse(name).unwrap());
        assert_eq!(circuit.keeps(number), place % 3 == 0, "{name}");
    }

    // Where heads share keys and values, theirs add up.
    spec.n_kv_head = 2;
    let shared = Graph::new(&spec);
    let (_, of_shared) = read_graph_pt(&fixture("graph.pt"), &spec).unwrap();
    let score = |graph: &Graph, scores: &[f64], name: &str| scores[graph.edge_number(graph.parse(name).unwrap())];
    let sum = score(&graph, &scores, "m0->a1.h2<k>") + score(&graph, &scores, "m0->a1.h3<k>");
    assert!((score(&shared, &of_shared, "m0->a1.kv1<k>") - sum).abs() < 1e-12);
}

#[test]
fn a_file_that_does_not_fit_is_one_line() {
    let spec = Spec::gpt2(2, 4, 16, 8, 11);
    let of = |path: &std::path::Path, spec: &Spec| read_graph_pt(path, spec).unwrap_err().to_string();
    let error = of(&fixture("graph.pt"), &Spec::gpt2(3, 4, 16, 8, 11));
    assert!(error.contains("another geometry"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graph.pt");
    let bytes = std::fs::read(fixture("graph.pt")).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(of(&path, &spec).contains("graph.pt"));
    // Another dictionary of tensors.
    let other = "../dictionaries/tests/fixtures/interchange";
    let folders = std::fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(other)).unwrap();
    let other = folders
        .map(|entry| entry.unwrap().path().join("ae.pt"))
        .find(|path| path.exists());
    let error = of(&other.unwrap(), &spec);
    assert!(error.contains("cfg"), "{error}");
    for error in [of(&path, &spec), error] {
        assert_eq!(error.lines().count(), 1);
    }
}
