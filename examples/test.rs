//! The programs run, and what they find is as good as it should be.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_pipeline_harvests_trains_and_evaluates() {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .arg(out.path().join("run"))
        .output()
        .unwrap();
    let (said, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}{errors}");
    let numbers: Vec<f64> = said
        .split_whitespace()
        .filter_map(|word| word.trim_matches(';').parse().ok())
        .collect();
    let [fvu, l0, recovered] = numbers[..] else {
        panic!("three numbers in {said}")
    };
    assert!(fvu > 0.0 && fvu < 0.5 && l0 > 8.0 && l0 <= 16.0, "{said}");
    assert!(recovered > 0.8 && recovered < 1.0, "{said}");
}
