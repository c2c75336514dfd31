//! What the program says of itself: help of every command, configs, completions and man pages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{saelab, succeeds};

fn said(arguments: &[&str]) -> String {
    let output = saelab(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    succeeds(output);
    text
}

/// The names of the commands in a help text: what stands first on the lines below headings of commands.
fn commands(help: &str) -> Vec<&str> {
    let (commands, _) = help.split_once("\nOptions:").unwrap();
    let lines = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn help_of_every_command() {
    let top = said(&["--help"]);
    insta::assert_snapshot!("top", top);
    let names = commands(&top);
    assert!(names.len() > 20, "{names:?}");
    let mut all = String::new();
    for name in names {
        let help = said(&[name, "--help"]);
        all += &format!("=== saelab {name}\n{help}\n");
        if help.contains("\nCommands:\n") {
            for inner in commands(&help).into_iter().filter(|inner| *inner != "help") {
                all += &format!("=== saelab {name} {inner}\n{}\n", said(&[name, inner, "--help"]));
            }
        }
    }
    insta::assert_snapshot!("all", all);
}

#[test]
fn configs_are_explained_by_command_and_by_key() {
    insta::assert_snapshot!("explain_overview", said(&["config", "explain"]));
    insta::assert_snapshot!("explain_fit", said(&["config", "explain", "fit"]));
    insta::assert_snapshot!("explain_key", said(&["config", "explain", "autoencoder.0.k"]));
    let output = saelab(&["config", "explain", "learning_rat"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(line.contains("did you mean `learning_rate`?"), "{line}");
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = said(&["completions", shell]);
        for name in ["harvest", "verify-model", "sites"] {
            assert!(script.contains(name), "{shell} does not know {name}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    said(&["man", &pages.to_string_lossy()]);
    for (page, part) in [
        ("saelab.1", "saelab"),
        ("saelab-train.1", "stream"),
        ("saelab-circuit-score.1", "edge"),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains(part), "{page}: {text}");
    }
    // The program that reads them, where there is one.
    if let Ok(output) = std::process::Command::new("mandoc")
        .args(["-T", "lint"])
        .arg(pages.join("saelab.1"))
        .output()
    {
        assert!(!String::from_utf8_lossy(&output.stdout).contains("ERROR"), "{output:?}");
    }
}
