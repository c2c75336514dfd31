//! `saelab harvest`: killed at any moment and run again, shared by several processes, from every form of text, and what it
//! refuses.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{saelab, succeeds};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TEXT: &str = r#"
model = "models/small-world"
hooks = ["blocks.1.hook_resid_pre", "blocks.2.attn.hook_z"]
rows_per_shard = 500
shuffle_window = 1500
dtype = "f16"

[source]
kind = "text"
path = "PATH"
context = 64
"#;

/// All files of a folder with their bytes, by path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if [".work", "made.json"].contains(&name.as_str()) {
            // Who did which part, and how long it took; where the text lay, and which build read it: no part of the store.
            continue;
        }
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
    found
}

/// A folder with a text of the shipped model's world, and the config of its harvest.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(documents: u64) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let world = tasks::world::World::new();
        let lines: Vec<String> = (0..documents).map(|index| world.document(9, index).text()).collect();
        std::fs::write(folder.0.path().join("text.txt"), lines.join("\n")).unwrap();
        let config = TEXT.replace("PATH", &folder.path("text.txt"));
        std::fs::write(folder.0.path().join("config.toml"), config).unwrap();
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn harvest(&self, out: &str, more: &[&str]) -> Command {
        let mut command = saelab(&["harvest", &self.path("config.toml"), "--out", &self.path(out)]);
        command.args(more);
        command
    }

    fn files(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        files(&self.0.path().join(out))
    }

    /// The one line with which a harvest is refused; nothing is written.
    fn refused(&self, code: i32, set: &[&str]) -> String {
        let sets: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
        let output = self.harvest("refused", &sets).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(!self.0.path().join("refused").exists(), "{text}");
        text.lines().last().unwrap().to_owned()
    }
}

#[test]
fn what_a_kill_left_of_the_manifest_is_removed() {
    let folder = Folder::new(20);
    succeeds(folder.harvest("store", &[]).output().unwrap());
    let expected = folder.files("store");
    let store = std::path::PathBuf::from(folder.path("store"));
    std::fs::rename(store.join("manifest.json"), store.join(".partial-abcdef")).unwrap();
    succeeds(folder.harvest("store", &[]).output().unwrap());
    assert!(folder.files("store") == expected);
}

#[test]
fn killed_fifty_times_and_run_again_gives_the_same_store() {
    let folder = Folder::new(100);
    let time = |out: &str| {
        let start = Instant::now();
        succeeds(folder.harvest(out, &[]).output().unwrap());
        start.elapsed()
    };
    // The fastest of some, since other tests run at the same time.
    let mut whole = ["again", "and-again", "whole"].map(time).into_iter().min().unwrap();
    let expected = folder.files("whole");
    assert!(expected.len() > 10, "{:?}", expected.keys());
    // Moments spread by the golden ratio over the time that a whole run takes.
    let mut killed = 0;
    for i in 0..50 {
        let out = format!("killed-{i}");
        let mut child = folder.harvest(&out, &[]).stderr(Stdio::null()).spawn().unwrap();
        let share = (f64::from(i) * 0.618_033_988_75).fract();
        std::thread::sleep(Duration::from_millis(2) + whole.mul_f64(share * 0.9));
        match child.try_wait().unwrap() {
            None => killed += 1,
            // The machine is less busy than it was.
            Some(_) => whole = whole.mul_f64(0.7),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        succeeds(folder.harvest(&out, &[]).output().unwrap());
        let found = folder.files(&out);
        assert!(
            found == expected,
            "kill {i}: {:?} instead of {:?}",
            found.keys(),
            expected.keys()
        );
        std::fs::remove_dir_all(folder.path(&out)).unwrap();
    }
    assert!(
        killed >= 30,
        "{killed} of 50 processes were still running when they were killed"
    );
}

#[test]
fn parts_in_one_folder_or_in_several_are_the_whole() {
    let folder = Folder::new(60);
    succeeds(folder.harvest("whole", &[]).output().unwrap());
    // Two processes at once in one folder: the last of them writes the manifest.
    let workers: Vec<_> = ["1/2", "2/2"]
        .map(|part| folder.harvest("shared", &["--shard", part]).spawn().unwrap())
        .into();
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    // Both may have looked before the other had written its last shard.
    succeeds(folder.harvest("shared", &["--shard", "1/2"]).output().unwrap());
    assert!(folder.files("shared") == folder.files("whole"));

    // In folders of their own, put together afterwards.
    for part in ["1/3", "2/3", "3/3"] {
        let out = part.replace('/', "of");
        let said = succeeds(folder.harvest(&out, &["--shard", part]).output().unwrap());
        assert!(said.contains("without --shard"), "{said}");
        for (name, bytes) in folder.files(&out) {
            let target = folder.0.path().join("merged").join(name);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(target, bytes).unwrap();
        }
    }
    succeeds(folder.harvest("merged", &[]).output().unwrap());
    assert!(folder.files("merged") == folder.files("whole"));
    for wrong in ["0/2", "3/2", "2", "a/b"] {
        let output = folder.harvest("wrong", &["--shard", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn two_equal_harvests_at_once_are_one() {
    let folder = Folder::new(60);
    succeeds(folder.harvest("whole", &[]).output().unwrap());
    let expected = folder.files("whole");
    for i in 0..4 {
        let out = format!("twice-{i}");
        let workers: Vec<_> = (0..3)
            .map(|_| folder.harvest(&out, &[]).stderr(Stdio::null()).spawn().unwrap())
            .collect();
        for mut worker in workers {
            assert!(worker.wait().unwrap().success());
        }
        assert!(folder.files(&out) == expected);
    }
}

#[test]
fn a_store_that_may_not_be_written_is_reused_when_it_is_complete() {
    let folder = Folder::new(10);
    succeeds(folder.harvest("store", &[]).output().unwrap());
    // Root may write everywhere but on a file system that is mounted for reading only.
    let script = r#"mount --bind "$STORE" "$STORE" && mount -o remount,bind,ro "$STORE" || exit 77
exec "$SAELAB" harvest "$CONFIG" --out "$STORE""#;
    let run = |spaces: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(spaces).args(["sh", "-c", script]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        command.envs([
            ("SAELAB", env!("CARGO_BIN_EXE_saelab").to_owned()),
            ("STORE", folder.path("store")),
            ("CONFIG", folder.path("config.toml")),
        ]);
        command.output().unwrap()
    };
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let spaces: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let mounted = |(_, output): &(&[&str], std::process::Output)| {
        output.status.code() != Some(77) && !said(output).contains("unshare: ")
    };
    let Some((spaces, output)) = spaces.into_iter().map(|spaces| (spaces, run(spaces))).find(mounted) else {
        let skipped = "skipped: a_store_that_may_not_be_written: no file system can be mounted here";
        std::io::Write::write_all(&mut std::io::stderr(), format!("{skipped}\n").as_bytes()).unwrap();
        return;
    };
    assert!(output.status.success(), "{}", said(&output));
    // One that lacks a shard cannot be completed there, and says where.
    std::fs::remove_file(folder.path("store/blocks.1.hook_resid_pre/00000.parquet")).unwrap();
    let output = run(spaces);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&folder.path("store")) && said.contains("Read-only"),
        "{said}"
    );
}

#[test]
fn a_folder_removed_meanwhile_is_an_error() {
    let folder = Folder::new(300);
    let child = folder.harvest("store", &[]).stderr(Stdio::piped()).spawn().unwrap();
    let shard = folder.path("store/blocks.1.hook_resid_pre/00000.parquet");
    let start = Instant::now();
    while !Path::new(&shard).exists() && start.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::fs::rename(folder.path("store"), folder.path("removed")).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.lines().last().unwrap().contains("is gone"), "{text}");
    assert!(!Path::new(&folder.path("store/manifest.json")).exists());
}

#[test]
fn a_full_disk_is_named_and_what_was_finished_is_kept() {
    let folder = Folder::new(60);
    let wide = [
        "--set",
        r#"hooks=["blocks.1.hook_resid_pre", "blocks.2.mlp.hook_post"]"#,
    ];
    succeeds(folder.harvest("whole", &wide).output().unwrap());
    // No file may grow beyond 200 KB (400 KB where a block is a kilobyte), as if that were all the disk has left: a shard has 134
    // KB, one of the wider hook 530.
    let limited = format!(
        "trap '' XFSZ; ulimit -f 400; exec '{}' harvest '{}' --out '{}' {} '{}'",
        env!("CARGO_BIN_EXE_saelab"),
        folder.path("config.toml"),
        folder.path("full"),
        wide[0],
        wide[1]
    );
    let output = Command::new("sh")
        .args(["-c", &limited])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = text.lines().last().unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        line.starts_with("error: cannot write") && line.contains(".parquet") && line.contains("then run again"),
        "{line}"
    );
    assert!(!line.contains(".partial"), "{line}");
    let (kept, whole) = (folder.files("full"), folder.files("whole"));
    assert!(!kept.is_empty());
    assert!(
        kept.iter().all(|(name, bytes)| whole.get(name) == Some(bytes)),
        "{:?}",
        kept.keys()
    );
    succeeds(folder.harvest("full", &wide).output().unwrap());
    assert!(folder.files("full") == whole);
}

#[test]
fn an_interrupted_harvest_says_so_and_goes_on() {
    let folder = Folder::new(300);
    succeeds(folder.harvest("whole", &[]).output().unwrap());
    let child = folder.harvest("store", &[]).stderr(Stdio::piped()).spawn().unwrap();
    // Once it has begun to write, and is there to listen.
    let begun = || Path::new(&folder.path("store")).exists();
    let start = Instant::now();
    while !begun() && start.elapsed() < Duration::from_secs(600) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().last().unwrap();
    assert!(line.starts_with("error: interrupted"), "{text}");
    succeeds(folder.harvest("store", &[]).output().unwrap());
    assert!(folder.files("store") == folder.files("whole"));
}

/// Fills a file system of so many kilobytes, copies what is there, gives it room, and goes on; 77: there can be no such file
/// system here.
const SMALL_DISK: &str = r#"
mkdir -p "$DISK" "$COPIES" && mount -t tmpfs -o "size=${KILOBYTES}k" tmpfs "$DISK" || exit 77
"$SAELAB" harvest "$CONFIG" --out "$DISK/store" 2> "$COPIES/said"
echo $? > "$COPIES/code"
cp -R "$DISK/store" "$COPIES/full"
mount -o remount,size=64m "$DISK" && "$SAELAB" harvest "$CONFIG" --out "$DISK/store" && cp -R "$DISK/store" "$COPIES/completed"
"#;

#[test]
fn a_small_disk_that_is_full_is_named_and_the_harvest_completed_when_there_is_room() {
    let folder = Folder::new(60);
    succeeds(folder.harvest("whole", &[]).output().unwrap());
    let whole = folder.files("whole");
    let kilobytes = whole.values().map(Vec::len).sum::<usize>() * 6 / 10_240;
    // In name spaces of their own, so that nothing stays mounted; of a user too where this one may not mount.
    let run = |spaces: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(spaces).args(["sh", "-c", SMALL_DISK]);
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        command.envs([
            ("DISK", folder.path("disk")),
            ("COPIES", folder.path("copies")),
            ("CONFIG", folder.path("config.toml")),
        ]);
        command.envs([
            ("SAELAB", env!("CARGO_BIN_EXE_saelab").to_owned()),
            ("KILOBYTES", kilobytes.to_string()),
        ]);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let done = status.is_ok_and(|status| status.success());
        done || {
            // What a refused mount has left.
            std::fs::remove_dir_all(folder.path("disk")).ok();
            folder.0.path().join("copies/said").exists()
        }
    };
    if !run(&["--mount"]) && !run(&["--user", "--map-root-user", "--mount"]) {
        let skipped = "skipped: a_small_disk_that_is_full: no file system can be mounted here (neither as root nor in a name space)";
        // Past the capture of the test harness.
        std::io::Write::write_all(&mut std::io::stderr(), format!("{skipped}\n").as_bytes()).unwrap();
        return;
    }
    let read = |name: &str| std::fs::read_to_string(folder.path(&format!("copies/{name}"))).unwrap();
    assert_eq!(read("code"), "1\n");
    let said = read("said");
    let line = said.lines().last().unwrap();
    assert!(
        line.starts_with("error: cannot write")
            && line.contains(".parquet: No space left")
            && line.contains("free some space"),
        "{line}"
    );
    // Some whole shards and the settings: no manifest, no half file.
    let full = folder.files("copies/full");
    assert!(full.len() > 1 && full.len() < whole.len() - 1, "{:?}", full.keys());
    assert!(
        full.iter()
            .all(|(name, bytes)| name != "manifest.json" && whole.get(name) == Some(bytes))
    );
    assert!(folder.files("copies/completed") == whole);
}

#[test]
fn the_form_of_the_text_does_not_matter() {
    let folder = Folder::new(20);
    succeeds(folder.harvest("plain", &[]).output().unwrap());
    let text = std::fs::read_to_string(folder.path("text.txt")).unwrap();
    let json: String = text
        .lines()
        .map(|line| serde_json::json!({ "body": line }).to_string() + "\n")
        .collect();
    let (first, second) = json.split_at(json.find('\n').unwrap() + 1);
    std::fs::create_dir_all(folder.path("corpus/deeper")).unwrap();
    std::fs::write(folder.path("corpus/a.jsonl"), first).unwrap();
    std::fs::write(folder.path("corpus/deeper/b.jsonl"), second).unwrap();
    let glob = format!("source.path=[\"{}\"]", folder.path("corpus/**/*.jsonl"));
    let field = "source.text_field=body";
    succeeds(
        folder
            .harvest("json", &["--set", &glob, "--set", field])
            .output()
            .unwrap(),
    );
    assert!(folder.files("json") == folder.files("plain"));
}

#[test]
fn what_cannot_be_harvested_is_one_line() {
    let folder = Folder::new(3);
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.0.path().join(name), bytes).unwrap();
        format!("source.path={}", folder.path(name))
    };
    let line = folder.refused(1, &[&write("latin.txt", b"\xfcber\n")]);
    assert!(
        line.contains("latin.txt") && line.contains("line 1 is not UTF-8"),
        "{line}"
    );
    let line = folder.refused(1, &[&write("empty.txt", b"\n  \n")]);
    assert!(line.contains("`path` holds no text"), "{line}");
    let line = folder.refused(1, &["source.path=nowhere/*.txt"]);
    assert!(line.contains("matches no file"), "{line}");
    let line = folder.refused(1, &["source.context=9", "source.long_documents=refuse"]);
    assert!(
        line.contains("`long_documents`") && line.contains("line 1 has more than the 8 tokens"),
        "{line}"
    );
    let line = folder.refused(1, &["source.context=4096", "source.fill=packed"]);
    // Three documents do not fill a window longer than the context of the model.
    assert!(line.contains("`context`") || line.contains("holds"), "{line}");
    let line = folder.refused(2, &["dtype=f8"]);
    assert!(line.contains("f8") && line.contains("bf16"), "{line}");
    let line = folder.refused(2, &["special_tokens=maybe"]);
    assert!(line.contains("maybe"), "{line}");
}
