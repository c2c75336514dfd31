//! A folder in memory for the file that is read and what stands beside it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder that is removed with it.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let made = match memory.is_dir() {
            true => TempDir::with_prefix_in("saelab-fuzz-", memory),
            false => TempDir::with_prefix("saelab-fuzz-"),
        };
        Self(made.expect("there is room for a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, whose folder is made.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder can be made");
        }
        fs::write(&path, bytes).expect("a file can be written");
        path
    }
}

/// A file of this repository.
pub(crate) fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The bytes of a file.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| unreadable(path, &error))
}

/// The entries of a folder of this repository, sorted.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| unreadable(folder, &error));
    let mut found: Vec<PathBuf> = listed.filter_map(Result::ok).map(|entry| entry.path()).collect();
    found.sort();
    found
}

#[expect(clippy::panic, reason = "a file of the repository is missing")]
fn unreadable<T>(path: &Path, error: &std::io::Error) -> T {
    panic!("{}: {error}", path.display())
}
