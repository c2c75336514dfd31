//! Records which sources the program was built from, so that what it writes can say so, and results of other code are not reused;
//! and reads the keys of configs out of them.
//!
//! `SAELAB_SOURCES` is a digest of all that is compiled in this workspace, also where there is no git; `SAELAB_GIT_REVISION`
//! is the commit, with `-dirty` where the sources differ from it, and is not set outside git.

#[path = "build/config_keys.rs"]
mod config_keys;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("the crate lies in no workspace")?;
    let mut files = vec![root.join("Cargo.toml"), root.join("Cargo.lock")];
    let mut watched = files.clone();
    let mut crates = Vec::new();
    for entry in fs::read_dir(root)? {
        let folder = entry?.path();
        let of_crate = ["Cargo.toml", "build.rs", "build", "src"].map(|name| folder.join(name));
        if of_crate[0].is_file() {
            let name = entry_name(&folder);
            // The examples are programs only.
            crates.extend(folder.join("src").is_dir().then(|| (name, folder.join("src"))));
            let there = of_crate.into_iter().filter(|path| path.exists());
            for path in there {
                collect(&path, &mut files)?;
                watched.push(path);
            }
        }
    }
    // It reads the same files as the program, with types of its own.
    crates.retain(|(name, _)| name != "fuzz");
    crates.sort();
    let keys = Path::new(&std::env::var("OUT_DIR")?).join("config_keys.rs");
    fs::write(keys, config_keys::generate(&crates)?)?;
    println!("cargo::rustc-env=SAELAB_SOURCES={}", digest(root, &mut files)?);
    println!(
        "cargo::rustc-env=SAELAB_GIT_REVISION={}",
        revision(root, &watched).unwrap_or_default()
    );
    // A commit moves the head without touching a source; git appends to its log.
    let of_git = ["HEAD", "logs/HEAD"].map(|name| git(root, &["rev-parse", "--git-path", name]));
    let of_git = of_git
        .into_iter()
        .flatten()
        .map(|path| root.join(path))
        .filter(|path| path.exists());
    // A folder is watched with all that is in it.
    for path in watched.into_iter().chain(of_git) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Ok(())
}

/// The name of a crate, which is that of its folder.
fn entry_name(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_default()
}

/// All files under `path`, or `path` itself.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// SHA-256 of the names and bytes of `files`, whatever the folder of the workspace is called.
fn digest(root: &Path, files: &mut [PathBuf]) -> io::Result<String> {
    files.sort();
    let mut all = Sha256::new();
    for path in files {
        let name = path
            .strip_prefix(root)
            .unwrap_or(path)
            .to_string_lossy()
            .replace('\\', "/");
        // Each part has a fixed length or says it, so no other names and bytes come to the same.
        let bytes = fs::read(path)?;
        all.update(Sha256::digest(name));
        all.update(Sha256::digest(bytes));
    }
    Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The commit that is checked out, if git knows these sources.
fn revision(root: &Path, sources: &[PathBuf]) -> Option<String> {
    let commit = git(root, &["rev-parse", "--verify", "HEAD"])?;
    // A copy of the sources inside another repository is not of that one's commit.
    git(root, &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let status = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["--no-optional-locks", "status", "--porcelain", "--"])
        .args(sources)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let dirty = if status.stdout.is_empty() { "" } else { "-dirty" };
    Some(format!("{commit}{dirty}"))
}

/// What git says in one line.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}
