//! A harvest and a training grid dealt over processes, `saelab status` and `saelab submit`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{saelab, succeeds};
use serde_json::Value;

const TRAIN: &str = r#"
steps = 300
batch = 64
expansion = 2
checkpoint_every = 20

[[autoencoder]]
architecture = "topk"
k = [3, 5, 7]

[[autoencoder]]
architecture = "relu"
l1 = 1.0
"#;

/// A folder with a store of two hooks, the config of a grid, and experiments on them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.path("train.toml"), TRAIN).unwrap();
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn harvest(&self, further: &[&str]) -> Command {
        let out = self.path("store");
        let fixed = "harvest configs/quality/harvest-text.toml --set source.documents=60 --set rows_per_shard=500 --set \
                     shuffle_window=500 --set hooks=[\"blocks.1.hook_resid_pre\",\"blocks.2.hook_resid_pre\"] --out";
        let words: Vec<&str> = fixed
            .split_whitespace()
            .chain([out.as_str()])
            .chain(further.iter().copied())
            .collect();
        saelab(&words)
    }

    fn train(&self, run: &str, further: &[&str]) -> Command {
        let (config, run, store) = (self.path("train.toml"), self.path(run), self.path("store"));
        let mut words = vec!["train", &config, "--run", &run, "--activations", &store];
        words.extend(further);
        saelab(&words)
    }

    fn status(&self, run: &str) -> Value {
        let output = saelab(&["status", &self.path(run), "--json"]).output().unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        succeeds(output);
        serde_json::from_str(&text).unwrap()
    }

    /// What autoencoders are: all files but those that tell times.
    fn autoencoders(&self, run: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![self.0.path().join(run).join("sae")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                match path.is_dir() {
                    true => folders.push(path),
                    false if name.starts_with("events") || name == "metrics.jsonl" => {}
                    false => {
                        let place = path.strip_prefix(self.0.path().join(run)).unwrap().to_owned();
                        found.insert(place, std::fs::read(&path).unwrap());
                    }
                }
            }
        }
        found
    }
}

fn states(status: &Value, stage: usize) -> Vec<&str> {
    let units = status["stages"][stage]["units"].as_array().unwrap();
    units.iter().map(|unit| unit["state"].as_str().unwrap()).collect()
}

fn start(mut command: Command) -> Child {
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// Whether a checkpoint is below this folder.
fn has_checkpoint(dir: &Path) -> bool {
    let sites = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names = sites.flat_map(|site| std::fs::read_dir(site.path()).into_iter().flatten().flatten());
    names.any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
}

#[test]
fn a_grid_dealt_over_workers_of_which_one_is_killed_has_the_bytes_of_one_process() {
    let folder = Folder::new();
    // Parts of a harvest, whose cost the store's work list tells.
    for part in ["2/2", "1/2"] {
        succeeds(folder.harvest(&["--shard", part]).output().unwrap());
    }
    let status = folder.status("store");
    assert_eq!(status["stores"][0]["complete"], true);
    assert_eq!(status["stores"][0]["files"], status["stores"][0]["of"]);
    assert_eq!(states(&status, 0), ["done", "done"]);
    for unit in status["stages"][0]["units"].as_array().unwrap() {
        assert!(unit["seconds"].as_f64().unwrap() > 0.0 && unit["processor_seconds"].as_f64().unwrap() > 0.0);
        assert!(unit["peak_memory_mb"].as_u64().unwrap() > 1 && unit["attempts"] == 1);
    }

    succeeds(folder.train("one", &[]).output().unwrap());
    let mut victim = start(folder.train("shared", &["--shard", "2/3"]));
    let begin = Instant::now();
    while !has_checkpoint(Path::new(&folder.path("shared/checkpoints"))) {
        assert!(begin.elapsed() < Duration::from_secs(300), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    let lost = folder.status("shared");
    assert!(states(&lost, 0).contains(&"lost"), "{lost}");
    // The others do their shares and what the dead one left; it comes back meanwhile.
    let workers: Vec<Child> = ["1/3", "2/3", "3/3"]
        .map(|share| start(folder.train("shared", &["--shard", share])))
        .into();
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    let (expected, found) = (folder.autoencoders("one"), folder.autoencoders("shared"));
    assert!(expected.len() >= 16, "{} files", expected.len());
    assert!(found == expected, "{:?} instead of {:?}", found.keys(), expected.keys());
    let status = folder.status("shared");
    assert_eq!(states(&status, 0), ["done"; 8]);
    assert_eq!(status["autoencoders"], 8);
    let units = status["stages"][0]["units"].as_array().unwrap();
    assert!(units.iter().any(|unit| unit["attempts"].as_u64() > Some(1)));

    // What is finished is not trained again, by whichever worker.
    let said = succeeds(folder.train("shared", &["--shard", "1/1"]).output().unwrap());
    assert!(said.contains("part 1/1: 0 autoencoders trained, 0 failed"), "{said}");
    let table = saelab(&["status", &folder.path("shared")]).output().unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("train")).unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[..4], ["train", "8", "8", "0"], "{table}");
}

#[test]
fn a_failure_is_told_and_the_rest_is_trained() {
    let folder = Folder::new();
    succeeds(folder.harvest(&[]).output().unwrap());
    // Something else stands where an autoencoder of the second share would go while that of the first is trained.
    let at = PathBuf::from(folder.path("run/sae/sae-relu/blocks.2.hook_resid_pre"));
    std::fs::create_dir_all(&at).unwrap();
    std::fs::write(at.join("notes.txt"), "mine").unwrap();
    let refused = folder.train("run", &["--shard", "2/2"]).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && text.contains("--replace"), "{text}");
    // A worker whose own share is free does it, and ends with the other's trouble where it helps.
    folder.train("run", &["--shard", "1/2"]).output().unwrap();
    let status = folder.status("run");
    assert_eq!(states(&status, 0)[..4], ["done"; 4]);
    assert_eq!(std::fs::read_to_string(at.join("notes.txt")).unwrap(), "mine");
    for wrong in ["0/2", "3/2", "2"] {
        let output = folder.train("run", &["--shard", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn status_of_what_was_made_by_one_process() {
    let folder = Folder::new();
    let empty = saelab(&["status", &folder.path("")]).output().unwrap();
    let text = String::from_utf8_lossy(&empty.stderr).into_owned();
    assert!(!empty.status.success() && text.contains("no work list"), "{text}");
    assert!(
        !saelab(&["status", &folder.path("none")])
            .output()
            .unwrap()
            .status
            .success()
    );
    succeeds(folder.harvest(&[]).output().unwrap());
    std::fs::remove_file(folder.path("store/manifest.json")).unwrap();
    let status = folder.status("store");
    assert_eq!(status["stores"][0]["complete"], false);
    let (files, of) = (
        status["stores"][0]["files"].as_u64().unwrap(),
        status["stores"][0]["of"].as_u64().unwrap(),
    );
    assert_eq!(files + 1, of);
    // The experiment above it finds the store.
    assert_eq!(folder.status("")["stores"][0], status["stores"][0]);
}

#[test]
fn a_script_for_slurm_is_printed_that_bash_reads() {
    let folder = Folder::new();
    let (run, train) = (folder.path("it's a run"), folder.path("train.toml"));
    let words = [
        "submit",
        "configs/quality/harvest-text.toml",
        "--set",
        "source.documents=60",
        "--run",
        &run,
        "--array",
        "8",
        "--train",
        &train,
        "--cores",
        "3",
        "--sbatch=--partition=cpu",
    ];
    let output = saelab(&words).output().unwrap();
    let script = String::from_utf8(output.stdout.clone()).unwrap();
    succeeds(output);
    let path = folder.path("jobs.sh");
    std::fs::write(&path, &script).unwrap();
    assert!(
        Command::new("bash").args(["-n", &path]).status().unwrap().success(),
        "{script}"
    );
    // Four autoencoders of one hook, so four tasks of eight.
    for line in [
        "#SBATCH --array=1-8",
        "#SBATCH --array=1-4",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --partition=cpu",
        "#SBATCH --requeue",
    ] {
        assert!(script.lines().any(|found| found == line), "{line} in {script}");
    }
    assert!(
        script.contains("train=$(sbatch --parsable --dependency=afterok:\"$harvest\""),
        "{script}"
    );

    // What is submitted is what a command named sbatch is given: here one that writes it down.
    let bin = folder.0.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let said = folder.path("said");
    let fake = format!("#!/bin/bash\necho \"$@\" >> '{said}'\ncat >> '{said}'\necho 4711\n");
    std::fs::write(bin.join("sbatch"), fake).unwrap();
    succeeds(
        Command::new("chmod")
            .args(["+x", &bin.join("sbatch").to_string_lossy()])
            .output()
            .unwrap(),
    );
    let search = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let submitted = saelab(&words).arg("--submit").env("PATH", search).output().unwrap();
    let printed = String::from_utf8(submitted.stdout.clone()).unwrap();
    succeeds(submitted);
    assert_eq!(printed, "harvest: job 4711, 8 tasks\ntrain: job 4711, 4 tasks\n");
    let said = std::fs::read_to_string(said).unwrap();
    assert!(
        said.contains("--dependency=afterok:4711") && said.contains("'\\''s a run"),
        "{said}"
    );
    // Without sbatch nothing is submitted, and that is said.
    let bash_only = folder.0.path().join("none");
    std::fs::create_dir(&bash_only).unwrap();
    for name in ["bash", "mkdir", "cat"] {
        std::os::unix::fs::symlink(format!("/bin/{name}"), bash_only.join(name)).unwrap();
    }
    let refused = saelab(&words).arg("--submit").env("PATH", &bash_only).output().unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(1) && text.contains("could not be submitted"),
        "{text}"
    );

    let wrong = saelab(&["submit", "configs/ioi/harvest.toml", "--run", &run, "--array", "0"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
