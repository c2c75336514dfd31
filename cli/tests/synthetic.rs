//! `saelab synthetic`: tables and records, a run that goes on, mistakes on one line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = "
features = 60
width = 16
roots = 3
pool = 3000
evaluation = 500
[train]
expansion = 1
batch = 64
steps = 40
checkpoint_every = 10
[[train.autoencoder]]
architecture = 'batch-topk'
k = 3
seed = [0, 1]
[[train.autoencoder]]
architecture = 'relu'
l0 = 3
[matching_pursuit]
k = [2, 3]
";

fn synthetic(config: &Path, out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_saelab"))
        .arg("synthetic")
        .arg(config)
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .unwrap()
}

#[test]
fn a_table_from_records_that_are_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (folder.path().join("small.toml"), folder.path().join("out"));
    std::fs::write(&config, CONFIG).unwrap();
    let run = |more: &[&str]| {
        let output = synthetic(&config, &out, more);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        let table = String::from_utf8(output.stdout).unwrap();
        (stderr, table, std::fs::read(out.join("synthetic.json")).unwrap())
    };
    let (first, table, report) = run(&[]);
    assert!(
        first.contains("5 autoencoders, 5 of them to be trained: 240 steps"),
        "{first}"
    );
    for part in [
        "batch-topk",
        "relu",
        "matching-pursuit",
        "random",
        "BARS",
        "not measured",
        "chance MCC",
    ] {
        assert!(table.contains(part), "{table}");
    }
    std::fs::remove_file(out.join("sae-batch-topk-seed1.json")).unwrap();
    let (second, table_again, report_again) = run(&[]);
    assert!(
        second.contains("5 autoencoders, 1 of them to be trained: 40 steps"),
        "{second}"
    );
    assert_eq!((&table, &report), (&table_again, &report_again));
    // Another folder and another number of threads give the same bytes.
    let elsewhere = folder.path().join("elsewhere");
    let output = Command::new(env!("CARGO_BIN_EXE_saelab"))
        .args([Path::new("synthetic"), &config, Path::new("--out"), &elsewhere])
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(std::fs::read(elsewhere.join("synthetic.json")).unwrap(), report);
    // Other settings are other autoencoders.
    let (third, _, _) = run(&["--set", "train.learning_rate=2e-3"]);
    assert!(third.contains("5 autoencoders, 3 of them to be trained"), "{third}");
}

#[test]
fn mistakes_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("small.toml");
    std::fs::write(&config, CONFIG).unwrap();
    for (set, part) in [
        ("roots=61", "`roots` is 61, more than the 60 features"),
        ("root=61", "did you mean `roots`?"),
        ("train.steps=0", "`steps` is 0"),
        (
            "train.expansion=4",
            "`train.expansion` makes 64 latents, more than the 60 features",
        ),
        ("matching_pursuit.k=17", "`matching_pursuit.k` holds 17"),
        ("pool='many'", "`pool`"),
    ] {
        let output = synthetic(&config, &folder.path().join("out"), &["--set", set]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{set}: {stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(part), "{set}: {stderr}");
    }
}
