//! What `saelab harvest` makes of documents and says of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::Output;

use common::{saelab, succeeds};

const TEXT: &str = "Then, John dreamed of Afghanistan.";

/// A harvest of `path` with more settings.
fn harvest(folder: &Path, path: &str, out: &str, more: &[&str]) -> Output {
    let config = folder.join("harvest.toml");
    let toml = "model = \"models/small-world\"\nhooks = [\"blocks.0.hook_resid_pre\"]\n[source]\nkind = \"text\"\ncontext = 32\n";
    std::fs::write(&config, toml).unwrap();
    let (config, out) = (config.to_string_lossy(), folder.join(out));
    let path = format!("source.path={path}");
    let mut arguments = vec![
        "harvest",
        &config,
        "--no-progress",
        "--set",
        &path,
        "--out",
        out.to_str().unwrap(),
    ];
    arguments.extend(more.iter().flat_map(|set| ["--set", set]));
    saelab(&arguments).output().unwrap()
}

/// The one line and the exit code of a harvest that ends with an error.
fn fails(output: Output) -> (String, Option<i32>) {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.lines().count() == 1, "{said}");
    (said, output.status.code())
}

#[test]
fn notes_and_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let json = format!("{{\"text\": \"{TEXT}\", \"n\": 1e999}}\n{{\"text\"\n");
    let json = write("a.jsonl", &json);
    let (said, code) = fails(harvest(folder.path(), &json, "a", &[]));
    assert!(
        code == Some(1) && said.contains("a.jsonl: line 2 is not JSON"),
        "{said}"
    );
    let skip = &["source.on_bad_line=skip"];
    let said = succeeds(harvest(folder.path(), &json, "a", skip));
    assert!(
        said.contains("harvest: unreadable lines skipped: 1; the first: "),
        "{said}"
    );
    let said = succeeds(harvest(folder.path(), &format!("[\"{json}\", \"{json}\"]"), "a", skip));
    assert!(
        said.contains("a.jsonl is named more than once, and is read once"),
        "{said}"
    );
    let special = write("special.txt", &format!("{TEXT}\n{TEXT}<|endoftext|>\n"));
    let (said, code) = fails(harvest(folder.path(), &special, "b", &[]));
    assert!(
        code == Some(1) && said.contains("special.txt: line 2 cannot be encoded"),
        "{said}"
    );
    assert!(said.contains("it spells the special token <|endoftext|>"), "{said}");
    let (said, code) = fails(harvest(folder.path(), "", "b", &[]));
    assert!(code == Some(2) && said.contains("`path` is empty"), "{said}");
}
