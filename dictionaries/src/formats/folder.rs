//! How the files of an autoencoder come into its folder: its weights last, so that a folder without them is none.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use artifacts::HostTensor;
use serde::Serialize;

use crate::Error;

/// A file's name and its bytes.
pub(crate) type File = (&'static str, Vec<u8>);

/// Says where an autoencoder of this project comes from, beside SAELens's files; dictionary_learning's configuration has this name too.
pub(crate) const SAELAB_CONFIG: &str = "config.json";
/// SAELens's configuration.
pub(crate) const SAELENS_CONFIG: &str = "cfg.json";
/// Scales of inputs beside it.
pub(super) const SAELENS_SCALER: &str = "activation_scaler.json";
/// SAELens's weights.
pub(crate) const SAELENS_WEIGHTS: &str = "sae_weights.safetensors";
/// sparsify's weights.
pub(super) const SPARSIFY_WEIGHTS: &str = "sae.safetensors";
/// dictionary_learning's configuration.
pub(super) const DICTIONARY_LEARNING_CONFIG: &str = "config.json";
/// dictionary_learning's weights.
pub(super) const DICTIONARY_LEARNING_WEIGHTS: &str = "ae.pt";

/// Every file that some layout reads.
const KNOWN: [&str; 6] = [
    SAELENS_CONFIG,
    SAELENS_SCALER,
    SAELENS_WEIGHTS,
    SPARSIFY_WEIGHTS,
    DICTIONARY_LEARNING_CONFIG,
    DICTIONARY_LEARNING_WEIGHTS,
];

/// A file of indented JSON.
pub(crate) fn json<T: Serialize>(dir: &Path, name: &'static str, value: &T) -> Result<File, Error> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| artifacts::Error::Write {
        path: dir.join(name),
        cause: error.into(),
    })?;
    bytes.push(b'\n');
    Ok((name, bytes))
}

/// A file of tensors.
pub(super) fn safetensors(
    dir: &Path,
    name: &'static str,
    tensors: &BTreeMap<String, HostTensor>,
) -> Result<File, Error> {
    let bytes = artifacts::tensor_bytes(&dir.join(name), tensors, &BTreeMap::new())?;
    Ok((name, bytes))
}

/// Writes the files of an autoencoder into a folder that holds no other one. What an interrupted call with the same files
/// left there is finished; nothing is overwritten or removed.
///
/// # Errors
///
/// A folder that holds a file of another autoencoder; files that cannot be written.
pub(crate) fn write_beside(dir: &Path, new: &[File]) -> Result<(), Error> {
    let is_there = |name: &str| fs::symlink_metadata(dir.join(name)).is_ok();
    for name in KNOWN.into_iter().filter(|name| is_there(name)) {
        let ours = match new.iter().find(|(of, _)| *of == name) {
            Some((_, bytes)) => holds(&dir.join(name), bytes)?,
            None => false,
        };
        if !ours {
            return Err(Error::Occupied {
                path: dir.to_owned(),
                file: name,
            });
        }
    }
    // In the order of `new`: the weights last.
    for (name, bytes) in new.iter().filter(|(name, _)| !is_there(name)) {
        artifacts::write_atomic(&dir.join(name), |file| file.write_all(bytes))?;
    }
    Ok(())
}

/// Whether a file holds these bytes.
fn holds(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let same_length = fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == bytes.len() as u64);
    Ok(same_length && artifacts::read(path)? == bytes)
}

/// Writes the files of an autoencoder in the place of those that stand there. All are written under other names first, so
/// that a full disk leaves the old autoencoder; then its weights are removed and the new files renamed, the weights last.
///
/// # Errors
///
/// Files that cannot be written.
pub(crate) fn replace(dir: &Path, new: &[File]) -> Result<(), Error> {
    let staged = |name: &str| dir.join(format!(".partial-{name}"));
    for (name, bytes) in new {
        artifacts::write_atomic(&staged(name), |file| file.write_all(bytes))?;
    }
    if let Some((weights, _)) = new.last() {
        artifacts::remove_file(&dir.join(weights))?;
    }
    for (name, _) in new {
        let path = dir.join(name);
        fs::rename(staged(name), &path).map_err(|cause| artifacts::Error::Write { path, cause })?;
    }
    Ok(())
}
