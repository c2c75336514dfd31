//! What the system does to the program: umask, signals, limits; and what files of any origin do to its lines.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{saelab, succeeds};

/// The program behind a few words of shell.
fn behind(shell: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args([
            "-c",
            &format!("{shell}; exec \"$0\" \"$@\""),
            env!("CARGO_BIN_EXE_saelab"),
        ])
        .args(arguments);
    command
}

/// The one line with which the program ends.
fn refused(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("error: ") && said.matches("error: ").count() == 1,
        "{said}"
    );
    assert!(last.chars().count() <= 2000 && !said.contains("panicked"), "{said}");
    last.to_owned()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.push(path);
    }
    found
}

/// A pretraining that writes a checkpoint of some MB after every step.
fn pretrain(out: &str) -> Vec<&str> {
    let changes = "--resume --set seed=0 --set n_layer=1 --set n_head=1 --set d_model=384 --set batch=1 --set checkpoint_every=1 --set \
                   steps=12 --set interchange.layer=0 --set interchange.clue_layer=0 --set interchange.pairs=1";
    let arguments = ["pretrain", "configs/pretrain/small-world.toml", "--out", out];
    arguments.into_iter().chain(changes.split_whitespace()).collect()
}

fn partial(dir: &Path) -> usize {
    let is_partial = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".partial-");
    files(dir).iter().filter(|path| is_partial(path)).count()
}

/// Starts a pretraining and waits until it is writing a file.
fn writing(shell: &str, out: &Path) -> Child {
    let out_name = out.to_string_lossy().into_owned();
    loop {
        let mut child = behind(shell, &pretrain(&out_name))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(100) {
            if partial(out) > 0 {
                return child;
            }
        }
        // It was never seen to write: once more.
        let _ = child.kill();
        child.wait().unwrap();
        std::fs::remove_dir_all(out).unwrap();
    }
}

fn signal(name: &str, child: &Child) {
    let status = Command::new("bash")
        .args(["-c", &format!("kill -{name} {}", child.id())])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn files_and_folders_are_as_open_as_the_umask_says() {
    let folder = tempfile::tempdir().unwrap();
    for (umask, of_files, of_folders) in [("077", 0o600, 0o700), ("002", 0o664, 0o775), ("022", 0o644, 0o755)] {
        let out = folder.path().join(umask);
        let names = ["a/store", "b/model"].map(|name| out.join(name).to_string_lossy().into_owned());
        let harvest = [
            "harvest",
            "configs/ioi/harvest.toml",
            "--set",
            "source.n=20",
            "--out",
            &names[0],
        ];
        let mut train = pretrain(&names[1]);
        train.extend(["--set", "d_model=8", "--set", "steps=2"]);
        for arguments in [&harvest[..], &train] {
            succeeds(behind(&format!("umask {umask}"), arguments).output().unwrap());
        }
        let found = files(&out);
        assert!(found.len() > 8);
        for path in found {
            let expected = if path.is_dir() { of_folders } else { of_files };
            let mode = path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        }
    }
}

#[test]
fn a_signal_that_ends_the_program_leaves_no_temporary_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    for name in ["INT", "TERM", "HUP"] {
        // A signal may come when the file has just got its name; it must not be so every time.
        let cut = (0..20).any(|_| {
            let child = writing("true", &out);
            let at_once = partial(&out) > 0;
            signal(name, &child);
            let line = refused(&child.wait_with_output().unwrap(), 1);
            assert!(line.contains("interrupted"), "{line}");
            assert_eq!(partial(&out), 0, "{name}");
            at_once
        });
        assert!(cut, "{name}");
    }
    // `nohup` stays what it is.
    let child = writing("trap '' HUP", &out);
    signal("HUP", &child);
    succeeds(child.wait_with_output().unwrap());
}

#[test]
fn a_server_that_is_interrupted_has_ended_well() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["INT", "TERM"] {
        let mut child = saelab(&["serve", &folder.path().to_string_lossy(), "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The address is printed once it listens.
        let mut address = String::new();
        std::io::BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut address)
            .unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "{address}");
        signal(name, &child);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(!said.contains("error"), "{said}");
    }
}

#[test]
fn what_a_killed_process_leaves_the_next_one_removes() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let left = (0..20).any(|_| {
        let mut child = writing("true", &out);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        partial(&out) > 0
    });
    assert!(left, "no kill came while a file was written");
    succeeds(saelab(&pretrain(&out.to_string_lossy())).output().unwrap());
    assert_eq!(partial(&out), 0);
}

#[test]
fn a_file_that_may_not_grow_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let output = behind("ulimit -f 200", &pretrain(&out.to_string_lossy()))
        .output()
        .unwrap();
    let line = refused(&output, 1);
    assert!(
        line.contains("checkpoint.safetensors") && line.contains("ulimit -f"),
        "{line}"
    );
    assert_eq!(partial(&out), 0);
}

#[test]
fn without_threads_the_program_ends_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("store").to_string_lossy().into_owned();
    let arguments = [
        "harvest",
        "configs/ioi/harvest.toml",
        "--set",
        "source.n=20",
        "--out",
        &out,
    ];
    // Each thread asks for 2 MB of address space.
    let output = behind("ulimit -v 500000; export RAYON_NUM_THREADS=400", &arguments)
        .output()
        .unwrap();
    let line = refused(&output, 1);
    assert!(
        line.contains("no thread could be started") || line.contains("no memory"),
        "{line}"
    );
}

#[test]
fn what_stands_in_files_does_not_reach_the_terminal_raw() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model\u{1b}]0;x\u{7}");
    std::fs::create_dir(&model).unwrap();
    let config = |kind: &str| {
        let json = serde_json::json!({"model_type": kind, "n_layer": 1, "n_head": 1, "n_embd": 1, "n_positions": 1, "vocab_size": 1});
        std::fs::write(model.join("config.json"), json.to_string()).unwrap();
        let ids = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/gpt2-micro/expected.safetensors");
        let (name, ids) = (model.to_string_lossy().into_owned(), ids.to_string_lossy().into_owned());
        let out = folder.path().join("out").to_string_lossy().into_owned();
        saelab(&["trace", &name, "--ids", &ids, "--hooks", "logits", "--out", &out])
            .output()
            .unwrap()
    };
    let line = refused(&config("a\u{1b}[2J\u{9b}1A\r\nerror\u{202e}"), 1);
    assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    assert!(
        line.contains("model\\u{1b}]0;x\\u{7}") && line.contains("a\\u{1b}[2J\\u{9b}1A\\r error\\u{202e}"),
        "{line}"
    );
    let line = refused(&config(&"x".repeat(1_000_000)), 1);
    assert!(
        line.starts_with("error: ") && line.ends_with("this model cannot be run"),
        "{line}"
    );
}
