//! Prompts of one task with the sites of another are refused at every stage.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{saelab, succeeds};

const IOI: &str = "configs/sites/small-world.toml";
const PRONOUN: &str = "configs/sites/small-world-pronoun.toml";

#[test]
fn a_store_of_another_task_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_string_lossy().into_owned();
    let store = format!("{run}/activations");
    let harvest = [
        "harvest",
        "configs/pronoun/harvest.toml",
        "--set",
        "source.n=200",
        "--out",
        &store,
    ];
    let last_line = |arguments: &[&str]| {
        let output = saelab(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        text.lines().last().unwrap().to_owned()
    };
    let sites = format!("sites={IOI}");
    let message = last_line(&[&harvest[..], &["--set", &sites]].concat());
    assert!(
        message.contains("task ioi") && message.contains("task pronoun"),
        "{message}"
    );
    assert!(!std::path::Path::new(&store).exists());

    succeeds(saelab(&harvest).output().unwrap());
    let model = ["--model", "models/small-world"];
    let stages: [&[&str]; 3] = [
        &["fit", "configs/ioi/fit.toml"],
        &["train", "configs/ioi/train.toml"],
        &["eval", "configs/eval/ioi-quick.toml", model[0], model[1]],
    ];
    for stage in stages {
        let message = last_line(&[stage, &["--run", &run, "--sites", IOI]].concat());
        assert!(
            message.contains("task ioi") && message.contains("no label IO"),
            "{message}"
        );
    }
    succeeds(
        saelab(&["fit", "configs/ioi/fit.toml", "--run", &run, "--sites", PRONOUN])
            .output()
            .unwrap(),
    );
}
