//! `manifest.json`: what a store holds and what it was made from.

use std::collections::BTreeMap;
use std::path::Path;

use lm::HookPoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tasks::Role;

use super::claim::{self, Begun};
use super::layout::Shuffle;
use super::tokens::TokensEntry;
use crate::{Error, StoredDtype};

/// Name of the manifest in the store's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// What the stored numbers depend on; hashes are sha256, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hash of the model's weights and configuration.
    pub model_hash: String,
    /// Hash of the tokenizer.
    pub tokenizer_hash: String,
    /// All settings of the harvest, by the config's keys where there is one, with hashes of what was read. Two harvests are
    /// the same when these are equal.
    pub settings: Value,
}

/// Contents of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub format_version: u32,
    /// What the store was made from.
    pub provenance: Provenance,
    /// Type of the stored numbers.
    pub dtype: StoredDtype,
    /// Vectors per hook.
    pub rows: usize,
    /// Vectors per shard; the last shard of a hook may have fewer.
    pub rows_per_shard: usize,
    /// How rows were shuffled; `null`: they stand in the order of the source.
    pub shuffle: Option<Shuffle>,
    /// The semantic positions stored of each prompt, in the order of the rows; empty for text.
    pub roles: Vec<Role>,
    /// The tokens of the sequences that the model read.
    pub tokens: TokensEntry,
    /// The stored hooks.
    pub hooks: BTreeMap<HookPoint, HookEntry>,
    /// sha256 of the manifest as compact JSON with an empty string in this place, hexadecimal: a changed number is found.
    pub sha256: String,
}

/// The shards of one hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookEntry {
    /// Numbers per stored vector: all heads together.
    pub width: usize,
    /// Heads side by side in a vector; `null` for hooks without heads.
    pub heads: Option<usize>,
    /// The files, in the order of the rows.
    pub shards: Vec<ShardEntry>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Path inside the store's folder.
    pub file: String,
    /// Vectors in the file.
    pub rows: usize,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// sha256 of the file's bytes, hexadecimal: what the shard is.
    pub sha256: String,
    /// CRC-32C of the file's bytes: what a reader of the whole file checks.
    pub crc32c: u32,
    /// CRC-32C of the file's footer: what a reader of some row groups checks, beside the checksums of those in the footer.
    pub footer_crc32c: u32,
}

/// How far a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Files {
    /// Files that are in its folder.
    pub there: usize,
    /// Files of the whole store.
    pub of: usize,
    /// Whether the manifest, which is written last, is one of them.
    pub complete: bool,
}

impl Files {
    /// Looks for the files of the store in `dir`, and opens none but its settings; `None` where no harvest was begun.
    pub(super) fn find(dir: &Path) -> Result<Option<Self>, Error> {
        let begun = Begun::read(dir)?;
        Ok(begun.map(|begun| {
            let of = begun.files();
            Self {
                there: of - begun.missing(dir, 0).1,
                of,
                complete: dir.join(MANIFEST_FILE).exists(),
            }
        }))
    }
}

/// Path of a shard inside the store's folder.
pub(crate) fn shard_file(hook: HookPoint, shard: usize) -> String {
    format!("{hook}/{shard:05}.parquet")
}

impl Manifest {
    /// Reads and checks the manifest of the store in `dir`; also returns the sha256 of its bytes.
    pub(super) fn read(dir: &Path) -> Result<(Self, String), Error> {
        Self::find(dir)?.ok_or_else(|| unfinished(dir))
    }

    /// As [`Manifest::read`]; `None` where there is no manifest.
    pub(super) fn find(dir: &Path) -> Result<Option<(Self, String)>, Error> {
        let path = dir.join(MANIFEST_FILE);
        let Some(bytes) = claim::read_file(&path)? else {
            return Ok(None);
        };
        let bad = |reason: String| Error::BadManifest {
            path: path.clone(),
            reason,
        };
        // The version is read alone first: another version may have other fields.
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        claim::check_version(&path, &value)?;
        let manifest: Self = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok(Some((manifest, artifacts::sha256_hex(&bytes))))
    }

    /// The manifest with its own hash.
    pub(super) fn sealed(self) -> Result<Self, serde_json::Error> {
        let sha256 = self.seal()?;
        Ok(Self { sha256, ..self })
    }

    fn seal(&self) -> Result<String, serde_json::Error> {
        let unsealed = Self {
            sha256: String::new(),
            ..self.clone()
        };
        Ok(artifacts::sha256_hex(&serde_json::to_vec(&unsealed)?))
    }

    fn check(&self) -> Result<(), String> {
        let sealed = self.seal().map_err(|error| error.to_string())?;
        if self.sha256 != sealed {
            return Err("its contents do not have the sha256 that it names: it was changed".to_owned());
        }
        if self.rows_per_shard == 0 {
            return Err("shards of 0 rows".to_owned());
        }
        for (hook, entry) in &self.hooks {
            if entry.heads.is_some() != hook.has_heads()
                || entry.width == 0
                || !entry.width.is_multiple_of(entry.heads.unwrap_or(1).max(1))
            {
                return Err(format!("{hook}: {:?} heads in a width of {}", entry.heads, entry.width));
            }
            for (index, shard) in entry.shards.iter().enumerate() {
                if shard.file != shard_file(*hook, index) {
                    return Err(format!("{hook}: shard {index} is named {}", shard.file));
                }
            }
            let mut left = self.rows;
            for shard in &entry.shards {
                if shard.rows != left.min(self.rows_per_shard) {
                    return Err(format!("{hook}: {} has {} rows", shard.file, shard.rows));
                }
                left -= shard.rows;
            }
            if left > 0 {
                return Err(format!("{hook}: its shards hold {left} of {} rows too few", self.rows));
            }
        }
        Ok(())
    }
}

/// The error of a folder without a manifest: no folder, no store, or a store of which something is missing.
fn unfinished(dir: &Path) -> Error {
    const NAMED: usize = 3;
    let none = |reason: &str| Error::NoStore {
        path: dir.to_owned(),
        reason: reason.to_owned(),
    };
    if !dir.is_dir() {
        return none(match dir.exists() {
            true => "is a file, not the folder of a store",
            false => "no such folder",
        });
    }
    match Begun::read(dir) {
        Err(error) => error,
        Ok(None) => none("holds neither a manifest.json nor a harvest.json, so it is not the folder of a store"),
        Ok(Some(begun)) => {
            let (first, count) = begun.missing(dir, NAMED);
            let more = match count.saturating_sub(first.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Error::Incomplete {
                path: dir.to_owned(),
                missing: format!("{}{more}", first.join(", ")),
            }
        }
    }
}
