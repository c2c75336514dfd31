//! What depends on the processor: sums are formed in another order with every instruction set, training carries the last digits on, and
//! scores may differ by no more than those of two seeds do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use common::{saelab, succeeds};
use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instruction_sets");

/// Scores of the seeds of one family of dictionaries, by all that tells scores apart but the seed.
type Scores = BTreeMap<String, Vec<f64>>;

/// The family of a dictionary: its name without `-seed0`.
fn family(dictionary: &str) -> &str {
    match dictionary.rsplit_once("-seed") {
        Some((family, seed)) if seed.parse::<u32>().is_ok() => family,
        _ => dictionary,
    }
}

/// The scores that `scores.jq` writes.
fn of_fixture() -> Scores {
    let text = fs::read_to_string(format!("{FOLDER}/avx2.json")).unwrap();
    let scores: BTreeMap<String, f64> = serde_json::from_str(&text).unwrap();
    let mut grouped = Scores::new();
    for (key, value) in scores {
        let (dictionary, rest) = key.split_once(' ').unwrap();
        grouped
            .entry(format!("{} {rest}", family(dictionary)))
            .or_default()
            .push(value);
    }
    grouped
}

fn of_report(report: &Value) -> Scores {
    let mut grouped = Scores::new();
    for score in report["scores"].as_array().unwrap() {
        let Some(value) = score["value"].as_f64() else { continue };
        let fields = ["site", "attribute", "metric", "method", "k", "threshold"].map(|field| match &score[field] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let dictionary = family(score["dictionary"].as_str().unwrap());
        grouped
            .entry(format!("{dictionary} {}", fields.join(" ")))
            .or_default()
            .push(value);
    }
    grouped
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn range(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most - values.iter().copied().fold(f64::INFINITY, f64::min)
}

#[test]
fn scores_differ_from_those_of_another_instruction_set_by_less_than_those_of_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let program = saelab(&[]);
    let mut evaluate = Command::new("bash");
    evaluate.current_dir(program.get_current_dir().unwrap());
    evaluate
        .arg(format!("{FOLDER}/evaluate.sh"))
        .arg(&run)
        .arg(program.get_program());
    succeeds(evaluate.output().unwrap());
    let report: Value = serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    let (here, there) = (of_report(&report), of_fixture());
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    assert!(here.len() > 200, "{}", here.len());
    for (key, of_seeds) in &here {
        let others = &there[key];
        let difference = (mean(of_seeds) - mean(others)).abs();
        // Dictionaries without seeds differ in their last digits only.
        let allowed = range(of_seeds).max(range(others)).max(1e-5);
        assert!(difference <= allowed, "{key}: {of_seeds:?} here, {others:?} with AVX2");
    }
}
