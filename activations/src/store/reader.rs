//! Reading a finished store.
//!
//! Shapes: `N` rows, `W` numbers per stored vector, `D` width of what is returned (one head of `W` where there are heads).

use std::path::{Path, PathBuf};

use lm::HookPoint;
use tasks::{Labels, Role};

use super::manifest::Manifest;
use super::schema::Row;
use super::shard::{Expected, OpenShard, ShardData};
use crate::{Error, Node};

/// A finished store, open for reading.
///
/// Each shard is checked against the manifest when it is read: version, hook, width, rows, sha256, finite values.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    manifest: Manifest,
    hash: String,
}

/// All vectors of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRows {
    /// Numbers per vector, `D`.
    pub width: usize,
    /// The vectors, `[N, D]`, in the order of the prompts.
    pub values: Vec<f32>,
    /// Attribute values of each prompt, `N`.
    pub labels: Vec<Labels>,
}

/// All vectors of one hook, whatever their position.
#[derive(Debug, Clone, PartialEq)]
pub struct HookRows {
    /// Numbers per vector, `D`.
    pub width: usize,
    /// The vectors, `[N, D]`, in the order of the store.
    pub values: Vec<f32>,
    /// Where each vector came from, `N`.
    pub rows: Vec<Row>,
}

impl Store {
    /// Opens the store in `dir`.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let (manifest, hash) = Manifest::read(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            hash,
        })
    }

    /// What the store holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// sha256 of the manifest, hexadecimal: what artefacts made from this store name as their parent.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The vectors of one node, one per prompt.
    pub fn node(&self, node: &Node) -> Result<NodeRows, Error> {
        if !self.manifest.roles.contains(&node.role) {
            return Err(self.lacks(node.to_string()));
        }
        let HookRows { width, values, rows } = self.read(node.hook, node.head, Some(node.role))?;
        let labels: Vec<Labels> = rows.iter().filter_map(|row| row.labels).collect();
        match labels.len() == rows.len() {
            true => Ok(NodeRows { width, values, labels }),
            false => Err(self.lacks(format!("labels of every prompt at {node}"))),
        }
    }

    /// The vectors of one hook (and head, where it has heads) at all stored positions.
    pub fn hook(&self, hook: HookPoint, head: Option<usize>) -> Result<HookRows, Error> {
        self.read(hook, head, None)
    }

    /// Reads the vectors of a hook, of one role or of all.
    fn read(&self, hook: HookPoint, head: Option<usize>, role: Option<Role>) -> Result<HookRows, Error> {
        let wanted = || match head {
            Some(head) => format!("head {head} of {hook}"),
            None => hook.to_string(),
        };
        let entry = self.manifest.hooks.get(&hook).ok_or_else(|| self.lacks(wanted()))?;
        // The part of a stored vector that is returned.
        let (start, width) = match (entry.heads, head) {
            (None, None) => (0, entry.width),
            (Some(heads), Some(head)) if head < heads => (head * (entry.width / heads), entry.width / heads),
            _ => return Err(self.lacks(wanted())),
        };
        let mut found = HookRows {
            width,
            values: Vec::new(),
            rows: Vec::new(),
        };
        for shard in &entry.shards {
            let expected = Expected {
                provenance: &self.manifest.provenance,
                hook,
                width: entry.width,
                rows: shard.rows,
            };
            let data = read_shard(&self.dir.join(&shard.file), expected, &shard.sha256)?;
            for (row, vector) in data.rows.into_iter().zip(data.values.chunks_exact(entry.width)) {
                if role.is_none() || row.role == role {
                    found.values.extend_from_slice(&vector[start..start + width]); // [W] -> [D]
                    found.rows.push(row);
                }
            }
        }
        Ok(found)
    }

    fn lacks(&self, wanted: String) -> Error {
        let hooks = self.manifest.hooks.iter().map(|(hook, entry)| match entry.heads {
            Some(heads) => format!("{hook} ({heads} heads)"),
            None => hook.to_string(),
        });
        let roles = self.manifest.roles.iter().map(Role::to_string);
        let available = format!(
            "{} at {}",
            hooks.collect::<Vec<_>>().join(", "),
            roles.collect::<Vec<_>>().join(", ")
        );
        Error::NotInStore {
            path: self.dir.clone(),
            wanted,
            available,
        }
    }
}

/// Reads a shard after checking it against the manifest.
fn read_shard(path: &Path, expected: Expected<'_>, sha256: &str) -> Result<ShardData, Error> {
    let open = OpenShard::open(path, expected)?;
    let found = lm::files::sha256_file(path)?;
    if found != sha256 {
        return Err(Error::HashMismatch {
            path: path.to_owned(),
            expected: sha256.to_owned(),
            found,
        });
    }
    let data = open.read()?;
    match data.first_non_finite(expected.width) {
        Some(row) => Err(Error::NonFinite {
            path: path.to_owned(),
            row,
        }),
        None => Ok(data),
    }
}
