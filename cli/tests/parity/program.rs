//! The program: `--device`, `saelab devices`, and a run from the model to the report with figures near the CPU's.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{saelab, succeeds};
use crate::device_name;

/// One site: a software driver takes half a minute for what the CPU does in one second.
const SITES: &str = r#"
[[sites]]
name = "blocks.2.hook_resid_pre@END"
nodes = ["blocks.2.hook_resid_pre@END"]
attributes = ["IO", "Pos"]
"#;

const TRAIN: &str = r#"
steps = 40
batch = 64
expansion = 2
dead_after = 2000

[[autoencoder]]
architecture = "topk"
k = 4

[[autoencoder]]
architecture = "relu"
l1 = 1.0
"#;

/// How far a share or a correlation may be off: one prompt of 40 that falls to the other side.
const NEAR: f64 = 0.03;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A refusal is one line, and no panic; drivers may say something of their own beside it.
fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("error: ")).count(),
        1,
        "{text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[test]
fn devices_are_listed_and_open_by_the_names_in_the_list() {
    let listed = saelab(&["devices"]).output().unwrap();
    let listed = (stdout(&listed), succeeds(listed));
    let cpu = listed.0.lines().next().unwrap();
    assert!(cpu.starts_with("cpu ") && cpu.contains("threads"), "{cpu}");
    for backend in ["wgpu", "cuda"] {
        let line = listed.0.lines().find(|line| line.starts_with(backend)).unwrap();
        let name = line.split_whitespace().next().unwrap();
        let opened = saelab(&["--device", name, "devices"]).output().unwrap();
        match name.contains(':') {
            true => {
                succeeds(opened);
                let beyond = format!("{backend}:99");
                let text = refusal(&saelab(&["--device", &beyond, "devices"]).output().unwrap());
                assert!(text.contains("is not there"), "{text}");
            }
            false => {
                let (text, reason) = (refusal(&opened), line.split_once("none: ").unwrap().1);
                assert!(text.contains(reason), "{text}");
            }
        }
    }
}

#[test]
fn a_backend_without_a_driver_is_one_line_that_says_what_to_do() {
    let nothing = |command: &mut Command| {
        for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
            command.env(variable, "/nonexistent");
        }
        command.env("CUDA_VISIBLE_DEVICES", "").output().unwrap()
    };
    for backend in ["wgpu", "cuda"] {
        let text = refusal(&nothing(&mut saelab(&["--device", backend, "devices"])));
        let remedy = ["needs", "build it with"].iter().any(|word| text.contains(word));
        assert!(remedy, "{text}");
    }
}

/// The variable is one that burn reads while it opens the device, and panics about.
#[test]
fn a_device_that_cannot_be_opened_is_one_line_too() {
    let broken = |command: &mut Command| command.env("CUBECL_WGPU_MAX_TASKS", "many").output().unwrap();
    let listed = broken(&mut saelab(&["devices"]));
    let (text, _) = (stdout(&listed), succeeds(listed));
    if text.contains("wgpu:0") {
        assert!(text.contains("was found but does not compute"), "{text}");
        let text = refusal(&broken(&mut saelab(&["--device", "wgpu", "devices"])));
        assert!(text.contains("CUBECL_WGPU_MAX_TASKS"), "{text}");
    }
}

#[test]
fn a_run_from_model_to_report_gives_the_figures_of_the_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let reports = ["cpu", "device"].map(|name| {
        let run = folder.path().join(name);
        pipeline(&run, name == "device");
        let report = std::fs::read(run.join("report.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&report).unwrap()
    });
    let [expected, found] = reports.map(|report| report["scores"].as_array().unwrap().clone());
    assert!(expected.len() > 30, "{} scores", expected.len());
    assert_eq!(expected.len(), found.len());
    let mut far = Vec::new();
    for (expected, found) in expected.iter().zip(&found) {
        for key in ["dictionary", "site", "attribute", "metric", "method", "k", "threshold"] {
            assert_eq!(expected[key], found[key], "{expected} and {found}");
        }
        let [a, b] = [expected, found].map(|score| score["value"].as_f64());
        let near = match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= NEAR * a.abs().max(1.0),
            (a, b) => a == b,
        };
        if !near {
            far.push(format!("{expected}\n{found}"));
        }
    }
    // A score that is read off one latent jumps when two latents nearly tie.
    assert!(
        far.len() * 50 <= expected.len(),
        "{} of {} scores differ:\n{}",
        far.len(),
        expected.len(),
        far.join("\n")
    );
}

fn pipeline(run: &Path, on_device: bool) {
    let path = |name: &str| run.join(name).to_string_lossy().into_owned();
    let [train, sites, store] = ["train.toml", "sites.toml", "activations"].map(path);
    std::fs::create_dir(run).unwrap();
    std::fs::write(&train, TRAIN).unwrap();
    std::fs::write(&sites, SITES).unwrap();
    let run = path("");
    let harvest = "harvest configs/ioi/harvest.toml --set source.n=200 --set";
    let of_sites = format!("sites={sites}");
    let evaluate = "eval configs/eval/ioi-quick.toml --set prompts=40 --set interpretability_prompts=100 --set \
                    resamples=20 --set compare=[] --model models/small-world";
    let at_sites = ["--run", &run, "--sites", &sites];
    let words = |line: &'static str, more: &[&str]| -> Vec<String> {
        line.split_whitespace()
            .chain(more.iter().copied())
            .map(str::to_owned)
            .collect()
    };
    for arguments in [
        words(harvest, &[&of_sites, "--out", &store]),
        words("fit configs/ioi/fit.toml", &at_sites),
        words("train", &[&[train.as_str()], &at_sites[..]].concat()),
        words(evaluate, &at_sites),
    ] {
        let mut command = saelab(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        match (on_device, device_name()) {
            (true, Some(name)) => command.args(["--device", &name]),
            // Where the CPU stands in for a device, it is with one thread.
            (true, None) => command.env("RAYON_NUM_THREADS", "1"),
            (false, _) => &mut command,
        };
        succeeds(command.output().unwrap());
    }
}
