//! `manifest.json`: what a store holds and what it was made from.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lm::HookPoint;
use serde::{Deserialize, Serialize};
use tasks::Role;

use super::layout::Shuffle;
use super::shard::FORMAT_VERSION;
use crate::{Dtype, Error};

/// Name of the manifest in the store's folder.
pub const MANIFEST_FILE: &str = "manifest.json";

/// What the stored numbers depend on, by hash (sha256, hexadecimal).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hash of the model's weights and configuration.
    pub model_hash: String,
    /// Hash of the tokenizer.
    pub tokenizer_hash: String,
    /// Hash of everything that was asked for: source, hooks, roles, batch and shard size, model and tokenizer.
    pub config_hash: String,
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
    pub dtype: Dtype,
    /// Vectors per hook.
    pub rows: usize,
    /// Vectors per shard; the last shard of a hook may have fewer.
    pub rows_per_shard: usize,
    /// How rows were shuffled; `null`: they stand in the order of the source.
    pub shuffle: Option<Shuffle>,
    /// The semantic positions stored of each prompt, in the order of the rows; empty for text.
    pub roles: Vec<Role>,
    /// The stored hooks.
    pub hooks: BTreeMap<HookPoint, HookEntry>,
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
    /// sha256 of the file's bytes, hexadecimal: what the shard is.
    pub sha256: String,
    /// CRC-32C of the file's bytes: what every reader checks.
    pub crc32c: u32,
}

/// Path of a shard inside the store's folder.
pub(super) fn shard_file(hook: HookPoint, shard: usize) -> String {
    format!("{hook}/{shard:05}.parquet")
}

impl Manifest {
    /// Reads and checks the manifest of the store in `dir`; also returns the sha256 of its bytes.
    pub(super) fn read(dir: &Path) -> Result<(Self, String), Error> {
        let path = dir.join(MANIFEST_FILE);
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::MissingManifest { path: path.clone() },
            _ => Error::Io {
                path: path.clone(),
                source,
            },
        })?;
        let bad = |reason: String| Error::BadManifest {
            path: path.clone(),
            reason,
        };
        // The version is read alone first: another version may have other fields.
        let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        let version = &value["format_version"];
        if *version != FORMAT_VERSION {
            let found = if version.is_null() {
                "none".to_owned()
            } else {
                version.to_string()
            };
            return Err(Error::WrongVersion {
                path,
                expected: FORMAT_VERSION,
                found,
            });
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
        manifest.check().map_err(bad)?;
        Ok((manifest, lm::files::sha256_hex(&bytes)))
    }

    fn check(&self) -> Result<(), String> {
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
