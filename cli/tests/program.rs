//! The program as a user meets it: exit codes, the one line of an error, `trace`, and the whole pipeline in small.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn saelab(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_saelab"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap()
}

/// Exit code, stdout and stderr with `folder` replaced by a fixed name.
fn transcript(output: &Output, folder: &Path) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*folder.to_string_lossy(), "[folder]");
    let code = output.status.code().unwrap();
    format!(
        "exit {code}\n--- stdout\n{}--- stderr\n{}",
        text(&output.stdout),
        text(&output.stderr)
    )
}

#[test]
fn mistakes_are_one_line_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let micro = root().join("lm/tests/fixtures/gpt2-micro");
    let expected = path("ids.safetensors");
    std::fs::copy(micro.join("expected.safetensors"), &expected).unwrap();
    let out = path("out.safetensors");

    let run = |arguments: &[&str]| transcript(&saelab(arguments), folder.path());
    insta::assert_snapshot!(
        "no_model",
        run(&[
            "trace",
            &path("nothing"),
            "--ids",
            &expected,
            "--hooks",
            "logits",
            "--out",
            &out
        ])
    );
    // Where the program has that backend, it has another error.
    #[cfg(not(feature = "cuda"))]
    insta::assert_snapshot!(
        "no_backend",
        run(&[
            "--device",
            "cuda",
            "trace",
            &path("m"),
            "--ids",
            &expected,
            "--hooks",
            "logits",
            "--out",
            &out
        ])
    );

    std::fs::create_dir(folder.path().join("model")).unwrap();
    std::fs::copy(micro.join("config.json"), folder.path().join("model/config.json")).unwrap();
    let weights = std::fs::read(micro.join("model.safetensors")).unwrap();
    write("model/model.safetensors", &weights[..weights.len() / 2]);
    insta::assert_snapshot!(
        "truncated_weights",
        run(&[
            "trace",
            &path("model"),
            "--ids",
            &expected,
            "--hooks",
            "logits",
            "--out",
            &out
        ])
    );
    write("model/model.safetensors", &weights);
    insta::assert_snapshot!(
        "no_such_hook",
        run(&[
            "trace",
            &path("model"),
            "--ids",
            &expected,
            "--hooks",
            "blocks.7.hook_resid_pre",
            "--out",
            &out
        ])
    );

    insta::assert_snapshot!(
        "no_hook",
        run(&[
            "trace",
            &path("model"),
            "--ids",
            &expected,
            "--hooks",
            "logits,blocks.0.hook_nothing",
            "--out",
            &out
        ])
    );

    write("fit.toml", b"metods = [\"mean\"]\n");
    insta::assert_snapshot!(
        "unknown_key",
        run(&[
            "fit",
            &path("fit.toml"),
            "--run",
            &path("run"),
            "--sites",
            &path("sites.toml")
        ])
    );
    write("train.toml", b"steps = 0\nautoencoder = []\n");
    insta::assert_snapshot!(
        "wrong_value",
        run(&[
            "train",
            &path("train.toml"),
            "--run",
            &path("run"),
            "--sites",
            &path("sites.toml")
        ])
    );
    write("fit.toml", b"");
    write("none.toml", b"sites = []\n");
    let sites = root()
        .join("configs/sites/small-world.toml")
        .to_string_lossy()
        .into_owned();
    insta::assert_snapshot!(
        "no_sites",
        run(&[
            "fit",
            &path("fit.toml"),
            "--run",
            &path("run"),
            "--sites",
            &path("none.toml")
        ])
    );
    insta::assert_snapshot!(
        "no_activations",
        run(&["fit", &path("fit.toml"), "--run", &path("run"), "--sites", &sites])
    );
    insta::assert_snapshot!(
        "full_disk",
        run(&[
            "trace",
            &path("model"),
            "--ids",
            &expected,
            "--hooks",
            "logits",
            "--out",
            "/proc/out"
        ])
    );
}

#[test]
fn encode_refuses_vectors_of_another_width_or_that_are_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors").to_string_lossy().into_owned();
    let sae = root().join("dictionaries/tests/fixtures/saelens/saelens-topk");
    let sae = sae.to_string_lossy().into_owned();
    let expected = format!("{sae}/expected.safetensors");
    let run = |input: &str| {
        transcript(
            &saelab(&["encode", &sae, "--input", input, "--out", &out]),
            folder.path(),
        )
    };
    assert!(run(&expected).starts_with("exit 0\n"));
    let weights = format!("{sae}/sae_weights.safetensors");
    let refused = run(&weights);
    assert!(
        refused.starts_with("exit 1\n") && refused.contains("expected a tensor `x` of shape [n, 48]"),
        "{refused}"
    );
    for (value, reason) in [
        (f32::NAN, "row 1 of `x` holds a number that is not finite"),
        (f32::MAX, "row 1 of `x` is too large"),
    ] {
        let mut x = artifacts::HostTensor::new([2, 48], vec![0.5; 96]);
        x.data[48..].fill(value);
        let input = folder.path().join("input.safetensors");
        let tensors = std::collections::BTreeMap::from([("x".to_owned(), x)]);
        artifacts::write_tensors(&input, &tensors, &std::collections::BTreeMap::new()).unwrap();
        std::fs::remove_file(&out).ok();
        let refused = run(&input.to_string_lossy());
        assert!(refused.starts_with("exit 1\n") && refused.contains(reason), "{refused}");
        assert!(!Path::new(&out).exists());
    }
}

#[test]
fn bench_prints_one_json_line_for_each_size() {
    let size = ["--d-in", "8", "--d-sae", "16,32", "--batch", "32", "--steps", "2"];
    for (arch, k) in [
        ("topk", "2"),
        ("matryoshka", "3"),
        ("relu", "2"),
        ("jumprelu", "2"),
        ("gated", "2"),
    ] {
        let output = saelab(&[&["bench", "train", "--arch", arch, "--k", k], &size[..]].concat());
        assert!(output.status.success(), "{arch}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), &lines[1]["d_sae"]), (2, &serde_json::json!(32)));
        assert!(lines.iter().all(|line| line["tokens_per_s"].as_f64().unwrap() > 0.0));
    }
    let refused = saelab(&["bench", "train", "--arch", "vanilla"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn trace_writes_what_transformer_lens_computes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let expected = root().join("lm/tests/fixtures/gpt2-micro/expected.safetensors");
    let hooks = "blocks.1.hook_resid_mid,blocks.2.attn.hook_pattern,logits";
    let output = saelab(&[
        "trace",
        "lm/tests/fixtures/gpt2-micro",
        "--ids",
        &expected.to_string_lossy(),
        "--hooks",
        hooks,
        "--out",
        &out.to_string_lossy(),
    ]);
    assert!(output.status.success(), "{}", transcript(&output, folder.path()));
    let (found, expected) = (
        artifacts::read_tensors(&out).unwrap(),
        artifacts::read_tensors(&expected).unwrap(),
    );
    assert_eq!(found.len(), 3);
    for (name, tensor) in found {
        assert_eq!(tensor.shape, expected[&name].shape, "{name}");
        let largest = tensor
            .data
            .iter()
            .zip(&expected[&name].data)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(largest < 1e-4, "{name}: {largest}");
    }
}

#[test]
fn pipeline_gives_the_same_report_in_two_folders() {
    let folder = tempfile::tempdir().unwrap();
    let sites = "configs/sites/small-world.toml";
    let reports: Vec<Vec<u8>> = ["first", "second"]
        .map(|name| {
            let run = folder.path().join(name).to_string_lossy().into_owned();
            let store = format!("{run}/activations");
            for arguments in [
                vec![
                    "harvest",
                    "configs/ioi/harvest.toml",
                    "--set",
                    "source.n=600",
                    "--out",
                    &store,
                ],
                vec!["fit", "configs/ioi/fit.toml", "--run", &run, "--sites", sites],
                vec![
                    "train",
                    "configs/ioi/train.toml",
                    "--set",
                    "steps=20",
                    "--set",
                    "batch=256",
                    "--run",
                    &run,
                    "--sites",
                    sites,
                ],
                vec![
                    "eval",
                    "configs/eval/ioi-quick.toml",
                    "--set",
                    "prompts=40",
                    "--set",
                    "interpretability_prompts=200",
                    "--set",
                    "resamples=50",
                    "--model",
                    "models/small-world",
                    "--run",
                    &run,
                    "--sites",
                    sites,
                ],
            ] {
                let output = saelab(&arguments);
                assert!(
                    output.status.success(),
                    "{arguments:?}: {}",
                    transcript(&output, folder.path())
                );
            }
            std::fs::read(folder.path().join(name).join("report.json")).unwrap()
        })
        .into();
    assert!(reports[0] == reports[1], "report.json differs between two runs");
    let report: serde_json::Value = serde_json::from_slice(&reports[0]).unwrap();
    let dictionaries: std::collections::BTreeSet<&str> = report["scores"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|score| score["dictionary"].as_str())
        .collect();
    for name in [
        "none",
        "random-draw0",
        "sae-relu-seed0",
        "sae-topk-seed2",
        "supervised-lstsq",
        "supervised-mean",
    ] {
        assert!(dictionaries.contains(name), "{name} is not in {dictionaries:?}");
    }

    // Dictionaries of one model must not be scored on another.
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        std::fs::copy(root().join("models/small-world").join(name), other.join(name)).unwrap();
    }
    let mut weights = std::fs::read(root().join("models/small-world/model.safetensors")).unwrap();
    let last = weights.len() - 4;
    weights[last] ^= 1;
    std::fs::write(other.join("model.safetensors"), weights).unwrap();
    let run = folder.path().join("first").to_string_lossy().into_owned();
    let other = other.to_string_lossy().into_owned();
    let output = saelab(&[
        "eval",
        "configs/eval/ioi-quick.toml",
        "--model",
        &other,
        "--run",
        &run,
        "--sites",
        sites,
    ]);
    let transcript = transcript(&output, folder.path());
    assert!(
        transcript.starts_with("exit 1") && transcript.contains("another model"),
        "{transcript}"
    );
}

#[test]
fn convert_goes_through_every_layout_and_inspect_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let input = root()
        .join("dictionaries/tests/fixtures/interchange/dl-topk")
        .to_string_lossy()
        .into_owned();
    let mut from = input;
    for to in ["sparsify", "saelens", "dictionary-learning", "saelab"] {
        let output = saelab(&["convert", &from, "--to", to, &path(to)]);
        assert!(output.status.success(), "{}", transcript(&output, folder.path()));
        from = path(to);
    }
    let output = saelab(&["inspect", &from]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["format"].as_str(), report["k"].as_u64()),
        (Some("saelab"), Some(6))
    );
    assert_eq!(
        (report["d_in"].as_u64(), report["n_latents"].as_u64()),
        (Some(16), Some(48))
    );
    assert!(
        report["imported_from"]
            .as_str()
            .unwrap()
            .ends_with("dictionary-learning")
    );

    let jumprelu = root().join("dictionaries/tests/fixtures/interchange/dl-jumprelu");
    let refused = saelab(&["convert", &jumprelu.to_string_lossy(), "--to", "sparsify", &path("no")]);
    let nothing = saelab(&["inspect", &path("nowhere")]);
    let unknown = saelab(&["convert", &from, "--to", "torch", &path("no")]);
    assert_eq!(
        [&refused, &nothing, &unknown].map(|output| output.status.code()),
        [Some(1), Some(1), Some(2)]
    );
    insta::assert_snapshot!("convert_refuses", transcript(&refused, folder.path()));
    insta::assert_snapshot!("inspect_finds_nothing", transcript(&nothing, folder.path()));
}
