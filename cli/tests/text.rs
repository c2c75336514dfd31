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
    let sets = concat!(
        r#"together=[{dictionaries=["sae-topk/blocks.1.hook_resid_mid", "transcoder-topk/blocks.1.hook_resid_mid"]}, "#,
        r#"{dictionaries=["sae-topk/blocks.1.hook_resid_mid", "transcoder-topk/blocks.1.hook_resid_mid"], "#,
        r#"with_error_terms=["transcoder-topk/blocks.1.hook_resid_mid", "sae-topk/blocks.1.hook_resid_mid"]}, "#,
        r#"{dictionaries=["sae-topk"], with_error_terms=["sae-topk/blocks.1.hook_mlp_out"]}]"#
    );
    for command in ["splice", "truth"] {
        let table = succeeds(&[
            command, config, "--set", few, "--set", sets, "--model", model, "--run", &run,
        ]);
        assert!(
            table.contains("blocks.1.hook_resid_mid") && table.contains("sae-topk"),
            "{table}"
        );
    }
    let told = saelab(&[
        "splice",
        config,
        "--set",
        few,
        "--model",
        model,
        "--run",
        &run,
        "--replace",
    ]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    // One of the model, five at each of the two hooks, two for each of the five.
    assert!(told.contains("splice: 5 autoencoders: 26 passes of "), "{told}");
    succeeds(&[
        "splice",
        config,
        "--set",
        few,
        "--set",
        sets,
        "--model",
        model,
        "--run",
        &run,
        "--replace",
    ]);
    let spliced = json(&path("run/splice.json"));
    let together = json(&path("run/splice-together.json"));
    // Both hooks have an autoencoder and a transcoder to one of them, the other an imported autoencoder too.
    assert_eq!(spliced.as_array().unwrap().len(), 5);
    let of = |name: &str| {
        let mut rows = spliced.as_array().unwrap().iter();
        rows.find(|row| row["dictionary"] == name && row["site"] == "blocks.1.hook_resid_mid")
            .unwrap()
    };
    assert_eq!(of("imported")["spliced"], of("sae-topk")["spliced"]);
    assert!(of("imported")["summary"].is_null() && of("sae-topk")["summary"]["fvu"].is_number());
    assert_eq!(of("imported")["fidelity"], of("sae-topk")["fidelity"]);
    for row in spliced.as_array().unwrap() {
        let fvu = row["fidelity"]["fvu"].as_f64().unwrap();
        assert!(fvu > 0.0 && row["fidelity"]["l0"].as_f64().unwrap() > 0.0, "{row}");
        assert!(
            row["spliced"]["kl"].as_f64().unwrap() > 0.0 && row["zero"]["kl"].as_f64().unwrap() > 0.0,
            "{row}"
        );
    }
    let transcoder = of("transcoder-topk");
    assert_eq!(transcoder["writes"], "blocks.1.hook_mlp_out");
    let of_output = |row: &&serde_json::Value| row["site"] == "blocks.1.hook_mlp_out";
    let of_output = spliced.as_array().unwrap().iter().find(of_output).unwrap();
    assert_eq!(transcoder["zero"], of_output["zero"], "the same place is ablated");
    let kl = |row: &serde_json::Value| row["spliced"]["kl"].as_f64().unwrap();
    let [both, righted, half] = [0, 1, 2].map(|set| &together[set]);
    // Two are worse than either, and with their error terms nothing is lost.
    assert!(kl(both) > kl(transcoder) && kl(both) > kl(of("sae-topk")), "{together}");
    assert!(kl(righted).abs() < 1e-5, "{righted}");
    assert!(kl(half) > 1e-3 && kl(half) < kl(both), "{half}");
    assert_eq!(half["dictionaries"].as_array().unwrap().len(), 2);
    assert_eq!(half["dictionaries"][0]["error_term"], true);
    assert!(both["zero"]["kl"].as_f64() > transcoder["zero"]["kl"].as_f64());
    for (set, part) in [
        (r#"together=[{dictionaries=["nobody"]}]"#, "nobody"),
        (
            r#"together=[{dictionaries=["imported"], with_error_terms=["sae-topk"]}]"#,
            "with_error_terms",
        ),
        (
            r#"together=[{dictionaries=["imported", "sae-topk"]}]"#,
            "two dictionaries",
        ),
        (r#"writes={nobody="blocks.1.hook_mlp_out"}"#, "nobody"),
        (
            r#"writes={transcoder-topk="blocks.0.hook_mlp_out"}"#,
            "says that it writes",
        ),
    ] {
        let refused = saelab(&[
            "splice",
            config,
            "--set",
            few,
            "--set",
            set,
            "--model",
            model,
            "--run",
            &run,
            "--replace",
        ]);
        let line = String::from_utf8_lossy(&refused.stderr).into_owned();
        let last = line.lines().last().unwrap();
        assert!(!refused.status.success() && last.contains(part), "{line}");
    }
    let truth = json(&path("run/truth.json"));
    let truth = &truth["scored"];
    assert_eq!(
        truth.as_array().unwrap().len(),
        7,
        "an autoencoder, a transcoder and the neurons at each hook, and the imported one"
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
