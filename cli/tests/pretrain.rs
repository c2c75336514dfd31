//! `saelab pretrain` beside what is there: models are never lost, what is finished is what was written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use common::{saelab, succeeds};

const MODEL: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

fn command(out: &Path, more: &str) -> std::process::Command {
    let changes = "--set seed=0 --set n_layer=1 --set n_head=1 --set d_model=16 --set batch=2 --set steps=60 --set checkpoint_every=8 \
                   --set interchange.layer=0 --set interchange.clue_layer=0 --set interchange.pairs=1";
    let out = out.to_string_lossy();
    let arguments = ["pretrain", "configs/pretrain/small-world.toml", "--out", &out];
    let all: Vec<&str> = arguments
        .into_iter()
        .chain(changes.split_whitespace())
        .chain(more.split_whitespace())
        .collect();
    saelab(&all)
}

fn run(out: &Path, more: &str) -> Output {
    command(out, more).output().unwrap()
}

fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said.lines().last().unwrap().to_owned()
}

/// A training that takes for ever, with a first checkpoint.
fn begun(out: &Path, more: &str) -> Child {
    let mut child = command(out, &format!("--set steps=1000000 {more}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !out.join("checkpoint.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    MODEL.map(|name| std::fs::read(folder.join(name)).unwrap()).into()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world")
}

#[test]
fn a_model_of_another_origin_stays_until_the_new_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    for name in MODEL {
        std::fs::copy(shipped().join(name), folder.path().join(name)).unwrap();
    }
    for more in ["", "--resume"] {
        let line = refused(&run(folder.path(), more));
        assert!(
            line.contains("config.json is there") && line.contains("--replace"),
            "{line}"
        );
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), MODEL.len());
    // Killed, the replacement has not touched it.
    kill(begun(folder.path(), "--replace"));
    assert_eq!(bytes(folder.path()), bytes(&shipped()));
    // Another config does not continue it; the same one ends it.
    let line = refused(&run(folder.path(), "--resume --set steps=70"));
    assert!(line.contains("steps: 1000000 -> 70"), "{line}");
    succeeds(run(folder.path(), "--replace"));
    let new = tempfile::tempdir().unwrap();
    succeeds(run(&new.path().join("model"), ""));
    assert_eq!(bytes(folder.path()), bytes(&new.path().join("model")));
    // Each file alone is reason enough.
    for name in [
        "tokenizer.json",
        "model.safetensors.index.json",
        "metrics.jsonl",
        "checkpoint.safetensors",
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), "x").unwrap();
        assert!(refused(&run(folder.path(), "")).contains(name));
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"x");
    }
}

#[test]
fn a_forgotten_resume_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    kill(begun(folder.path(), ""));
    let checkpoint = std::fs::read(folder.path().join("checkpoint.safetensors")).unwrap();
    let line = refused(&run(folder.path(), "--set steps=1000000"));
    assert!(line.contains("--resume continues"), "{line}");
    assert!(std::fs::read(folder.path().join("checkpoint.safetensors")).unwrap() == checkpoint);
    // What was begun and has no checkpoint yet has nothing to lose.
    std::fs::remove_file(folder.path().join("checkpoint.safetensors")).unwrap();
    kill(begun(folder.path(), ""));
}

#[test]
fn finished_is_what_was_written_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    succeeds(run(folder.path(), ""));
    let before = bytes(folder.path());
    for more in ["", "--resume"] {
        assert!(succeeds(run(folder.path(), more)).contains("is finished"));
    }
    for name in MODEL {
        let path = folder.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 64;
        for bytes in [Some(&whole[..100]), Some(&changed), Some(b""), None] {
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let line = refused(&run(folder.path(), "--resume"));
            assert!(
                line.contains(name) && line.contains("missing, cut or changed"),
                "{line}"
            );
        }
        std::fs::write(&path, whole).unwrap();
    }
    succeeds(run(folder.path(), "--replace"));
    assert_eq!(bytes(folder.path()), before);
    // A record that is none.
    for text in ["", "{}", "{\"settings\": 1, \"finished\": null}"] {
        std::fs::write(folder.path().join("pretrain.json"), text).unwrap();
        let line = refused(&run(folder.path(), "--resume"));
        assert!(line.contains("pretrain.json") && line.contains("--replace"), "{line}");
    }
}

#[test]
fn a_changed_checkpoint_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    kill(begun(folder.path(), ""));
    let path = folder.path().join("checkpoint.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 64;
    for bytes in [&changed, &whole[..100]] {
        std::fs::write(&path, bytes).unwrap();
        let line = refused(&run(folder.path(), "--resume --set steps=1000000"));
        assert!(line.contains("checkpoint.safetensors is no whole checkpoint"), "{line}");
    }
}

#[test]
fn a_folder_that_is_removed_meanwhile_is_no_success() {
    for what in ["", "pretrain.json", "metrics.jsonl"] {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("model");
        let mut child = begun(&out, "");
        let path = out.join(what);
        // The program may be writing into it.
        let start = Instant::now();
        while path.exists() && start.elapsed() < Duration::from_secs(60) {
            let _ = if what.is_empty() {
                std::fs::remove_dir_all(&path)
            } else {
                std::fs::remove_file(&path)
            };
        }
        let start = Instant::now();
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > Duration::from_secs(120) => panic!("it goes on without {what}"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        assert_eq!(status.code(), Some(1), "{what}");
    }
}
