//! Autoencoders of other libraries in a run: scored where they belong, and nowhere else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use artifacts::HostTensor;
use common::{saelab, succeeds};

const D: usize = 128;
const F: usize = 16;
const TEXT: &str = "[source]\nkind = \"world\"\ndocuments = 20\nseed = 7\ncontext = 32\n";

/// A SAELens folder under `place` that says it is of `hook`.
fn saelens(run: &Path, place: &str, hook: &str) {
    let dir = run.join("sae/theirs").join(place);
    let tensor = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        HostTensor::new(shape, (0..n).map(|i| ((i * 29 % 13) as f32 - 6.0) / 60.0).collect())
    };
    let shapes: [(&str, &[usize]); 4] = [("W_enc", &[D, F]), ("b_enc", &[F]), ("W_dec", &[F, D]), ("b_dec", &[D])];
    let tensors = shapes.map(|(name, shape)| (name.to_owned(), tensor(shape))).into();
    artifacts::write_tensors(&dir.join("sae_weights.safetensors"), &tensors, &BTreeMap::new()).unwrap();
    let config = serde_json::json!({
        "architecture": "topk", "k": 4, "d_in": D, "d_sae": F, "dtype": "float32", "apply_b_dec_to_input": true,
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": hook},
    });
    std::fs::write(dir.join("cfg.json"), config.to_string()).unwrap();
}

#[test]
fn an_autoencoder_in_the_folder_of_another_hook_is_not_scored() {
    let folder = tempfile::tempdir().unwrap();
    let (run, config) = (folder.path().join("run"), folder.path().join("text.toml"));
    std::fs::write(&config, TEXT).unwrap();
    let (run_name, config) = (
        run.to_string_lossy().into_owned(),
        config.to_string_lossy().into_owned(),
    );
    let score = |command: &str| {
        let arguments = [command, &config, "--model", "models/small-world", "--run", &run_name];
        saelab(&arguments).output().unwrap()
    };
    saelens(&run, "blocks.2.hook_resid_pre", "blocks.1.hook_mlp_out");
    for command in ["splice", "truth"] {
        let output = score(command);
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{line}");
        assert!(
            line.contains("stands for blocks.2.hook_resid_pre, but says that it is of blocks.1.hook_mlp_out"),
            "{command}: {line}"
        );
        assert!(
            line.lines()
                .last()
                .unwrap()
                .starts_with("error: nothing is left to measure"),
            "{line}"
        );
    }
    assert!(!run.join("splice.json").exists() && !run.join("truth.json").exists());
    // Two names of the residual stream between two blocks, and a name that says nothing certain.
    for hook in ["blocks.1.hook_resid_post", "the second layer"] {
        saelens(&run, "blocks.2.hook_resid_pre", hook);
        succeeds(score("splice"));
    }
    // Beside one that belongs there, the other is named and left out.
    saelens(&run, "blocks.1.hook_resid_pre", "blocks.3.hook_resid_pre");
    for command in ["splice", "truth"] {
        let told = succeeds(score(command));
        assert!(told.contains(&format!("{command}: left out: ")), "{told}");
        assert!(
            told.lines()
                .last()
                .unwrap()
                .contains("blocks.1.hook_resid_pre stands for"),
            "{told}"
        );
    }
    let spliced: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("splice.json")).unwrap()).unwrap();
    assert_eq!(spliced.as_array().unwrap().len(), 1);
}
