//! `saelab circuit` from scores to a picture, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::Output;

use common::{saelab, succeeds};

const MODEL: &str = "models/small-world";

/// Runs `saelab circuit` with these arguments.
fn circuit(arguments: &[&str]) -> Output {
    saelab(&[&["circuit"], arguments].concat()).output().unwrap()
}

/// What is printed on success.
fn said(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    succeeds(output);
    text
}

/// The one line of an error.
fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "not refused");
    let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_owned()
}

fn score(out: &Path, sets: &[&str]) -> Output {
    let out = out.to_string_lossy().into_owned();
    let mut arguments = vec!["score", "configs/circuits/ioi.toml", "--model", MODEL, "--out", &out];
    for set in sets {
        arguments.extend(["--set", set]);
    }
    circuit(&arguments)
}

#[test]
fn from_scores_to_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let small = ["pairs.n=6", "check.n=6"];
    let text = said(score(&folder.path().join("ig"), &small));
    assert!(text.contains("logit_diff") && text.contains("->logits"), "{text}");
    said(score(
        &folder.path().join("exact"),
        &[&small[..], &["method=exact"]].concat(),
    ));

    let text = said(circuit(&["select", &at("ig"), "--share", "0.2"]));
    assert!(text.contains("95 edges of 479 chosen (greedy, absolute)"), "{text}");
    let chosen = at("ig/circuit.json");
    let text = said(circuit(&["check", &chosen, "--model", MODEL, "--resamples", "50"]));
    assert!(text.contains("model, clean prompts") && text.contains('['), "{text}");
    let check: serde_json::Value = serde_json::from_slice(&std::fs::read(at("ig/check.json")).unwrap()).unwrap();
    assert_eq!(check["per_pair"]["circuit"].as_array().unwrap().len(), 6);
    said(circuit(&["draw", &chosen]));
    let [svg, dot] = ["svg", "dot"].map(|name| std::fs::read_to_string(at(&format!("ig/circuit.{name}"))).unwrap());
    assert_eq!(svg.matches("<path").count() as u64, check["kept"].as_u64().unwrap());
    assert_eq!(dot.matches("penwidth").count() as u64, check["kept"].as_u64().unwrap());
    let text = said(circuit(&[
        "compare",
        &at("exact"),
        &at("ig"),
        "--model",
        MODEL,
        "--shares",
        "0.1,1",
        "--resamples",
        "0",
    ]));
    assert!(text.contains("pearson") && text.contains("1.000 (479)"), "{text}");
    assert!(text.contains("random") && text.contains("weight-norm"), "{text}");
    // On the pairs that edges were scored on, which is said.
    let output = circuit(&["check", &chosen, "--model", MODEL, "--discovery", "--resamples", "0"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("flattered"));
    succeeds(output);

    let graph = at("graph.json");
    said(circuit(&[
        "export",
        &at("ig"),
        "--model",
        MODEL,
        "--circuit",
        &chosen,
        "--out",
        &graph,
    ]));
    let graph: serde_json::Value = serde_json::from_slice(&std::fs::read(&graph).unwrap()).unwrap();
    assert_eq!(graph["edges"].as_object().unwrap().len(), 479);
    // And back: the same scores and the same circuit.
    let text = said(circuit(&[
        "import",
        &at("graph.json"),
        "--config",
        "configs/circuits/ioi.toml",
        "--set",
        "pairs.n=6",
        "--model",
        MODEL,
        "--out",
        &at("imported"),
    ]));
    assert!(text.contains("479 scores and a circuit of"), "{text}");
    let text = said(circuit(&[
        "compare",
        &at("ig"),
        &at("imported"),
        "--model",
        MODEL,
        "--shares",
        "0.2",
        "--resamples",
        "0",
    ]));
    assert!(
        text.contains("imported") && text.contains("1.000    1.000    1.000    1.000    1.000"),
        "{text}"
    );

    // A circuit of another model, and scores that are not those of their file.
    let error = refused(&circuit(&["check", &chosen, "--model", "lm/tests/fixtures/gpt2-micro"]));
    assert!(
        error.contains("another model") || error.contains("tokenizer"),
        "{error}"
    );
    std::fs::copy(at("exact/edges.parquet"), at("ig/edges.parquet")).unwrap();
    let error = refused(&circuit(&["select", &at("ig"), "--edges", "3"]));
    assert!(error.contains("saelab circuit score"), "{error}");
}

#[test]
fn what_cannot_be_meant_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = folder.path().join("pairs.jsonl");
    let config = folder.path().join("pairs.toml");
    std::fs::write(&config, format!("[pairs]\nfile = {:?}\n", pairs)).unwrap();
    let (config, out) = (
        config.to_string_lossy().into_owned(),
        folder.path().join("out").to_string_lossy().into_owned(),
    );
    let of_file = |text: &str| {
        std::fs::write(&pairs, text).unwrap();
        circuit(&["score", &config, "--model", MODEL, "--out", &out])
    };
    let good = "{\"clean_ids\": [0, 5], \"corrupted_ids\": [0, 6], \"answer\": 17, \"wrong\": 3}\n";
    for (text, reason) in [
        (
            format!("{good}{}", good.replace("[0, 6]", "[0]")),
            "line 2: the clean prompt has 2 tokens",
        ),
        (
            format!("{good}{}", good.replace("17", "\" no such word\"")),
            "line 2: `answer`",
        ),
        (
            good.replace("17", "901"),
            "pair 1: token 901 is outside the model's vocabulary",
        ),
        (String::new(), "has no pairs"),
    ] {
        let error = refused(&of_file(&text));
        assert!(error.contains(reason), "{error}");
    }
    for (set, reason) in [
        ("method=eapig", "method"),
        ("steps=0", "`steps` is 0"),
        ("pairs.attribute=Nobody", "use one of IO, S, Pos"),
        ("pairs.file=x.jsonl", "name one of `task`"),
        ("stepz=3", "did you mean `steps`"),
    ] {
        let error = refused(&score(&folder.path().join("none"), &[set]));
        assert!(error.contains(reason), "{set}: {error}");
    }

    // Where both runs have one metric, nothing can be divided by the difference.
    let same = good.replace("[0, 6]", "[0, 5]");
    said(of_file(&same));
    said(circuit(&["select", &out, "--edges", "30"]));
    let text = said(circuit(&["check", &format!("{out}/circuit.json"), "--model", MODEL]));
    assert!(text.contains("undefined"), "{text}");
    let error = refused(&circuit(&["select", &out, "--edges", "480"]));
    assert!(error.contains("the graph has 479"), "{error}");
}

#[test]
fn circuits_of_several_tasks_are_run_on_each_others_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for behaviour in ["capital", "pronoun"] {
        let [of_pairs, of_check] = ["pairs", "check"].map(|table| format!("{table}.behaviour={behaviour}"));
        let sets = [&of_pairs, "pairs.n=6", &of_check, "check.n=6"]
            .map(|set| ["--set", set])
            .concat();
        let out = at(behaviour);
        let arguments = [
            "score",
            "configs/circuits/behaviour.toml",
            "--model",
            MODEL,
            "--out",
            &out,
        ];
        said(circuit(&[&arguments[..], &sets[..]].concat()));
    }
    let (capital, pronoun, out) = (at("capital"), at("pronoun"), at("across.json"));
    let text = said(circuit(&[
        "compare",
        "--across",
        "--share",
        "0.1",
        &capital,
        &pronoun,
        "--model",
        MODEL,
        "--resamples",
        "0",
        "--out",
        &out,
    ]));
    assert!(
        text.contains("row = task that is run") && text.contains("Pearson"),
        "{text}"
    );
    let cells: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let cells = cells.as_array().unwrap();
    assert_eq!(cells.len(), 4);
    for cell in cells {
        let is_own = cell["task"] == cell["circuit"];
        assert_eq!(cell["overlap"]["edges"].as_f64().unwrap() == 1.0, is_own);
    }
}

#[test]
fn edges_are_taken_apart() {
    let split = |arguments: &[&str]| {
        let of_all = [
            "split",
            "configs/circuits/ioi.toml",
            "--model",
            MODEL,
            "--set",
            "pairs.n=6",
        ];
        circuit(&[&of_all[..], arguments].concat())
    };
    for by in ["positions", "neurons", "to-neurons"] {
        let text = said(split(&["--edge", "m0->m1", "--by", by]));
        assert!(text.contains("m0->m1"), "{text}");
    }
    let error = refused(&split(&["--edge", "m1->m0", "--by", "positions"]));
    assert!(error.contains("m1->m0"), "{error}");
    let error = refused(&split(&["--edge", "m0->m1", "--edge", "a0.h0->m1", "--by", "neurons"]));
    assert!(error.contains("one source"), "{error}");
    let error = refused(&split(&["--edge", "m0->logits", "--by", "to-neurons"]));
    assert!(error.contains("logits has no neurons"), "{error}");
}
