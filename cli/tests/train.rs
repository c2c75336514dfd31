//! `saelab train`: what it holds out, leaves out and reports, and that it replaces nobody's work.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{saelab, succeeds};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const HOOK: &str = "blocks.2.hook_resid_pre";

const TRAIN: &str = r#"
steps = 40
batch = 128
expansion = 2
learning_rate = 3e-3
checkpoint_every = 10

[[autoencoder]]
architecture = "topk"
k = 8
"#;

/// A folder with `train.toml` and a store of running text, special tokens marked.
struct Experiment {
    folder: tempfile::TempDir,
}

impl Experiment {
    fn new(changes: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.toml"), TRAIN).unwrap();
        let this = Self { folder };
        let (store, hooks) = (
            this.path("store"),
            format!("hooks=[\"{HOOK}\", \"blocks.2.hook_mlp_out\"]"),
        );
        let mut harvest = vec!["harvest", "configs/quality/harvest-text.toml", "--out", &store];
        let defaults = [
            "source.documents=60",
            "special_tokens=mark",
            "rows_per_shard=700",
            "shuffle_window=1400",
        ];
        for change in defaults.iter().chain(changes).chain([&hooks.as_str()]) {
            harvest.extend(["--set", change]);
        }
        succeeds(saelab(&harvest).output().unwrap());
        this
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn train(&self, run: &str, more: &[&str]) -> std::process::Command {
        let (config, run, store) = (self.path("train.toml"), self.path(run), self.path("store"));
        saelab(&[&["train", &config, "--run", &run, "--activations", &store], more].concat())
    }

    /// What `train` says when it refuses.
    fn refused(&self, run: &str, more: &[&str]) -> (i32, String) {
        let output = self.train(run, more).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{text}");
        (output.status.code().unwrap(), text.lines().last().unwrap().to_owned())
    }

    fn sae(&self, run: &str, name: &str) -> PathBuf {
        self.folder.path().join(run).join("sae").join(name).join(HOOK)
    }

    /// The bytes of the autoencoder's parameters.
    fn weights(&self, run: &str, name: &str) -> Vec<u8> {
        std::fs::read(self.sae(run, name).join("sae_weights.safetensors")).unwrap()
    }

    fn summary(&self, run: &str, name: &str) -> serde_json::Value {
        let text = std::fs::read(self.sae(run, name).join("config.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&text).unwrap()["origin"]["summary"].clone()
    }
}

/// Every file below a folder, and its bytes.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(contents(&path)),
            false => all.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    all.sort();
    all
}

#[test]
fn memory_and_stream_see_the_same_batches_and_leave_out_what_is_special() {
    let marked = Experiment::new(&[]);
    let excluded = Experiment::new(&["special_tokens=exclude"]);
    for held_out in ["held_out=0.1", "held_out=0.5", "held_out=0"] {
        let run = held_out.replace('=', "-");
        let mut all = Vec::new();
        for (experiment, name, stream) in [
            (&marked, "memory", &[][..]),
            (&marked, "stream", &["--stream"]),
            (&excluded, "memory", &[]),
        ] {
            let run = format!("{run}-{name}");
            let text = succeeds(
                experiment
                    .train(&run, &[&["--set", held_out], stream].concat())
                    .output()
                    .unwrap(),
            );
            assert_eq!(
                text.contains("marked as special are left out"),
                std::ptr::eq(experiment, &marked),
                "{text}"
            );
            assert_eq!(
                text.contains("rows that were trained on"),
                held_out == "held_out=0",
                "{text}"
            );
            all.push(experiment.summary(&run, "sae-topk"));
        }
        // Trained with rows in the same order, and in that of another store; measured on the same rows.
        let [memory, stream] = ["memory", "stream"].map(|name| marked.weights(&format!("{run}-{name}"), "sae-topk"));
        assert!(memory == stream, "{held_out}");
        for key in ["rows", "all_rows", "held_out"] {
            assert!(all.iter().all(|summary| summary[key] == all[0][key]), "{key}: {all:?}");
        }
        assert_eq!(all[0]["held_out"], held_out != "held_out=0");
        let (fvu, dead) = (
            |i: usize| all[i]["fvu"].as_f64().unwrap(),
            |i: usize| all[i]["dead"].as_f64().unwrap(),
        );
        for i in [1, 2] {
            assert!(
                (fvu(0) - fvu(i)).abs() < 0.1 * fvu(0) && (dead(0) - dead(i)).abs() < if i == 1 { 1e-9 } else { 0.1 },
                "{all:?}"
            );
        }
    }
    // A transcoder's pairs are those of the same rows.
    let target = r#"autoencoder=[{architecture="topk",k=8,target="blocks.2.hook_mlp_out"}]"#;
    for (run, stream) in [("pairs", &[][..]), ("pairs-stream", &["--stream"])] {
        succeeds(
            marked
                .train(run, &[&["--set", target, "--set", "steps=300"], stream].concat())
                .output()
                .unwrap(),
        );
        let summary = marked.summary(run, "transcoder-topk");
        assert!(summary["fvu"].as_f64().unwrap() < 0.8, "{summary}");
    }
    let [memory, stream] = ["pairs", "pairs-stream"].map(|run| marked.weights(run, "transcoder-topk"));
    assert!(memory == stream);
}

/// The number before ` MB of memory` in the line that has `part`, the largest if several have.
fn megabytes(text: &str, part: &str) -> f64 {
    let lines = text.lines().filter(|line| line.contains(part));
    let numbers = lines.map(|line| {
        let (before, _) = line.split_once(" MB of memory").unwrap();
        before.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    });
    numbers.reduce(f64::max).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn the_memory_that_is_said_is_about_what_is_taken() {
    let experiment = Experiment::new(&["source.documents=3000", "rows_per_shard=16384", "shuffle_window=16384"]);
    for (run, more) in [
        ("memory", &[][..]),
        ("stream", &["--stream"]),
        ("wide", &["--set", "expansion=16"]),
    ] {
        let text = succeeds(experiment.train(run, more).output().unwrap());
        let (said, took) = (megabytes(&text, "train: about"), megabytes(&text, "train: took"));
        let ratio = said / took;
        assert!(
            (1.0 / 1.5..1.5).contains(&ratio),
            "{run}: {said} MB said, {took} MB taken"
        );
    }
}

#[test]
fn the_folder_of_an_autoencoder_tells_how_it_was_trained() {
    let experiment = Experiment::new(&[]);
    succeeds(experiment.train("run", &[]).output().unwrap());
    let json = |path: &Path| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let dir = experiment.sae("run", "sae-topk");
    let (made, cfg) = (json(&dir.join("made.json")), json(&dir.join("cfg.json")));
    let of_store = json(Path::new(&experiment.path("store/made.json")));
    assert_eq!(
        (&made["command"], &of_store["command"]),
        (&"train".into(), &"harvest".into())
    );
    assert_eq!(made["settings"]["train"]["steps"], 40);
    assert_eq!(made["settings"]["train"]["autoencoder"]["architecture"]["k"], 8);
    assert_eq!(made["settings"]["harvest"]["source"]["kind"], "world");
    assert_eq!(
        (&made["model"], &made["model"]["asked"]),
        (&of_store["model"], &"models/small-world".into())
    );
    assert_eq!(made["parents"]["activations"].as_str().unwrap().len(), 64);
    let program = &made["program"];
    assert!(
        program == &of_store["program"] && program["sources"].as_str().unwrap().len() == 64,
        "{program}"
    );
    // What SAELens reads of it; the shipped model has no name on the hub.
    let harvest = &made["settings"]["harvest"];
    let metadata = &cfg["metadata"];
    assert_eq!(metadata["hook_name"], HOOK);
    assert_eq!(metadata["context_size"], harvest["source"]["context"]);
    assert_eq!(metadata["prepend_bos"], true);
    assert_eq!(metadata["model_from_pretrained_kwargs"]["fold_ln"], false);
    assert!(metadata.get("model_name").is_none());
}

#[test]
fn what_was_made_otherwise_stays_until_it_is_to_be_replaced() {
    let experiment = Experiment::new(&[]);
    succeeds(experiment.train("run", &[]).output().unwrap());
    let dir = experiment.sae("run", "sae-topk");
    let before = contents(&dir);
    // The same again is nothing to do.
    succeeds(experiment.train("run", &[]).output().unwrap());
    assert!(contents(&dir) == before);
    for (change, difference) in [
        ("steps=41", "steps: 40 -> 41"),
        (
            "autoencoder=[{architecture=\"topk\",k=9}]",
            "autoencoder.architecture.k: 8 -> 9",
        ),
        ("held_out=0.2", "held_out: 0.1 -> 0.2"),
    ] {
        let (code, error) = experiment.refused("run", &["--set", change]);
        for part in [difference, "--replace", HOOK] {
            assert!(error.contains(part) && code == 1, "{code} {error}");
        }
    }
    let (_, error) = experiment.refused("run", &["--stream"]);
    assert!(error.contains("stream: null -> true"), "{error}");
    assert!(contents(&dir) == before);
    succeeds(
        experiment
            .train("run", &["--set", "steps=41", "--replace"])
            .output()
            .unwrap(),
    );
    assert!(contents(&dir) != before);
    // Nothing of either is left beside it and that of the other hook.
    assert_eq!(std::fs::read_dir(dir.parent().unwrap()).unwrap().count(), 2);
    assert_eq!(
        std::fs::read_dir(experiment.path("run/checkpoints")).unwrap().count(),
        0
    );

    for library in ["saelens", "dictionary-learning", "sparsify", "saelab"] {
        let (from, to) = (dir.to_string_lossy().into_owned(), experiment.sae(library, "sae-topk"));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let to_text = to.to_string_lossy().into_owned();
        // Only SAELens's layout holds what is converted to ours as imported.
        let from = match library {
            "saelab" => experiment.sae("saelens", "sae-topk").to_string_lossy().into_owned(),
            _ => from,
        };
        let converted = saelab(&["convert", &from, "--to", library, &to_text]).output().unwrap();
        succeeds(converted);
        let before = contents(&to);
        let (code, error) = experiment.refused(library, &[]);
        assert!(code == 1 && error.contains("--replace"), "{error}");
        assert!(contents(&to) == before, "{library}");
    }
    succeeds(
        experiment
            .train("dictionary-learning", &["--replace"])
            .output()
            .unwrap(),
    );
    let found = contents(&experiment.sae("dictionary-learning", "sae-topk"));
    assert!(!found.iter().any(|(path, _)| path.ends_with("ae.pt")));
}

#[test]
fn two_processes_that_train_the_same_take_turns() {
    let experiment = Experiment::new(&[]);
    succeeds(experiment.train("alone", &[]).output().unwrap());
    let start = |steps: &'static str| {
        let mut command = experiment.train("together", &["--set", steps]);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let (first, second) = (start("steps=40"), start("steps=40"));
    for child in [first, second] {
        succeeds(child.wait_with_output().unwrap());
    }
    let of = |run: &str| {
        let dir = experiment.sae(run, "sae-topk");
        let metrics = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
        (
            std::fs::read(dir.join("sae_weights.safetensors")).unwrap(),
            metrics.lines().count(),
        )
    };
    assert!(of("alone") == of("together"));
    assert_eq!(
        std::fs::read_dir(experiment.path("together/checkpoints"))
            .unwrap()
            .count(),
        0
    );
    assert_eq!(
        std::fs::read_dir(experiment.path("together/sae/sae-topk"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn figures_per_token_stand_beside_the_headline_and_ordinary_rows_need_no_note() {
    let experiment = Experiment::new(&[]);
    let text = succeeds(experiment.train("run", &[]).output().unwrap());
    assert!(
        !text.contains("ten times as long") && text.contains("per token"),
        "{text}"
    );
    let summary = experiment.summary("run", "sae-topk");
    assert!(summary["long_rows"] == 0 && summary["dominant"].is_null(), "{summary}");
}

#[test]
fn what_the_store_cannot_give_is_a_fault_of_the_config() {
    let experiment = Experiment::new(&[]);
    for (change, part) in [
        (
            "autoencoder=[{architecture=\"jumprelu\",l0=100000}]",
            "`l0` is 100000, more than the 256 latents",
        ),
        ("autoencoder=[{architecture=\"topk\",k=257}]", "`k` is 257"),
        ("batch=1000000", "`batch` is 1000000"),
        ("expansion=1000000000", "`expansion`"),
        ("part=[3, 3]", "`part`"),
    ] {
        for stream in [&[][..], &["--stream"]] {
            let (code, error) = experiment.refused("run", &[&["--set", change], stream].concat());
            assert!(error.contains(part), "{error}");
            assert_eq!(code, 2, "{error}");
        }
    }
    assert!(!Path::new(&experiment.path("run/sae")).exists());
}
