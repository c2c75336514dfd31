//! From running text to autoencoders and a transcoder, and what they lose and find there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

const TRAIN: &str = r#"
steps = 30
batch = 128
expansion = 2

[[autoencoder]]
architecture = "topk"
k = 8

[[autoencoder]]
architecture = "topk"
k = 8
target = "blocks.1.hook_mlp_out"
"#;

fn saelab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_saelab"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(arguments)
        .output()
        .unwrap()
}

fn succeeds(arguments: &[&str]) -> String {
    let output = saelab(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn autoencoders_of_running_text_are_trained_spliced_and_compared_with_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("train.toml"), TRAIN).unwrap();
    let (run, store) = (path("run"), path("run/text"));
    let hooks = r#"hooks=["blocks.1.hook_resid_mid", "blocks.1.hook_mlp_out"]"#;
    let config = "configs/quality/harvest-text.toml";
    succeeds(&[
        "harvest",
        config,
        "--set",
        hooks,
        "--set",
        "source.documents=80",
        "--out",
        &store,
    ]);
    let config = path("train.toml");
    succeeds(&["train", &config, "--run", &run, "--activations", &store]);
    // One of another library in the run: the same weights without a word on their training.
    let [ours, theirs] = ["sae-topk", "imported"].map(|name| path(&format!("run/sae/{name}/blocks.1.hook_resid_mid")));
    succeeds(&["convert", &ours, &theirs, "--to", "saelens"]);
    let (config, few) = ("configs/quality/splice.toml", "source.documents=40");
    let model = "models/small-world";
    for command in ["splice", "truth"] {
        let table = succeeds(&[command, config, "--set", few, "--model", model, "--run", &run]);
        assert!(
            table.contains("blocks.1.hook_resid_mid") && table.contains("sae-topk"),
            "{table}"
        );
    }
    let spliced = json(&path("run/splice.json"));
    // Both hooks have an autoencoder, one an imported one; transcoders are not spliced.
    assert_eq!(spliced.as_array().unwrap().len(), 3);
    let of = |name: &str| {
        let mut rows = spliced.as_array().unwrap().iter();
        rows.find(|row| row["dictionary"] == name && row["site"] == "blocks.1.hook_resid_mid")
            .unwrap()
    };
    assert_eq!(of("imported")["spliced"], of("sae-topk")["spliced"]);
    assert!(of("imported")["summary"].is_null() && of("sae-topk")["summary"]["fvu"].is_number());
    for row in spliced.as_array().unwrap() {
        assert!(
            row["spliced"]["kl"].as_f64().unwrap() > 0.0 && row["zero"]["kl"].as_f64().unwrap() > 0.0,
            "{row}"
        );
    }
    let truth = json(&path("run/truth.json"));
    let truth = &truth["scored"];
    assert_eq!(
        truth.as_array().unwrap().len(),
        5,
        "an autoencoder and the neurons at each hook, and the imported one"
    );
    for row in truth.as_array().unwrap() {
        let everything = &row["truth"]["families"]["all"];
        assert!(everything["predicates"].as_u64().unwrap() > 15, "{row}");
        assert!(everything["mcc"].as_f64().unwrap() > 0.0, "{row}");
    }
    let sae = path("run/sae/transcoder-topk/blocks.1.hook_resid_mid");
    let shown: serde_json::Value = serde_json::from_str(&succeeds(&["inspect", &sae])).unwrap();
    assert_eq!(
        (shown["transcodes"].as_bool(), shown["k"].as_u64()),
        (Some(true), Some(8))
    );

    let refused = saelab(&[
        "splice",
        config,
        "--set",
        "source.context=1",
        "--model",
        model,
        "--run",
        &run,
    ]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    let empty = saelab(&["truth", config, "--model", model, "--run", &path("nowhere")]);
    let line = String::from_utf8_lossy(&empty.stderr).into_owned();
    assert!(
        empty.status.code() == Some(1) && line.contains("harvest text"),
        "{line}"
    );
}
