//! The folders of a run.

use std::path::Path;

/// Names of the folders in `dir` that are not hidden, sorted; none when `dir` does not exist or cannot be listed.
pub(crate) fn folders(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
