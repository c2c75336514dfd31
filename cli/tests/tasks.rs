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

#[test]
fn a_task_from_files_is_harvested_and_its_faults_are_named_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let store = path("store");
    let harvest = ["harvest", "configs/agreement/harvest.toml", "--out", &store];
    let output = saelab(&[&harvest[..], &["--set", "source.n=1000"]].concat())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    succeeds(output);
    assert!(
        said.contains("`source.n` asks for 1000 prompts, the file has 600"),
        "{said}"
    );
    let settings = std::fs::read_to_string(path("store/harvest.json")).unwrap();
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap();
    let source = &settings["settings"]["source"];
    assert_eq!(source["task"], "agreement");
    assert_eq!(source["labels"], serde_json::json!(["Number", "OtherNumber", "Noun"]));

    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in ["task.toml", "prompts.jsonl"] {
        let text = std::fs::read_to_string(repository.join("configs/agreement").join(name)).unwrap();
        std::fs::write(
            path(name),
            text.replacen("\"right\":\" run\"", "\"right\":\" run runs\"", 1),
        )
        .unwrap();
    }
    let (task, sites) = (format!("task={}", path("task.toml")), path("sites.toml"));
    let locate = [
        "locate",
        "configs/agreement/locate.toml",
        "--model",
        "models/small-world",
        "--out",
        &sites,
    ];
    let output = saelab(&[&locate[..], &["--set", &task]].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("prompts.jsonl, line 4: `right`: \" run runs\" is not one token"),
        "{said}"
    );
    assert!(!std::path::Path::new(&sites).exists());
}

// `saelab report --model` took the name of a task file for a built-in task.
#[test]
fn latents_of_a_task_from_files_have_pages_once_the_sites_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_string_lossy().into_owned();
    let store = format!("{run}/activations");
    let sites = "configs/sites/small-world-agreement.toml";
    let harvest = ["harvest", "configs/agreement/harvest.toml", "--set", "source.n=300"];
    succeeds(saelab(&[&harvest[..], &["--out", &store]].concat()).output().unwrap());
    let train = [
        "train",
        "configs/ioi/train.toml",
        "--set",
        "steps=10",
        "--set",
        "batch=64",
    ];
    succeeds(
        saelab(&[&train[..], &["--run", &run, "--sites", sites]].concat())
            .output()
            .unwrap(),
    );

    let report = [
        "report",
        &run,
        "--model",
        "models/small-world",
        "--dictionary",
        "sae-topk-seed0",
    ];
    succeeds(saelab(&[&report[..], &["--sites", sites]].concat()).output().unwrap());
    assert!(
        folder
            .path()
            .join("latents/sae-topk-seed0/blocks.3.hook_resid_post-END/index.html")
            .exists()
    );

    let output = saelab(&[&report[..], &["--sites", PRONOUN]].concat()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("does not hold blocks.1.hook_resid_pre"), "{said}");
}
