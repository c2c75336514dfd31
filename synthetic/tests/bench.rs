//! The bench on a small model: what is trained finds features, what is controlled comes to its L0, what is finished stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use kernels::cpu;
use synthetic::{Bench, Records, Report, SyntheticConfig, SyntheticFile};

fn config(extra: serde_json::Value) -> SyntheticConfig {
    let mut file = serde_json::json!({
        "features": 96, "width": 32, "roots": 4, "pool": 40_000, "evaluation": 4_000,
        "train": {"expansion": 1, "steps": 500, "learning_rate": 3e-3, "held_out": 0.05, "autoencoder": [
            {"architecture": "relu", "l0": 4},
            {"architecture": "relu-april", "l0": 4},
            {"architecture": "p-anneal", "l0": 4},
            {"architecture": "gated", "l0": 4},
            {"architecture": "jumprelu", "l0": 4},
            {"architecture": "jumprelu-l0", "l0": 4},
            {"architecture": "jumprelu-tanh", "l0": 4},
            {"architecture": "topk", "k": 4},
            {"architecture": "batch-topk", "k": 4, "anneal_k": 3},
            {"architecture": "matryoshka", "k": 4, "levels": 5},
        ]},
        "matching_pursuit": {"k": 4},
    });
    file.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    SyntheticConfig::try_from(serde_json::from_value::<SyntheticFile>(file).unwrap()).unwrap()
}

fn run(config: &SyntheticConfig, records: &Records) -> (usize, Report) {
    let bench = Bench::new(config, records);
    let (cost, mut steps) = (bench.cost().unwrap(), 0);
    let report = bench.run(&cpu(), &mut |n| steps += n).unwrap();
    assert_eq!(steps, cost.steps);
    (cost.unfinished, report)
}

#[test]
fn all_architectures_find_features_at_the_l0_that_was_asked_for_and_are_not_trained_again() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config(serde_json::json!({})));
    let records = Records::new(folder.path().to_owned(), "this".to_owned());
    let (trained, report) = run(&config, &records);
    assert_eq!((trained, report.rows.len()), (11, 11));
    let facts = report.facts.clone().unwrap();
    let random = facts.random[0].scores;
    assert!(
        facts.probe_f1.unwrap() > 0.8 && facts.oracle_variance > 0.5,
        "{facts:?}"
    );
    for row in &report.rows {
        let found = row.scores;
        assert!((found.l0 - 4.0).abs() < 0.8, "{}: L0 {}", row.kind, found.l0);
        assert!(found.mcc > facts.chance_mcc + 0.03, "{}: {found:?}", row.kind);
        assert!(
            found.explained_variance > random.explained_variance,
            "{}: {found:?}",
            row.kind
        );
        // Matching Pursuit is the one that does not learn features.
        assert!(
            row.kind == "matching-pursuit" || found.f1 > random.f1 + 0.05,
            "{}: {found:?}, {random:?}",
            row.kind
        );
    }
    // Two are lost, and one was trained by another program.
    let path = |name: &str| folder.path().join(format!("{name}.json"));
    std::fs::remove_file(path("sae-topk")).unwrap();
    std::fs::remove_file(path("matching-pursuit-k4-seed0")).unwrap();
    let other = Records::new(folder.path().to_owned(), "another".to_owned());
    assert_eq!(Bench::new(&config, &other).cost().unwrap().unfinished, 11);
    let (trained, again) = run(&config, &records);
    assert_eq!((trained, again), (2, report));
    assert!(!folder.path().join("checkpoints").exists());
}

#[test]
fn fields_that_do_not_fit_are_named() {
    for (extra, part) in [
        (serde_json::json!({"roots": 97}), "`roots`"),
        (serde_json::json!({"pool": 10}), "`pool`"),
        (serde_json::json!({"features": 20}), "`train.expansion`"),
        (
            serde_json::json!({"matching_pursuit": {"k": 33}}),
            "`matching_pursuit.k`",
        ),
        (
            serde_json::json!({"matching_pursuit": {"k": [4], "learning_rate": 0.0}}),
            "`matching_pursuit.learning_rate`",
        ),
        (
            serde_json::json!({"train": {"steps": 5, "expansion": 1, "part": [0, 2], "autoencoder": [{"architecture": "topk", "k": 3}]}}),
            "`train.part`",
        ),
    ] {
        let mut file = serde_json::json!({
            "features": 96, "width": 32, "roots": 4, "pool": 4_000, "evaluation": 400,
            "train": {"expansion": 1, "steps": 5, "autoencoder": [{"architecture": "topk", "k": 3}]},
        });
        file.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let file: SyntheticFile = serde_json::from_value(file).unwrap();
        let error = SyntheticConfig::try_from(file).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
