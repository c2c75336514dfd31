//! Hashes by which dictionaries are known.

use std::path::{Path, PathBuf};

use dictionaries::Origin;

use crate::Result;
use crate::error::WithContext as _;

/// Hash of the files that make an autoencoder what it is.
pub(crate) fn hash_of_autoencoder(dir: &Path, origin: &Origin) -> Result<String> {
    hash_of(&files_of(dir, origin)?)
}

/// The files that make an autoencoder what it is; of a folder of another library all of them.
fn files_of(dir: &Path, origin: &Origin) -> Result<Vec<PathBuf>> {
    if let Origin::Trained(_) = origin {
        return Ok(["sae_weights.safetensors", "cfg.json"]
            .map(|file| dir.join(file))
            .to_vec());
    }
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot list {}", dir.display()))?;
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// Hash of the contents of all files.
pub(crate) fn hash_of(paths: &[PathBuf]) -> Result<String> {
    let mut all = String::new();
    for path in paths {
        all += &artifacts::sha256_file(path)?;
    }
    Ok(artifacts::sha256_hex(all.as_bytes()))
}
