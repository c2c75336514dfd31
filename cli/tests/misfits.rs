//! What does not belong together, and what no machine could serve, is refused in one line that names it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{saelab, succeeds};
use std::path::Path;
use std::process::{Command, Output};

const SITES: &str = "configs/sites/small-world.toml";

/// The one line of an error, the cost of what was begun apart.
fn refused(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    let line = text.lines().last().unwrap();
    assert!(
        line.starts_with("error: ") && !text.contains("backtrace") && !text.contains("panicked"),
        "{text}"
    );
    line.to_owned()
}

/// The shipped model, one file of it changed.
fn changed_model(dir: &Path, name: &str, change: impl Fn(&str) -> String) -> String {
    std::fs::create_dir(dir).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(Path::new("../models/small-world").join(file), dir.join(file)).unwrap();
    }
    let text = std::fs::read_to_string(dir.join(name)).unwrap();
    let changed = change(&text);
    assert!(changed != text, "{name} has changed its form");
    std::fs::write(dir.join(name), changed).unwrap();
    dir.to_string_lossy().into_owned()
}

#[test]
fn what_an_evaluation_takes_must_belong_together() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let name = run.to_string_lossy().into_owned();
    let store = format!("{name}/activations");
    let sites = format!("sites={SITES}");
    let harvest = [
        "harvest",
        "configs/ioi/harvest.toml",
        "--set",
        "source.n=200",
        "--set",
        &sites,
    ];
    succeeds(saelab(&[&harvest[..], &["--out", &store]].concat()).output().unwrap());
    succeeds(
        saelab(&["fit", "configs/ioi/fit.toml", "--run", &name, "--sites", SITES])
            .output()
            .unwrap(),
    );
    let eval = |model: &str| {
        let mut command = saelab(&["eval", "configs/eval/ioi-quick.toml"]);
        for set in [
            "compare=[]",
            "baselines=[]",
            "prompts=40",
            "interpretability_prompts=100",
            "resamples=20",
        ] {
            command.args(["--set", set]);
        }
        command.args(["--model", model, "--run", &name, "--sites", SITES]);
        command.output().unwrap()
    };

    // Two words that exchange their ids: the tokens fit, and say something else.
    let tokenizer = changed_model(&folder.path().join("tokenizer"), "tokenizer.json", |text| {
        let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let (a, b) = (vocab["ĠJohn"].clone(), vocab["ĠMary"].clone());
        vocab.insert("ĠJohn".to_owned(), b);
        vocab.insert("ĠMary".to_owned(), a);
        json.to_string()
    });
    let error = refused(&eval(&tokenizer), 1);
    assert!(
        error.contains("another tokenizer") && error.contains("saelab harvest"),
        "{error}"
    );
    let begins = changed_model(&folder.path().join("begins"), "config.json", |text| {
        text.replace("\"bos_token_id\": 0", "\"bos_token_id\": 7")
            .replace("\"eos_token_id\": 0", "\"eos_token_id\": 7")
    });
    let error = refused(&eval(&begins), 1);
    assert!(
        error.contains("`bos_token_id` and `eos_token_id` of config.json"),
        "{error}"
    );

    // A dictionary in the folder of another node is named and left out, as is a folder that stands for no place; the rest is scored.
    let nodes: Vec<_> = std::fs::read_dir(run.join("supervised/supervised-mean"))
        .unwrap()
        .map(|node| node.unwrap().path())
        .filter(|node| node.to_string_lossy().contains("resid"))
        .collect();
    for file in ["dictionary.safetensors", "config.json"] {
        std::fs::copy(nodes[0].join(file), nodes[1].join(file)).unwrap();
    }
    std::fs::create_dir_all(run.join("sae/theirs/layer two")).unwrap();
    let told = succeeds(eval("models/small-world"));
    assert!(
        told.contains("eval: left out: ") && told.contains("holds a dictionary of blocks."),
        "{told}"
    );
    assert!(told.contains("layer two has the name of no hook"), "{told}");
    let last = told.lines().last().unwrap();
    assert!(last.contains("the results lack 2 folders"), "{told}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("report.json")).unwrap()).unwrap();
    let facts = report["dictionaries"].as_array().unwrap();
    let folders = |name: &str| -> usize {
        let of = facts.iter().find(|facts| facts["name"] == name).unwrap();
        of["folders"].as_object().unwrap().len()
    };
    assert_eq!(folders("supervised-mean") + 1, folders("supervised-lstsq"));
}

#[test]
fn counts_that_no_machine_could_serve_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store");
    let harvest = |n: &str| {
        let limited = format!(
            "ulimit -v 4000000 && exec '{}' harvest configs/ioi/harvest.toml --set source.n={n} --out '{}'",
            env!("CARGO_BIN_EXE_saelab"),
            out.display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &limited]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        command.output().unwrap()
    };
    let error = refused(&harvest("100000000000"), 2);
    assert!(error.contains("`source.n` is 100000000000"), "{error}");
    let error = refused(&harvest("1000000000"), 1);
    assert!(error.contains("no memory"), "{error}");
    assert!(!out.exists());
}

#[test]
fn a_pretraining_that_cannot_work_leaves_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let pretrain = |out: &Path, set: &[&str]| {
        let sizes = [
            "n_layer=1",
            "n_head=1",
            "d_model=16",
            "batch=2",
            "steps=1",
            "warmup_steps=0",
        ];
        let pairs = ["interchange.layer=0", "interchange.clue_layer=0", "interchange.pairs=2"];
        let sets = sizes.iter().chain(&pairs).chain(set).flat_map(|set| ["--set", *set]);
        let mut command = saelab(&["pretrain", "configs/pretrain/small-world.toml", "--out"]);
        command.arg(out).args(sets).output().unwrap()
    };
    let short = folder.path().join("short");
    // Prompts have 19 or 20 tokens, and those of the first step depend on the seed.
    for (context, seed) in [(1, 0), (19, 0), (19, 1), (19, 2)] {
        let set = [format!("context={context}"), format!("seed={seed}")];
        let error = refused(&pretrain(&short, &set.each_ref().map(String::as_str)), 2);
        assert!(
            error.contains(&format!("`context` is {context}, but")) && !short.exists(),
            "{error}"
        );
    }
    let large = folder.path().join("large");
    let error = refused(&pretrain(&large, &["learning_rate=1e300"]), 1);
    assert!(error.contains("not finite after step 0"), "{error}");
    assert!(!large.join("model.safetensors").exists());
}
