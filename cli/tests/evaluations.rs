//! Results of evaluations are bound to what they are of, and outlive a full disk, a kill and each other.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{saelab, succeeds};

const SITES: &str = "configs/sites/small-world.toml";
const SETTINGS: [&str; 9] = [
    "prompts=30",
    "ks=[1]",
    "compare_k=1",
    "edits=[\"greedy\"]",
    "thresholds=[]",
    "interpretability_prompts=100",
    "resamples=20",
    "baselines=[]",
    "compare=[]",
];

/// Activations and supervised dictionaries in a folder of its own.
struct Run {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let run = Self { _folder: folder, path };
        let sites = format!("sites={SITES}");
        let mut harvest = saelab(&[
            "harvest",
            "configs/ioi/harvest.toml",
            "--set",
            "source.n=300",
            "--set",
            &sites,
        ]);
        succeeds(harvest.arg("--out").arg(run.path.join("activations")).output().unwrap());
        succeeds(run.fit().output().unwrap());
        run
    }

    fn fit(&self) -> Command {
        let mut command = saelab(&["fit", "configs/ioi/fit.toml", "--sites", SITES, "--no-progress"]);
        command.arg("--run").arg(&self.path);
        command
    }

    fn eval(&self, path: &Path, sets: &[&str]) -> Command {
        let mut command = self.eval_unasked(path, sets);
        command.arg("--replace");
        command
    }

    fn eval_unasked(&self, path: &Path, sets: &[&str]) -> Command {
        let mut command = saelab(&[
            "eval",
            "configs/eval/ioi-quick.toml",
            "--model",
            "models/small-world",
            "--sites",
            SITES,
        ]);
        command.arg("--no-progress").arg("--run").arg(path);
        for set in SETTINGS.iter().chain(sets) {
            command.args(["--set", set]);
        }
        command
    }

    fn compare(&self) -> Output {
        saelab(&["compare", "--k", "1"]).arg(&self.path).output().unwrap()
    }
}

fn refused(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text.lines().last().unwrap().to_owned()
}

/// The bytes of all files that an evaluation leaves, `run.json` apart.
fn results(run: &Path) -> Vec<Vec<u8>> {
    ["report.json", "scores.parquet", "resamples.parquet"]
        .map(|name| fs::read(run.join(name)).unwrap())
        .to_vec()
}

#[test]
fn a_report_is_compared_with_its_own_resamples_only() {
    let run = Run::new();
    succeeds(run.eval(&run.path, &[]).output().unwrap());
    // Last digits depend on the instruction sets, which `run.json` names.
    let circumstances: serde_json::Value = artifacts::read_json(&run.path.join("run.json")).unwrap();
    assert_eq!(circumstances["instruction_set"], kernels::instruction_set());
    assert_eq!(circumstances["bf16_instruction_set"], kernels::bf16_instruction_set());
    let (first, compared) = (results(&run.path), run.compare());
    assert!(compared.status.success());
    succeeds(run.eval(&run.path, &["seed=5"]).output().unwrap());
    let second = results(&run.path);
    assert!(first.iter().zip(&second).all(|(a, b)| a != b));
    // The first report beside the files of the second, one after the other.
    fs::write(run.path.join("report.json"), &first[0]).unwrap();
    let error = refused(&run.compare());
    assert!(
        error.contains("resamples.parquet is not the file") && error.contains("saelab eval"),
        "{error}"
    );
    fs::write(run.path.join("resamples.parquet"), &first[2]).unwrap();
    assert!(refused(&run.compare()).contains("scores.parquet is not the file"));
    fs::write(run.path.join("scores.parquet"), &first[1]).unwrap();
    assert_eq!(run.compare().stdout, compared.stdout);

    // A metric that is named twice would be compared twice.
    let twice = saelab(&["compare", "--k", "1", "--metric", "f1,mcc,f1"])
        .arg(&run.path)
        .output()
        .unwrap();
    assert_eq!(twice.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&twice.stderr).contains("--metric names f1 twice"));
}

#[test]
fn a_run_that_was_not_evaluated_is_told_what_evaluates_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().to_string_lossy().into_owned();
    for (arguments, part) in [
        (["compare", &run], "saelab splice"),
        (["report", &run], "--model MODEL"),
    ] {
        let error = refused(&saelab(&arguments).output().unwrap());
        assert!(
            error.contains("report.json") && error.contains("saelab eval") && error.contains(part),
            "{error}"
        );
        let nowhere = format!("{run}/nowhere");
        let error = refused(&saelab(&[arguments[0], &nowhere]).output().unwrap());
        assert!(error.ends_with("nowhere: there is no such folder"), "{error}");
    }
}

#[test]
fn a_report_of_another_question_stays_until_it_is_to_be_replaced() {
    let run = Run::new();
    succeeds(run.eval_unasked(&run.path, &[]).output().unwrap());
    let first = results(&run.path);
    // Fewer prompts, and one dictionary instead of two.
    let error = refused(&run.eval_unasked(&run.path, &["prompts=25"]).output().unwrap());
    for part in [
        "report.json is of other settings (prompts: ",
        "30 -> 25)",
        "--out",
        "--replace",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let mut one = run.eval_unasked(&run.path, &[]);
    let error = refused(&one.args(["--only", "supervised-mean"]).output().unwrap());
    assert!(
        error.contains("has scores of supervised-lstsq, which this evaluation lacks"),
        "{error}"
    );
    assert_eq!(results(&run.path), first);
    // The same question may be asked again, and another one elsewhere, of a store elsewhere.
    succeeds(run.eval_unasked(&run.path, &[]).output().unwrap());
    assert_eq!(results(&run.path), first);
    let (out, store) = (run.path.with_file_name("out"), run.path.with_file_name("store"));
    fs::rename(run.path.join("activations"), &store).unwrap();
    let mut one = run.eval_unasked(&run.path, &[]);
    one.args(["--only", "supervised-mean"])
        .arg("--out")
        .arg(&out)
        .arg("--activations")
        .arg(&store);
    succeeds(one.output().unwrap());
    assert_eq!(results(&run.path), first);
    let read = |folder: &Path| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap()
    };
    let (all, one) = (read(&run.path), read(&out));
    let names = |report: &serde_json::Value| -> Vec<String> {
        let facts = report["dictionaries"].as_array().unwrap().iter();
        facts.map(|facts| facts["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names(&all), names(&one)),
        (
            vec!["supervised-lstsq".to_owned(), "supervised-mean".to_owned()],
            vec!["supervised-mean".to_owned()],
        )
    );
    // The scores of the one are what they were beside the other.
    let of_one = |report: &serde_json::Value, metric: &str| -> Vec<serde_json::Value> {
        let scores = report["scores"].as_array().unwrap().iter();
        scores
            .filter(|score| score["dictionary"] == "supervised-mean" && score["metric"] == metric)
            .cloned()
            .collect()
    };
    for metric in ["f1", "mcc", "sufficiency"] {
        assert!(!of_one(&all, metric).is_empty(), "{metric}");
        assert_eq!(of_one(&all, metric), of_one(&one, metric));
    }
    // Where a best latent is scored, it is named.
    let best = &of_one(&one, "f1")[0]["latents"];
    let named: Vec<&str> = best
        .as_array()
        .unwrap()
        .iter()
        .map(|latent| latent.as_str().unwrap())
        .collect();
    assert!(
        !named.is_empty() && named.iter().all(|latent| latent.contains(": ")),
        "{named:?}"
    );
    assert!(of_one(&one, "sufficiency")[0].get("latents").is_none());
    // A name that is not there.
    let mut unknown = run.eval_unasked(&run.path, &[]);
    let output = unknown
        .args(["--only", "nobody"])
        .arg("--activations")
        .arg(&store)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the run holds supervised-lstsq, supervised-mean"));

    // Two runs are compared in what differs; the same twice is identical.
    let twice = saelab(&["compare", "--k", "1"])
        .args([&run.path, &run.path])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&twice.stdout).into_owned();
    let name = run.path.display();
    assert!(
        said.contains(&format!(
            "identical in {name} and {name}: supervised-lstsq, supervised-mean"
        )),
        "{said}"
    );
    assert!(!said.contains("differences, with intervals"), "{said}");
}

#[test]
fn a_kill_or_an_interruption_loses_no_result() {
    let run = Run::new();
    succeeds(run.eval(&run.path, &[]).output().unwrap());
    let first = results(&run.path);
    succeeds(run.eval(&run.path, &["seed=5"]).output().unwrap());
    let second = results(&run.path);
    for (name, bytes) in ["report.json", "scores.parquet", "resamples.parquet"]
        .iter()
        .zip(&first)
    {
        fs::write(run.path.join(name), bytes).unwrap();
    }
    // Killed while it measures and while it writes: at any time there is a whole report with its files, or it is said.
    let unfinished = run.path.join("eval-unfinished");
    let measured = || fs::read_dir(&unfinished).map_or(0, Iterator::count);
    for wait in [0, 1, 4, 8] {
        let mut child = run
            .eval(&run.path, &["seed=5"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while measured() < wait && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let now = results(&run.path);
        assert!(now == first || now == second, "killed after {wait} parts");
        assert!(run.compare().status.success());
    }
    let told = succeeds(run.eval(&run.path, &["seed=5"]).output().unwrap());
    assert!(results(&run.path) == second, "{told}");
    assert!(!unfinished.exists());
}

/// A disk that has room for the parts of an evaluation and not for its results, where the system lets one be made.
#[test]
fn a_full_disk_leaves_the_finished_report() {
    let run = Run::new();
    succeeds(run.eval(&run.path, &[]).output().unwrap());
    let (first, compared) = (results(&run.path), run.compare().stdout);
    let disk = run.path.with_file_name("disk");
    fs::create_dir(&disk).unwrap();
    let command = run.eval(&disk.join("run"), &["seed=9", "resamples=400"]);
    let program: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    // What room is left is halved until it is too little for the results; before, they are as they would be anywhere.
    let script = format!(
        "mount -t tmpfs -o size=40m t '{disk}' || exit 77
         for left in 4096 1024 512 256 192 128 64 32; do
             rm -rf '{disk}/run' '{disk}/fill'; cp -r '{run}' '{disk}/run'
             free=$(df --output=avail -k '{disk}' | tail -1)
             dd if=/dev/zero of='{disk}/fill' bs=1k count=$((free - left)) 2>/dev/null
             {program} >'{run}.out' 2>'{run}.err'; code=$?
             rm -f '{disk}/fill'
             rm -rf '{run}-'$left; cp -r '{disk}/run' '{run}-'$left; echo $code $(tail -n 1 '{run}.err') >'{run}-'$left/said
         done",
        disk = disk.display(),
        run = run.path.display(),
        program = program.join(" ")
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .current_dir(root)
        .output();
    if !output.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let (mut failed, mut succeeded) = (0, 0);
    for left in [4096, 1024, 512, 256, 192, 128, 64, 32] {
        let after = run.path.with_file_name(format!("run-{left}"));
        let said = fs::read_to_string(after.join("said")).unwrap();
        if said.starts_with('0') {
            succeeded += 1;
            continue;
        }
        failed += 1;
        assert!(
            said.starts_with("1 error:") && said.contains("No space left"),
            "{left}: {said}"
        );
        assert!(results(&after) == first, "{left}: the finished report is gone");
        let again = saelab(&["compare", "--k", "1"]).arg(&after).output().unwrap();
        assert_eq!(again.stdout, compared, "{left}");
    }
    assert!(failed > 0 && succeeded > 0, "{failed} {succeeded}");
}

#[test]
fn a_folder_that_is_removed_meanwhile_is_no_success() {
    let run = Run::new();
    let kept = run.path.with_file_name("kept");
    let copy = || {
        assert!(
            Command::new("cp")
                .arg("-r")
                .args([&kept, &run.path])
                .status()
                .unwrap()
                .success()
        )
    };
    // A process may be over before its folder is removed: then it was a success, and is tried again.
    let removed = |command: &dyn Fn() -> Command, path: &Path, begun: &Path| {
        for _ in 0..50 {
            if !run.path.exists() {
                copy();
            }
            let mut child = command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            while fs::read_dir(begun).map_or(0, Iterator::count) == 0 && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            // What is being written may appear in a folder that is being removed.
            while path.exists() && fs::remove_dir_all(path).is_err() {}
            let output = child.wait_with_output().unwrap();
            if !output.status.success() {
                return refused(&output);
            }
        }
        panic!(
            "{} was removed 50 times, and all of them were successes",
            path.display()
        );
    };
    fs::rename(&run.path, &kept).unwrap();
    copy();
    let error = removed(
        &|| run.eval(&run.path, &["resamples=400"]),
        &run.path,
        &run.path.join("eval-unfinished"),
    );
    assert!(error.contains("removed"), "{error}");
    fs::remove_dir_all(&run.path).ok();
    copy();
    // Only what the command makes; the rest of the run stays.
    fs::remove_dir_all(run.path.join("supervised")).unwrap();
    removed(
        &|| run.fit(),
        &run.path.join("supervised"),
        &run.path.join("supervised"),
    );
    let toys = run.path.with_file_name("toys");
    let phenomena = || {
        let mut command = saelab(&[
            "phenomena",
            "configs/phenomena/quick.toml",
            "--set",
            "splitting_analytic.samples=100",
            "--set",
            "splitting=[{latents=[2], lambdas=[1.0], steps=300, batch=32}]",
            "--set",
            "occlusion=[]",
        ]);
        command.arg("--no-progress").arg("--out").arg(&toys);
        command
    };
    let error = removed(&phenomena, &toys, &toys);
    assert!(error.contains("toys"), "{error}");
}
