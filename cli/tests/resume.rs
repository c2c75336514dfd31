//! `saelab train` and `saelab pretrain` killed at any moment and resumed end with the bytes of a run that was never killed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{saelab, succeeds};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

const SITES: &str = "configs/sites/small-world.toml";

const TRAIN: &str = r#"
steps = 150
batch = 64
expansion = 2
dead_after = 2000
checkpoint_every = 9

[[autoencoder]]
architecture = "topk"
k = [3, 5]

[[autoencoder]]
architecture = "p-anneal"
l1 = 1.0

[[autoencoder]]
architecture = "relu"
l1 = 1.0
"#;

fn weights(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for name in std::fs::read_dir(run.join("sae")).unwrap() {
        for node in std::fs::read_dir(name.unwrap().path()).unwrap() {
            let path = node.unwrap().path().join("sae_weights.safetensors");
            found.push((path.strip_prefix(run).unwrap().to_owned(), std::fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn killed_twenty_times_and_resumed_gives_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("train.toml"), TRAIN).unwrap();
    let store = path("whole/activations");
    let harvest = [
        "harvest",
        "configs/ioi/harvest.toml",
        "--set",
        "source.n=500",
        "--out",
        &store,
    ];
    succeeds(saelab(&harvest).output().unwrap());
    std::fs::create_dir(path("killed")).unwrap();
    std::fs::create_dir(path("killed/activations")).unwrap();
    copy(Path::new(&store), Path::new(&path("killed/activations")));

    let config = path("train.toml");
    let train = |run: &str| saelab(&["train", &config, "--sites", SITES, "--run", run, "--resume"]);
    let start = Instant::now();
    succeeds(train(&path("whole")).output().unwrap());
    let mut whole = start.elapsed();

    // Moments spread over the run by the golden ratio; each process gets a tenth of the whole time at most, so that the
    // kills reach every part of it.
    let mut killed = 0;
    for i in 0..20 {
        let share = (f64::from(i) * 0.618_033_988_75).fract();
        let mut child = train(&path("killed"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60) + whole.mul_f64(share / 10.0));
        let ended = child.try_wait().unwrap();
        killed += i32::from(ended.is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        // On a machine that is less busy than it was, a run ends before its turn; then it is right, and the next one begins anew.
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            let [expected, found] = ["whole", "killed"].map(|run| weights(&folder.path().join(run)));
            assert!(expected == found, "weights differ after {killed} kills");
            whole = whole.mul_f64(0.5);
            std::fs::remove_dir_all(path("killed/sae")).unwrap();
        }
    }
    assert!(
        killed >= 15,
        "{killed} of 20 processes were still running when they were killed"
    );
    succeeds(train(&path("killed")).output().unwrap());
    let (expected, found) = (
        weights(&folder.path().join("whole")),
        weights(&folder.path().join("killed")),
    );
    let nodes = std::fs::read_dir(path("whole/sae/sae-relu")).unwrap().count();
    assert!(nodes > 1);
    assert_eq!(expected.len(), 4 * nodes, "four autoencoders at every node");
    assert!(expected == found, "weights differ after {killed} kills");
    assert_eq!(std::fs::read_dir(path("killed/checkpoints")).unwrap().count(), 0);

    // What is finished is not trained again.
    let written = || {
        let file = path("killed/sae/sae-relu");
        let nodes = std::fs::read_dir(file).unwrap().map(|node| node.unwrap().path());
        let times = nodes.map(|node| {
            node.join("sae_weights.safetensors")
                .metadata()
                .unwrap()
                .modified()
                .unwrap()
        });
        times.collect::<Vec<_>>()
    };
    let before = written();
    succeeds(train(&path("killed")).output().unwrap());
    assert_eq!(written(), before);
}

#[test]
fn a_streamed_training_that_is_killed_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("train.toml"), TRAIN).unwrap();
    let store = path("text");
    let harvest = "harvest configs/quality/harvest-text.toml --set source.documents=200 --set rows_per_shard=1000 \
                   --set shuffle_window=3000 --set dtype=f16 --out";
    // Named here, since `make quality` may move to another node.
    let hook = ["--set", r#"hooks=["blocks.2.hook_resid_pre"]"#];
    let harvest: Vec<&str> = harvest.split_whitespace().chain([store.as_str()]).chain(hook).collect();
    succeeds(saelab(&harvest).output().unwrap());
    let config = path("train.toml");
    let train = |run: &str| {
        saelab(&[
            "train",
            &config,
            "--run",
            run,
            "--activations",
            &store,
            "--stream",
            "--resume",
        ])
    };
    let start = Instant::now();
    succeeds(train(&path("whole")).output().unwrap());
    let whole = start.elapsed();
    let mut killed = 0;
    for share in [0.3, 0.6, 0.5] {
        let mut child = train(&path("killed"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(share));
        killed += i32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 0);
    succeeds(train(&path("killed")).output().unwrap());
    let (expected, found) = (
        weights(&folder.path().join("whole")),
        weights(&folder.path().join("killed")),
    );
    assert_eq!(expected.len(), 4);
    assert!(expected == found);
    // It learned: most of the variance of what was held out is explained.
    let metrics = std::fs::read_to_string(path("whole/sae/sae-topk-k5/blocks.2.hook_resid_pre/metrics.jsonl")).unwrap();
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert!(last["fvu"].as_f64().unwrap() < 0.6, "{last}");
}

#[test]
fn a_checkpoint_of_another_config_is_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    std::fs::write(path("train.toml"), TRAIN).unwrap();
    let store = path("run/activations");
    let harvest = [
        "harvest",
        "configs/ioi/harvest.toml",
        "--set",
        "source.n=200",
        "--out",
        &store,
    ];
    succeeds(saelab(&harvest).output().unwrap());
    let (config, run) = (path("train.toml"), path("run"));
    let train = |set: &str| {
        saelab(&[
            "train", &config, "--sites", SITES, "--run", &run, "--resume", "--set", set,
        ])
    };
    let mut child = train("steps=1000000")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let checkpoints = Path::new(&run).join("checkpoints");
    let written = || {
        let nodes = checkpoints.read_dir().into_iter().flatten();
        nodes
            .flat_map(|node| node.unwrap().path().read_dir().unwrap())
            .any(|entry| {
                let name = entry.unwrap().file_name();
                name.to_string_lossy().starts_with("step-")
            })
    };
    wait_until(&mut child, written);
    child.kill().unwrap();
    child.wait().unwrap();
    let output = train("steps=999999").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let error = text.lines().last().unwrap();
    assert!(
        error.contains("steps: 1000000 -> 999999") && error.contains("--resume"),
        "{error}"
    );
}

/// Ctrl-C: the training ends by itself, behind a checkpoint that no schedule asked for.
#[cfg(unix)]
#[test]
fn an_interrupted_training_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let config = TRAIN.replace("checkpoint_every = 9", "checkpoint_every = 1000000");
    std::fs::write(path("train.toml"), config.replace("steps = 150", "steps = 600")).unwrap();
    let harvest = "[source]\nkind = \"world\"\ndocuments = 60\n";
    let hooks = "model = \"models/small-world\"\nhooks = [\"blocks.2.hook_resid_pre\"]\n";
    std::fs::write(path("harvest.toml"), format!("{hooks}{harvest}")).unwrap();
    let store = path("store");
    succeeds(
        saelab(&["harvest", &path("harvest.toml"), "--out", &store])
            .output()
            .unwrap(),
    );
    let config = path("train.toml");
    let train = |run: &str| saelab(&["train", &config, "--run", run, "--activations", &store, "--no-progress"]);
    succeeds(train(&path("whole")).output().unwrap());

    let mut child = train(&path("stopped"))
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = folder.path().join("stopped/sae/sae-relu");
    // A hidden folder with metrics is there while it trains.
    let metrics = || -> bool {
        let entries = std::fs::read_dir(&log).into_iter().flatten();
        let mut files = entries.map(|entry| entry.unwrap().path().join("metrics.jsonl"));
        files.any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 200))
    };
    wait_until(&mut child, metrics);
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(
        last.contains("the checkpoint of step") && last.contains("same command again"),
        "{said}"
    );
    let status = saelab(&["status", &path("stopped")]).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout);
    assert!(status.contains("a training that is not finished"), "{status}");
    let told = succeeds(train(&path("stopped")).output().unwrap());
    assert!(told.contains("resumes from its checkpoint of step"), "{told}");
    let [whole, stopped] = ["whole", "stopped"].map(|run| weights(&folder.path().join(run)));
    assert_eq!(whole.len(), 4);
    assert!(whole == stopped, "the weights differ");
    let told = succeeds(train(&path("stopped")).output().unwrap());
    assert!(told.contains("already trained with these settings"), "{told}");
}

/// What a training leaves of each autoencoder: the weights, and the rest without what differs by nature: the name of the activations,
/// times, and what made it.
fn left(run: &Path) -> Vec<(PathBuf, Vec<u8>, Vec<serde_json::Value>)> {
    let mut found = Vec::new();
    for (path, weights) in weights(run) {
        let dir = run.join(path.parent().unwrap());
        let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
        let mut texts = vec![read("cfg.json"), read("config.json")];
        texts.extend(read("metrics.jsonl").lines().map(str::to_owned));
        let mut values: Vec<serde_json::Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        for value in &mut values {
            // The last is over the name of the activations, too.
            for key in ["tokens_per_s", "waiting", "sha256"] {
                value.as_object_mut().unwrap().remove(key);
            }
            if let Some(origin) = value.get_mut("origin") {
                assert_eq!(origin["parent"].as_str().unwrap().len(), 64);
                origin["parent"].take();
            }
        }
        found.push((path, weights, values));
    }
    found
}

/// All files below a folder.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), PathBuf::from(entry.file_name())))
            .unwrap();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|(path, bytes)| (name.join(path), bytes))),
            false => found.push((name, std::fs::read(path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Bytes of all files below a folder.
fn bytes_below(dir: &Path) -> u64 {
    // A file may go while it is looked at.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Files below a folder, but those of checkpoints and of autoencoders, finished or in training.
fn others(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // A folder may go while it is looked at.
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_name().to_str() {
            Some("sae" | "checkpoints") => {}
            _ => found.push(entry.path()),
        }
    }
    found
}

/// The model beside the training, undisturbed, killed and interrupted: the bytes of the harvest and the training one after the other, and
/// nothing but checkpoints and autoencoders on disk at any time.
#[cfg(unix)]
#[test]
fn a_training_beside_its_harvest_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let batch_topk = "\n[[autoencoder]]\narchitecture = \"batch-topk\"\nk = 4\ntarget = \"blocks.2.hook_mlp_out\"\n";
    std::fs::write(path("train.toml"), format!("{TRAIN}{batch_topk}")).unwrap();
    // More shards than the sample has, which says mean and scale.
    let harvest = r#"
        model = "models/small-world"
        hooks = ["blocks.2.hook_resid_pre", "blocks.2.hook_mlp_out"]
        rows_per_shard = 2000
        shuffle_window = 2000
        dtype = "f16"
        special_tokens = "mark"
        source = { kind = "world", documents = 400 }
    "#;
    std::fs::write(path("harvest.toml"), harvest).unwrap();
    let (config, harvest, store) = (path("train.toml"), path("harvest.toml"), path("store"));
    succeeds(saelab(&["harvest", &harvest, "--out", &store]).output().unwrap());
    succeeds(
        saelab(&[
            "train",
            &config,
            "--run",
            &path("after"),
            "--activations",
            &store,
            "--stream",
        ])
        .output()
        .unwrap(),
    );
    let expected = left(&folder.path().join("after"));
    assert_eq!(expected.len(), 2 * 5);

    let train = |run: &str| {
        saelab(&[
            "train",
            &config,
            "--run",
            &path(run),
            "--harvest",
            &harvest,
            "--no-progress",
        ])
    };
    let start = Instant::now();
    let said = succeeds(train("beside").output().unwrap());
    let whole = start.elapsed();
    for part in ["times the text", "to find mean and scale", "no activations are stored"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(left(&folder.path().join("beside")) == expected);
    assert_eq!(others(&folder.path().join("beside")), [] as [PathBuf; 0]);

    // Of both sites.
    let disk = said
        .lines()
        .filter_map(|line| line.split_once(" MB of disk for")?.0.rsplit(' ').next());
    let disk: f64 = disk.map(|number| number.parse::<f64>().unwrap()).sum();
    let (mut stopped, mut peak) = (0, 0);
    for (share, signal) in [
        (0.2, "-KILL"),
        (0.35, "-INT"),
        (0.4, "-KILL"),
        (0.3, "-KILL"),
        (0.25, "-INT"),
    ] {
        let mut child = train("stopped").stderr(std::process::Stdio::null()).spawn().unwrap();
        let start = Instant::now();
        while start.elapsed() < whole.mul_f64(share) && child.try_wait().unwrap().is_none() {
            assert_eq!(others(&folder.path().join("stopped")), [] as [PathBuf; 0]);
            peak = peak.max(bytes_below(&folder.path().join("stopped")));
            std::thread::sleep(Duration::from_millis(5));
        }
        stopped += i32::from(child.try_wait().unwrap().is_none());
        let _ = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        child.wait().unwrap();
    }
    assert!(stopped > 1, "{stopped} of 5 processes were stopped");
    // Both are rounded to whole MB before.
    let peak = peak as f64 / 1e6;
    assert!(
        disk > 1.0 && peak > 0.0 && peak < disk + 1.0,
        "{peak} MB on disk, {disk} MB said"
    );
    succeeds(train("stopped").output().unwrap());
    assert!(left(&folder.path().join("stopped")) == expected);

    // Kept, it is the store of the harvest.
    let kept = path("kept");
    succeeds(
        saelab(&["train", &config, "--run", &kept, "--harvest", &harvest, "--keep"])
            .output()
            .unwrap(),
    );
    assert!(left(Path::new(&kept)) == expected);
    assert!(files(Path::new(&store)) == files(&Path::new(&kept).join("activations")));

    // A window of several shards cannot be made a shard at a time, and prompts are kept.
    let text = std::fs::read_to_string(&harvest).unwrap();
    std::fs::write(path("wide.toml"), text.replace("window = 2000", "window = 5000")).unwrap();
    let wide = path("wide.toml");
    for (harvest, expected) in [
        (wide.as_str(), "set both to 6000"),
        ("configs/ioi/harvest.toml", "harvest them first"),
    ] {
        let train = saelab(&["train", &config, "--run", &path("no"), "--harvest", harvest])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&train.stderr).into_owned();
        assert!(!train.status.success() && said.contains(expected), "{said}");
    }
}

/// Waits for what a running process is about to do.
fn wait_until(child: &mut Child, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(600));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_pretraining_that_is_killed_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let changes = "seed=0 n_layer=1 n_head=1 d_model=16 batch=2 steps=300 checkpoint_every=50 interchange.layer=0 interchange.clue_layer=0 \
                   interchange.pairs=2 interchange.exchange_from=20";
    let changes: Vec<&str> = changes
        .split_whitespace()
        .flat_map(|change| ["--set", change])
        .collect();
    let pretrain = |out: &str| {
        let arguments = [
            "pretrain",
            "configs/pretrain/small-world.toml",
            "--out",
            out,
            "--resume",
        ];
        saelab(&[&arguments[..], &changes[..]].concat())
    };
    succeeds(pretrain(&path("whole")).output().unwrap());
    let mut child = pretrain(&path("killed"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let checkpoint = folder.path().join("killed/checkpoint.safetensors");
    // Steps since the checkpoint, which are taken again, and metrics of them, which are written again.
    let metrics = folder.path().join("killed/metrics.jsonl");
    let after = |step: usize| {
        let text = std::fs::read_to_string(&metrics).unwrap_or_default();
        checkpoint.exists() && text.contains(&format!("\"step\":{step}}}"))
    };
    wait_until(&mut child, || after(60));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    succeeds(pretrain(&path("killed")).output().unwrap());
    for name in ["model.safetensors", "metrics.jsonl"] {
        let [expected, found] =
            ["whole", "killed"].map(|run| std::fs::read(folder.path().join(run).join(name)).unwrap());
        assert!(expected == found, "{name}");
    }
    assert!(!checkpoint.exists());
    // What is finished is not made again, and never taken for what other settings would give.
    let output = succeeds(pretrain(&path("killed")).output().unwrap());
    assert!(output.contains("is finished"), "{output}");
    let other = pretrain(&path("killed")).args(["--set", "seed=7"]).output().unwrap();
    let error = String::from_utf8_lossy(&other.stderr).into_owned();
    assert_eq!(other.status.code(), Some(1), "{error}");
    assert!(
        error.contains("seed: 0 -> 7") && error.contains("pretrain.json"),
        "{error}"
    );
}
