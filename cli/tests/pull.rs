//! `saelab model pull` against hubs on this machine: honest, refusing, breaking off, lying, sending on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod hub;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::hub::{COMMIT, Fault, Server, sha256};
use common::{saelab, succeeds};

const TOKEN: &str = "hf_secretsecretsecret";

/// A home of Hugging Face's libraries, and what a pull into it says.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A command that knows this home, this hub and a token, and nothing of the real ones.
    fn command(&self, hub: &str, arguments: &[&str]) -> Command {
        let mut command = saelab(arguments);
        for (name, _) in std::env::vars() {
            if name.starts_with("HF_") || name.to_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command
            .env("HF_HOME", self.0.path())
            .env("HF_ENDPOINT", hub)
            .env("HF_TOKEN", TOKEN);
        command
    }

    fn pull(&self, hub: &str) -> Output {
        self.command(hub, &["model", "pull", "owner/model"]).output().unwrap()
    }

    /// The one line with which a pull ends that fails.
    fn refused(&self, hub: &str) -> String {
        refusal(&self.pull(hub))
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("hub/models--owner--model")
    }

    fn snapshot(&self) -> PathBuf {
        self.cache().join("snapshots").join(COMMIT)
    }

    /// Whether the snapshot holds what the hub holds, and nothing is left over.
    fn holds(&self, files: &BTreeMap<String, Vec<u8>>) {
        for (name, bytes) in files {
            assert!(&std::fs::read(self.snapshot().join(name)).unwrap() == bytes, "{name}");
        }
        assert_eq!(names(&self.snapshot()).len(), files.len());
        assert_eq!(names(&self.cache().join("blobs")).len(), files.len());
        assert_eq!(std::fs::read_to_string(self.cache().join("refs/main")).unwrap(), COMMIT);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    assert!(!said.contains(TOKEN) && !said.contains("signature"), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(
        errors.len() == 1 && said.ends_with(&format!("{}\n", errors[0])),
        "{said}"
    );
    errors[0].to_owned()
}

/// A model whose files are invented; the weights are large enough to come in several pieces.
fn model() -> BTreeMap<String, Vec<u8>> {
    let weights = (0..3_000_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    [
        ("config.json", hub::CONFIG.as_bytes().to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
        ("model.safetensors", weights),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

#[test]
fn a_model_comes_whole_and_only_once() {
    let (hub, home) = (Server::hub(model()), Home::new());
    let output = home.pull(hub.address());
    let folder = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(Path::new(folder.trim_end()), home.snapshot());
    let said = succeeds(output);
    assert!(
        said.contains("3 files, 3.0 MB to fetch") && !said.contains(TOKEN),
        "{said}"
    );
    home.holds(&model());
    let weights = std::fs::read_link(home.snapshot().join("model.safetensors")).unwrap();
    assert_eq!(
        weights,
        Path::new("../../blobs").join(sha256(&model()["model.safetensors"]))
    );
    assert!(
        hub.requests()
            .iter()
            .all(|request| request.token.as_deref() == Some(&format!("Bearer {TOKEN}")))
    );
    assert_eq!(hub.bytes_of("model.safetensors"), 3_000_000);

    // Again: asked for, and found to be here.
    let said = succeeds(home.pull(hub.address()));
    assert!(said.contains("0.0 MB to fetch"), "{said}");
    assert_eq!(hub.bytes_of("model.safetensors"), 3_000_000);
    // A blob that something has damaged is fetched anew.
    std::fs::write(home.snapshot().join("model.safetensors"), b"damaged").unwrap();
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    // Without HF_TOKEN the token of a login is used, and without both none.
    for (login, expected) in [(Some("of-login\n"), Some("Bearer of-login".to_owned())), (None, None)] {
        let home = Home::new();
        if let Some(token) = login {
            std::fs::write(home.0.path().join("token"), token).unwrap();
        }
        let hub = Server::hub(model());
        let mut command = home.command(hub.address(), &["model", "pull", "owner/model"]);
        succeeds(command.env_remove("HF_TOKEN").output().unwrap());
        assert!(hub.requests().iter().all(|request| request.token == expected));
    }
}

#[test]
fn a_model_with_a_tokenizer_in_two_files_and_a_revision() {
    let mut files = model();
    files.remove("tokenizer.json");
    files.insert("vocab.json".into(), b"{\"a\": 0}".to_vec());
    files.insert("merges.txt".into(), b"#version: 0.2\n".to_vec());
    files.insert("tokenizer_config.json".into(), b"{}".to_vec());
    let (hub, home) = (Server::hub(files.clone()), Home::new());
    succeeds(home.pull(hub.address()));
    home.holds(&files);
    // Of a commit, which has no name under refs/; of a branch with a slash in its name.
    for revision in [COMMIT, "refs/pr/1"] {
        let home = Home::new();
        let arguments = ["model", "pull", "owner/model", "--revision", revision];
        succeeds(home.command(hub.address(), &arguments).output().unwrap());
        let expected = if revision == COMMIT {
            vec![]
        } else {
            vec!["refs".to_owned()]
        };
        assert_eq!(names(&home.cache().join("refs")), expected);
        succeeds(
            home.command(hub.address(), &arguments)
                .env("HF_HUB_OFFLINE", "1")
                .output()
                .unwrap(),
        );
    }
    // What can be no name is a wrong command line.
    for name in ["../model", "a/b/c"] {
        let output = home.command(hub.address(), &["model", "pull", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn the_token_stays_with_the_hub() {
    // As the hub does it: large files lie with another host, whose addresses are signed; small ones are sent on within.
    let storage = Server::storage(model());
    let (hub, home) = (Server::hub(model()), Home::new());
    hub.fault("model.safetensors", Fault::SentOn(storage.address().to_owned()));
    hub.fault("config.json", Fault::SentOnWithin);
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    assert!(hub.requests().iter().all(|request| request.token.is_some()));
    let asked = storage.requests();
    assert!(asked.len() == 1 && asked[0].token.is_none(), "{asked:?}");

    // A storage host that refuses, or is gone: only its name is told, the signed address is not.
    let home = Home::new();
    storage.fault("model.safetensors", Fault::Status(403, ""));
    let line = home.refused(hub.address());
    assert!(
        line.contains(storage.host()) && line.contains("answers 403; the hub keeps the file there"),
        "{line}"
    );
    let gone = Server::storage(model());
    hub.fault("model.safetensors", Fault::SentOn(gone.address().to_owned()));
    let host = gone.host().to_owned();
    drop(gone);
    let line = home.refused(hub.address());
    assert!(line.contains(&host) && line.contains("cannot be reached"), "{line}");
    // An endless ring.
    hub.fault("config.json", Fault::Ring);
    assert!(home.refused(hub.address()).contains("on and on"));
}

#[test]
fn refusals_are_named_and_harm_nothing() {
    let (hub, home) = (Server::hub(model()), Home::new());
    succeeds(home.pull(hub.address()));
    for (status, code, part) in [
        (401, "", "the token is refused"),
        (403, "GatedRepo", "terms must be accepted"),
        (404, "RepoNotFound", "knows no model of that name"),
        (404, "RevisionNotFound", "knows no such revision"),
        (404, "EntryNotFound", "has no file config.json"),
        (404, "", "has no file config.json"),
        (429, "", "too many requests"),
        (500, "", "answers 500; the fault is there"),
        (503, "", "answers 503"),
        (418, "", "answers 418"),
    ] {
        hub.fault("config.json", Fault::Status(status, code));
        let line = home.refused(hub.address());
        assert!(
            line.starts_with("error: model owner/model: ") && line.contains(part),
            "{line}"
        );
        assert!(line.contains(hub.host()), "{line}");
        let empty = Home::new();
        empty.refused(hub.address());
        assert!(!empty.0.path().join("hub").exists());
    }
    let mut without = home.command(hub.address(), &["model", "pull", "owner/model"]);
    hub.fault("config.json", Fault::Status(401, ""));
    let line = refusal(&without.env_remove("HF_TOKEN").output().unwrap());
    assert!(line.contains("set HF_TOKEN"), "{line}");
    // In the middle: the small files are here, the weights are not, and so there is no model.
    hub.fault("config.json", Fault::None);
    let middle = Home::new();
    for status in [500, 404] {
        hub.fault("model.safetensors", Fault::OnlyHead(status));
        middle.refused(hub.address());
        assert!(!middle.cache().join("refs").exists());
    }
    // What was here all the time is as it was.
    home.holds(&model());
    hub.fault("model.safetensors", Fault::None);
    succeeds(middle.pull(hub.address()));
    middle.holds(&model());
    // Nobody there.
    let address = hub.address().to_owned();
    drop(hub);
    let line = home.refused(&address);
    assert!(
        line.contains("cannot be reached") && line.contains("HF_HUB_OFFLINE=1"),
        "{line}"
    );
}

#[test]
fn half_a_file_is_gone_on_with() {
    let (hub, home) = (Server::hub(model()), Home::new());
    hub.fault("model.safetensors", Fault::Half);
    let line = home.refused(hub.address());
    assert!(line.contains("broke off after 1500000 of 3000000 bytes"), "{line}");
    assert!(!home.snapshot().join("model.safetensors").exists() && !home.cache().join("refs").exists());
    hub.fault("model.safetensors", Fault::None);
    let said = succeeds(home.pull(hub.address()));
    assert!(said.contains("1.5 MB to fetch"), "{said}");
    home.holds(&model());
    assert_eq!(hub.bytes_of("model.safetensors"), 3_000_000);

    // A host that cannot go on sends the whole again.
    let home = Home::new();
    hub.fault("model.safetensors", Fault::Half);
    home.refused(hub.address());
    hub.fault("model.safetensors", Fault::NoRanges);
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    // All bytes are here, and only the name is missing; then too many.
    for extra in [0, 10] {
        let part = home.cache().join("blobs").join(sha256(&model()["model.safetensors"]));
        let mut bytes = std::fs::read(&part).unwrap();
        bytes.extend(vec![0; extra]);
        std::fs::write(part.with_added_extension("incomplete"), bytes).unwrap();
        std::fs::remove_file(&part).unwrap();
        let before = hub.bytes_of("model.safetensors");
        succeeds(home.pull(hub.address()));
        home.holds(&model());
        assert_eq!(
            hub.bytes_of("model.safetensors") - before,
            if extra == 0 { 0 } else { 3_000_000 }
        );
    }
}

#[test]
fn other_bytes_than_announced_are_refused() {
    let (hub, home) = (Server::hub(model()), Home::new());
    for file in ["config.json", "model.safetensors"] {
        for fault in [Fault::OtherBytes, Fault::TooMany] {
            hub.fault(file, fault);
            let line = home.refused(hub.address());
            assert!(line.contains(file) && line.contains("the hub announced"), "{line}");
            assert!(!home.snapshot().join(file).exists() && !home.cache().join("refs").exists());
            let left = names(&home.cache().join("blobs"));
            assert!(left.iter().all(|name| !name.ends_with("incomplete")), "{left:?}");
        }
        hub.fault(file, Fault::None);
    }
    // The beginning of something else under the name of a half file: found out, and the next pull begins anew.
    let part = format!("{}.incomplete", sha256(&model()["model.safetensors"]));
    std::fs::write(home.cache().join("blobs").join(part), vec![7; 1000]).unwrap();
    assert!(home.refused(hub.address()).contains("nothing of it is kept"));
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    // A hub that does not say what its bytes are, or says what would lead out of the folder.
    for etag in ["", "\"xyz\"", "\"../../../escaped\""] {
        let home = Home::new();
        hub.fault("config.json", Fault::Etag(etag));
        assert!(home.refused(hub.address()).contains("gives no hash"));
        assert!(!home.0.path().join("hub").exists());
    }
}

/// A model in two shards, and in the form of a single file.
fn sharded() -> BTreeMap<String, Vec<u8>> {
    let mut files = model();
    let weights = files.remove("model.safetensors").unwrap();
    let names = [1, 2].map(|i| format!("model-0000{i}-of-00002.safetensors"));
    let index = serde_json::json!({"metadata": {}, "weight_map": {"a": names[0], "b": names[1], "c": names[0]}});
    files.insert("model.safetensors.index.json".into(), index.to_string().into_bytes());
    for (name, part) in names.into_iter().zip(weights.chunks(1_600_000)) {
        files.insert(name, part.to_vec());
    }
    files
}

#[test]
fn shards_come_with_their_index() {
    let (hub, home) = (Server::hub(sharded()), Home::new());
    let shard = "model-00002-of-00002.safetensors";
    // The index is here, and a shard breaks off: there is no model yet.
    hub.fault(shard, Fault::Half);
    assert!(home.refused(hub.address()).contains(shard));
    assert!(!home.cache().join("refs").exists());
    hub.fault(shard, Fault::None);
    let said = succeeds(home.pull(hub.address()));
    assert!(said.contains("5 files, 0.7 MB to fetch"), "{said}");
    home.holds(&sharded());
    let offline = |home: &Home| {
        let mut command = home.command(hub.address(), &["model", "pull", "owner/model"]);
        command.env("HF_HUB_OFFLINE", "1").output().unwrap()
    };
    succeeds(offline(&home));
    // A shard that is missing, and one that the hub does not have.
    std::fs::remove_file(home.snapshot().join(shard)).unwrap();
    assert!(refusal(&offline(&home)).contains("not whole"));
    hub.fault(shard, Fault::Status(404, "EntryNotFound"));
    assert!(home.refused(hub.address()).contains(&format!("has no file {shard}")));
    // One file is fetched where the hub has both.
    let mut both = model();
    both.extend(sharded());
    let (hub, home) = (Server::hub(both), Home::new());
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    // An index that leads out of the folder is not followed.
    for name in [
        "../../../../escaped.safetensors",
        "/escaped.safetensors",
        "a%2Fb.safetensors",
        "config.json",
    ] {
        let mut files = sharded();
        let index = serde_json::json!({"weight_map": {"a": name}});
        files.insert("model.safetensors.index.json".into(), index.to_string().into_bytes());
        let (hub, home) = (Server::hub(files), Home::new());
        let line = home.refused(hub.address());
        assert!(line.contains("is no name of a safetensors file beside it"), "{line}");
        assert!(hub.requests().len() < 10 && !home.cache().join("refs").exists());
    }
}

/// The files of a micro model of `lm/tests/fixtures/families`, with its weights in two shards or in one file.
fn of_family(folder: &Path, in_shards: bool) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = [
        ("config.json", read("config.json")),
        ("tokenizer.json", b"{}".to_vec()),
        ("chat_template.jinja", b"{{ messages }}".to_vec()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into();
    if !in_shards {
        files.insert("model.safetensors".into(), read("model.safetensors"));
        return files;
    }
    let tensors = artifacts::read_tensors(&folder.join("model.safetensors")).unwrap();
    let work = tempfile::tempdir().unwrap();
    let mut weight_map = BTreeMap::new();
    for part in 0..2 {
        let name = format!("model-0000{}-of-00002.safetensors", part + 1);
        let of_part: BTreeMap<_, _> = tensors.clone().into_iter().skip(part).step_by(2).collect();
        weight_map.extend(of_part.keys().map(|tensor| (tensor.clone(), name.clone())));
        let path = work.path().join(&name);
        artifacts::write_tensors(&path, &of_part, &BTreeMap::new()).unwrap();
        files.insert(name, std::fs::read(path).unwrap());
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": weight_map});
    files.insert("model.safetensors.index.json".into(), index.to_string().into_bytes());
    files
}

#[test]
fn models_of_all_families_come_whole_and_in_shards_and_run() {
    let families = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/families");
    for (i, family) in names(&families).into_iter().enumerate() {
        let folder = families.join(&family);
        let files = of_family(&folder, i % 2 == 1);
        let (hub, home) = (Server::hub(files.clone()), Home::new());
        succeeds(home.pull(hub.address()));
        home.holds(&files);
        let (expected, out) = (
            folder.join("expected.safetensors"),
            home.0.path().join("out.safetensors"),
        );
        let mut trace = home.command(hub.address(), &["trace", "owner/model", "--hooks", "logits"]);
        trace.arg("--ids").arg(&expected).arg("--out").arg(&out);
        succeeds(trace.output().unwrap());
        let read = |path: &Path| artifacts::read_tensors(path).unwrap().remove("logits").unwrap();
        let (found, expected) = (read(&out), read(&expected));
        assert_eq!(found.shape, expected.shape, "{family}");
        let largest = expected.data.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        for (found, expected) in found.data.iter().zip(&expected.data) {
            assert!(
                (found - expected).abs() < 1e-4 * largest,
                "{family}: {found} {expected}"
            );
        }
    }
}

#[test]
fn a_model_that_cannot_run_is_refused_before_its_weights_come() {
    let config = |text: &str| {
        let mut files = model();
        files.insert("config.json".into(), text.as_bytes().to_vec());
        files
    };
    for (text, part) in [
        (r#"{"model_type": "mamba"}"#, "mamba"),
        (r#"{"n_layer": 12}"#, "n_head"),
        ("{", "config.json"),
    ] {
        let (hub, home) = (Server::hub(config(text)), Home::new());
        let line = home.refused(hub.address());
        assert!(line.contains(part) && line.contains("config.json"), "{line}");
        assert!(!home.cache().join("refs").exists());
        assert_eq!(hub.bytes_of("model.safetensors") + hub.bytes_of("tokenizer.json"), 0);
    }
    // Forms that are not read.
    for (missing, part) in [
        ("model.safetensors", "are its weights safetensors"),
        ("tokenizer.json", "nor vocab.json with merges.txt"),
    ] {
        let mut files = model();
        files.remove(missing);
        let (hub, home) = (Server::hub(files), Home::new());
        let line = home.refused(hub.address());
        assert!(
            line.contains(&format!("has no file {missing}")) && line.contains(part),
            "{line}"
        );
    }
}

#[test]
fn a_host_that_drips_is_given_up() {
    let (hub, home) = (Server::hub(model()), Home::new());
    hub.fault("model.safetensors", Fault::Drip);
    let start = std::time::Instant::now();
    let mut command = home.command(hub.address(), &["model", "pull", "owner/model"]);
    let line = refusal(&command.env("HF_HUB_DOWNLOAD_TIMEOUT", "2").output().unwrap());
    assert!(line.contains("fewer than 1000 bytes a second"), "{line}");
    assert!(start.elapsed().as_secs() < 20);
    // What came is kept.
    hub.fault("model.safetensors", Fault::None);
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    assert_eq!(hub.requests().iter().filter(|request| request.is_part).count(), 1);
}

/// All names under a folder, with the time of their last change.
fn listing(dir: &Path) -> BTreeMap<PathBuf, std::time::SystemTime> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            found.extend(listing(&path));
        }
        found.insert(path, metadata.modified().unwrap());
    }
    found
}

#[test]
fn a_cache_that_is_whole_is_not_written_to() {
    let (hub, home) = (Server::hub(model()), Home::new());
    succeeds(home.pull(hub.address()));
    // As another user's cache may be: without the folder of locks.
    std::fs::remove_dir_all(home.0.path().join("hub/.locks")).unwrap();
    let before = listing(home.0.path());
    succeeds(home.pull(hub.address()));
    assert!(listing(home.0.path()) == before);
    // A copy without links, as Windows or `cp -L` makes it.
    for name in model().keys() {
        let path = home.snapshot().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    std::fs::remove_dir_all(home.cache().join("blobs")).unwrap();
    let before = listing(home.0.path());
    succeeds(home.pull(hub.address()));
    assert!(listing(home.0.path()) == before);
    assert_eq!(hub.bytes_of("model.safetensors"), 3_000_000);
}

#[test]
fn without_locks_every_pull_has_a_file_of_its_own() {
    let (hub, home) = (Server::hub(model()), Home::new());
    // No lock can be had: there is a file where their folder would be.
    std::fs::create_dir_all(home.0.path().join("hub")).unwrap();
    std::fs::write(home.0.path().join("hub/.locks"), "").unwrap();
    hub.fault("model.safetensors", Fault::Slow);
    let start = || {
        let mut command = home.command(hub.address(), &["model", "pull", "owner/model"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children = [start(), start(), start()];
    for child in children {
        let said = succeeds(child.wait_with_output().unwrap());
        assert_eq!(said.matches("gives no lock").count(), 1, "{said}");
    }
    home.holds(&model());
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_pull_has_fetched_is_continued_and_a_living_one_is_left_alone() {
    let (hub, home) = (Server::hub(model()), Home::new());
    hub.fault("model.safetensors", Fault::Drip);
    let mut child = home
        .command(hub.address(), &["model", "pull", "owner/model"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let blobs = home.cache().join("blobs");
    let parts = || -> Vec<(String, u64)> {
        let named = names(&blobs).into_iter().filter(|name| name.ends_with(".incomplete"));
        let size = |name: &String| std::fs::metadata(blobs.join(name)).map_or(0, |metadata| metadata.len());
        named.map(|name| (name.clone(), size(&name))).collect()
    };
    while parts().first().is_none_or(|(_, size)| *size < 50) {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // It lives: another pull begins a file of its own (as on a disk whose locks do nothing), and leaves that one.
    std::fs::remove_dir_all(home.0.path().join("hub/.locks")).unwrap();
    let part = parts()[0].0.clone();
    hub.fault("model.safetensors", Fault::Half);
    home.refused(hub.address());
    assert!(parts().iter().any(|(name, _)| *name == part), "{:?}", parts());
    // The half file of the second is gone; the first is killed, and the third pull goes on with what it had.
    for (name, _) in parts().iter().filter(|(name, _)| *name != part) {
        std::fs::remove_file(blobs.join(name)).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    hub.fault("model.safetensors", Fault::None);
    let before = hub.bytes_of("model.safetensors");
    succeeds(home.pull(hub.address()));
    home.holds(&model());
    assert!(hub.bytes_of("model.safetensors") - before < 3_000_000);
    // Ended by Ctrl-C a pull leaves what it has under the name that every process continues, in another container too.
    std::fs::remove_file(blobs.join(sha256(&model()["model.safetensors"]))).unwrap();
    hub.fault("model.safetensors", Fault::Drip);
    let mut command = home.command(hub.address(), &["model", "pull", "owner/model"]);
    let child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    while parts().first().is_none_or(|(_, size)| *size < 50) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let status = Command::new("bash")
        .args(["-c", &format!("kill -INT {}", child.id())])
        .status();
    assert!(status.unwrap().success());
    assert!(refusal(&child.wait_with_output().unwrap()).contains("interrupted"));
    let left: Vec<String> = parts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, [format!("{}.incomplete", sha256(&model()["model.safetensors"]))]);
}

#[test]
fn a_blob_that_was_cut_is_found_with_and_without_the_network() {
    let (hub, home) = (Server::hub(model()), Home::new());
    succeeds(home.pull(hub.address()));
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let path = home.snapshot().join(name);
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[whole.len() / 2] ^= 1;
        for bytes in [&whole[..whole.len() - 1], &[&whole[..], &[0]].concat(), &changed] {
            std::fs::write(&path, bytes).unwrap();
            for (arguments, offline) in [
                (vec!["model", "pull", "owner/model"], "1"),
                (vec!["behaviours", "owner/model"], "0"),
            ] {
                let output = home
                    .command(hub.address(), &arguments)
                    .env("HF_HUB_OFFLINE", offline)
                    .output();
                let line = refusal(&output.unwrap());
                assert!(
                    line.contains(&format!("owner/model: {name} in the cache")) && line.contains("damaged"),
                    "{line}"
                );
            }
            succeeds(home.pull(hub.address()));
            home.holds(&model());
        }
    }
}

#[test]
fn offline_the_cache_is_enough() {
    let (hub, home) = (Server::hub(model()), Home::new());
    succeeds(home.pull(hub.address()));
    let asked = hub.requests().len();
    let offline = |home: &Home| {
        let mut command = home.command(hub.address(), &["model", "pull", "owner/model"]);
        command.env("HF_HUB_OFFLINE", "1").output().unwrap()
    };
    let output = offline(&home);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim_end(),
        home.snapshot().to_string_lossy()
    );
    let line = refusal(&offline(&Home::new()));
    assert!(
        line.contains("owner/model") && line.contains("HF_HUB_OFFLINE"),
        "{line}"
    );
    std::fs::remove_file(home.snapshot().join("tokenizer.json")).unwrap();
    assert!(refusal(&offline(&home)).contains("not whole"));
    assert_eq!(hub.requests().len(), asked);
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let (hub, home) = (Server::hub(model()), Home::new());
    hub.fault("model.safetensors", Fault::Slow);
    let start = || {
        home.command(hub.address(), &["model", "pull", "owner/model"])
            .spawn()
            .unwrap()
    };
    for mut child in [start(), start()] {
        assert!(child.wait().unwrap().success());
    }
    home.holds(&model());
    assert_eq!(hub.bytes_of("model.safetensors"), 3_000_000);
}

#[test]
fn a_pulled_model_is_known_by_its_name() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let file = |name: &str| (name.to_owned(), std::fs::read(shipped.join(name)).unwrap());
    let files = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "model.safetensors",
    ]
    .map(file);
    let (hub, home) = (Server::hub(files.into()), Home::new());
    let harvest = |model: &str, out: &Path| {
        let (model, out) = (format!("model={model}"), out.to_string_lossy().into_owned());
        let arguments = [
            "harvest",
            "configs/quality/harvest-text.toml",
            "--set",
            "source.documents=20",
            "--out",
            &out,
        ];
        home.command(hub.address(), &arguments)
            .args(["--set", &model])
            .output()
            .unwrap()
    };
    let (by_name, by_folder) = (home.0.path().join("name"), home.0.path().join("folder"));
    let line = refusal(&harvest("owner/model", &by_name));
    assert!(line.contains("`saelab model pull owner/model` fetches it"), "{line}");
    succeeds(home.pull(hub.address()));
    succeeds(harvest("owner/model", &by_name));
    succeeds(harvest("models/small-world", &by_folder));
    let manifest = std::fs::read_to_string(by_name.join("manifest.json")).unwrap();
    assert!(!manifest.contains(TOKEN));
    assert_eq!(
        manifest,
        std::fs::read_to_string(by_folder.join("manifest.json")).unwrap()
    );
}
