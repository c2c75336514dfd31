//! Files that say what a folder of output is for. They are written before anything else in the folder, so that no other
//! work is mixed with it, also after a kill.

use std::io;
use std::path::{Path, PathBuf};

use lm::HookPoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layout::Layout;
use super::manifest::{MANIFEST_FILE, shard_file};
use super::shard::FORMAT_VERSION;
use super::tokens::TOKENS_FILE;
use crate::Error;

/// Name of the file in a store's folder that holds the settings of its harvest.
pub const SETTINGS_FILE: &str = "harvest.json";

/// Contents of `harvest.json`: what the store in the folder will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    format_version: u32,
    /// Vectors per hook.
    rows: usize,
    /// Vectors per shard.
    rows_per_shard: usize,
    hooks: Vec<HookPoint>,
    /// All settings of the harvest.
    settings: Value,
}

impl Begun {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            rows: layout.rows,
            rows_per_shard: layout.rows_per_shard,
            hooks: layout.hooks.keys().copied().collect(),
            settings: layout.provenance.settings.clone(),
        }
    }

    /// Reads the file in `dir`, if it is there.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(SETTINGS_FILE);
        let Some(value) = read_json(&path)? else {
            return Ok(None);
        };
        check_version(&path, &value)?;
        let begun: Self = serde_json::from_value(value).map_err(|error| bad(&path, error.to_string()))?;
        match begun.rows_per_shard {
            0 => Err(bad(&path, "shards of 0 rows".to_owned())),
            _ => Ok(Some(begun)),
        }
    }

    /// Whether this is the harvest of these settings; names the settings that differ.
    pub(super) fn check(&self, path: &Path, settings: &Value) -> Result<(), Error> {
        check_settings(path, &self.settings, settings)
    }

    /// Files of the finished store: the manifest, the tokens, and the shards of every hook.
    pub(super) fn files(&self) -> usize {
        2 + self.hooks.len() * self.rows.div_ceil(self.rows_per_shard)
    }

    /// The files of the store that are not in `dir`, at most so many of them, and their number.
    pub(super) fn missing(&self, dir: &Path, most: usize) -> (Vec<String>, usize) {
        let shards = self.rows.div_ceil(self.rows_per_shard);
        let files = self
            .hooks
            .iter()
            .flat_map(|&hook| (0..shards).map(move |shard| shard_file(hook, shard)));
        let missing = [MANIFEST_FILE, TOKENS_FILE]
            .map(str::to_owned)
            .into_iter()
            .chain(files)
            .filter(|file| !dir.join(file).exists());
        let (mut first, mut count) = (Vec::new(), 0);
        for file in missing {
            count += 1;
            if first.len() < most {
                first.push(file);
            }
        }
        (first, count)
    }
}

/// Refuses settings that differ from those found at `path`.
pub(super) fn check_settings(path: &Path, found: &Value, expected: &Value) -> Result<(), Error> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::OtherConfig {
            path: path.to_owned(),
            differences: artifacts::json_differences(found, expected),
        }),
    }
}

/// The JSON value in a file, if the file is there.
pub(super) fn read_json(path: &Path) -> Result<Option<Value>, Error> {
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(|error| bad(path, error.to_string()));
    read_file(path)?.map(parse).transpose()
}

/// The bytes of a file, if the file is there.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(Error::io(path, source)),
    }
}

/// Refuses files of another version of the format; the version is looked at before anything else, since another version may
/// have other fields.
pub(super) fn check_version(path: &Path, value: &Value) -> Result<(), Error> {
    match &value["format_version"] {
        version if *version == FORMAT_VERSION => Ok(()),
        version => Err(Error::WrongVersion {
            path: path.to_owned(),
            expected: FORMAT_VERSION,
            found: match version {
                Value::Null => "none".to_owned(),
                version => version.to_string(),
            },
        }),
    }
}

fn bad(path: &Path, reason: String) -> Error {
    Error::BadManifest {
        path: path.to_owned(),
        reason,
    }
}

/// Writes `value` as JSON to `path`, unless a file is there already ([`artifacts::write_new`]).
pub(super) fn write_new(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let failed = |error: serde_json::Error| artifacts::Error::write(path, error.into());
    let mut text = serde_json::to_vec_pretty(value).map_err(failed)?;
    text.push(b'\n');
    Ok(artifacts::write_new(path, &text)?)
}

/// The entries of a folder that are not hidden, sorted by name; none where there is no folder.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::io(dir, source);
    let read = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed)?,
    };
    let paths = read.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

/// The last part of a path.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        write_new(&path, &1).unwrap();
        write_new(&path, &2).unwrap();
        assert_eq!(read_json(&path).unwrap(), Some(Value::from(1)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(read_json(&folder.path().join("y.json")).unwrap(), None);
    }
}
