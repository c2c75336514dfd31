//! `saelab phenomena`: what is finished is not run again, and the result does not depend on where a run was broken off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

/// A little of each toy.
const CONFIG: &str = "
[splitting_analytic]
encoders = 20
samples = 100
thresholds = 3
[[splitting]]
latents = [2, 8]
lambdas = [0.7]
steps = 20
batch = 32
[[occlusion]]
latents = [16]
lambdas = [0.3]
ratios = [1.1, 1.9]
epochs = 2
samples = 200
batch = 32
";

fn phenomena(config: &Path, out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_saelab"))
        .arg("phenomena")
        .arg(config)
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn finished_configurations_are_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (folder.path().join("toys.toml"), folder.path().join("out"));
    std::fs::write(&config, CONFIG).unwrap();
    let run = |more: &[&str]| {
        let output = phenomena(&config, &out, more);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (
            stderr,
            output.stdout,
            std::fs::read(out.join("phenomena.json")).unwrap(),
        )
    };
    let (first, table, summary) = run(&[]);
    assert!(
        first.contains("5 configurations, 5 of them to be run: 66 optimiser steps"),
        "{first}"
    );
    assert!(String::from_utf8_lossy(&table).contains("BARS"));

    // Two are lost, as after an interruption.
    let mut files: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 6);
    std::fs::remove_file(&files[0]).unwrap();
    std::fs::remove_file(&files[4]).unwrap();
    std::fs::remove_file(out.join("phenomena.json")).unwrap();
    let (second, table_again, summary_again) = run(&[]);
    assert!(second.contains("5 configurations, 2 of them to be run"), "{second}");
    assert_eq!((&table, &summary), (&table_again, &summary_again));

    // Other settings have other files.
    let (third, _, _) = run(&["--set", "splitting_analytic.seed=1"]);
    assert!(third.contains("5 configurations, 1 of them to be run"), "{third}");
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("toys.toml");
    let refused = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let output = phenomena(&config, &folder.path().join("out"), &[]);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    };
    assert!(refused("").contains("asks for no toy"));
    assert!(refused("[[occlusion]]\nlatents = [8]\nlambdas = [1.0]\nratios = [0.5]").contains("`ratios` holds 0.5"));
    assert!(refused("[[splitting]]\nlatents = [8]\nlambdas = [1.0]\nstep = 3").contains("`steps`"));
}
