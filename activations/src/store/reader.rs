//! Reading a finished store.
//!
//! Shapes: `N` rows, `W` numbers per stored vector, `D` width of what is returned (one head of `W` where there are heads).

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lm::HookPoint;
use tasks::{Labels, Role};

use super::held_out::{Counts, HeldOut};
use super::live::MakeShards;
use super::manifest::{Files, Manifest, ShardEntry};
use super::open_shard::OpenShard;
use super::schema::Row;
use super::shard::Expected;
use super::statistics::Statistics;
use crate::{Error, Node};

/// A finished store, open for reading.
///
/// Each shard is checked against the manifest when it is read: version, settings, hook, number, width, rows, checksum.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    manifest: Manifest,
    hash: String,
    /// What makes the shards of a store that is not on disk.
    source: Option<Arc<dyn MakeShards>>,
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

/// The part of a stored vector that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// Numbers, `D`.
    pub(super) width: usize,
    /// Their bytes in the vector.
    pub(super) bytes: Range<usize>,
}

impl Store {
    /// How far the harvest of the store in `dir` is, by the names of its files; `None` where none was begun.
    ///
    /// # Errors
    ///
    /// Settings of the harvest that cannot be read, or of another format version.
    pub fn files(dir: &Path) -> Result<Option<Files>, Error> {
        Files::find(dir)
    }

    /// Opens the store in `dir`.
    ///
    /// # Errors
    ///
    /// No folder, no store in it, a store that is not complete (says what is missing), another format version, a manifest
    /// that was changed.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let (manifest, hash) = Manifest::read(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            hash,
            source: None,
        })
    }

    /// A store whose shards are made by `source`; its files exist nowhere.
    pub(crate) fn made_by(manifest: Manifest, hash: String, source: Arc<dyn MakeShards>) -> Self {
        Self {
            dir: PathBuf::new(),
            manifest,
            hash,
            source: Some(source),
        }
    }

    /// Whether its shards are made when they are asked for.
    pub fn is_live(&self) -> bool {
        self.source.is_some()
    }

    /// Whether its shards are on disk once they were read.
    pub fn is_kept(&self) -> bool {
        self.source.as_ref().is_none_or(|source| source.keeps())
    }

    /// Ends a [`Store::live`] that is kept: writes its manifest, and gives it. `None` where nothing is kept, or where shards are missing
    /// that nobody has asked for; a harvest to the folder completes it.
    ///
    /// # Errors
    ///
    /// Whatever the disk says.
    pub fn finish(&self) -> Result<Option<Manifest>, Error> {
        self.source.as_ref().map_or(Ok(None), |source| source.finish())
    }

    /// What makes the shards, where they are not on disk.
    pub(super) fn source(&self) -> Option<&Arc<dyn MakeShards>> {
        self.source.as_ref()
    }

    /// What the store holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder of the store.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// sha256 of the manifest, hexadecimal: what artefacts made from this store name as their parent.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The vectors of one node, one per prompt.
    pub fn node(&self, node: &Node) -> Result<NodeRows, Error> {
        let HookRows { width, values, rows } = self.node_rows(node)?;
        let labels: Vec<Labels> = rows.iter().filter_map(|row| row.labels.clone()).collect();
        match labels.len() == rows.len() {
            true => Ok(NodeRows { width, values, labels }),
            false => Err(self.lacks(format!("labels of every prompt at {node}"))),
        }
    }

    /// The vectors of one node, one per prompt, and where each came from.
    ///
    /// # Errors
    ///
    /// A node that the store does not hold; a damaged shard.
    pub fn node_rows(&self, node: &Node) -> Result<HookRows, Error> {
        match self.manifest.roles.contains(&node.role) {
            true => self.read(node.hook, node.head, Some(node.role), |_| true),
            false => Err(self.lacks(node.to_string())),
        }
    }

    /// What is held out of the rows of a hook that are not marked as special ([`HeldOut::choose`]). The columns beside the vectors
    /// are read, not the vectors.
    ///
    /// # Errors
    ///
    /// A hook that the store does not hold; a damaged shard.
    pub fn held_out(&self, hook: HookPoint, share: f64, seed: u64) -> Result<HeldOut, Error> {
        let mut counts = Counts::default();
        let mut add = |rows: &[Row]| rows.iter().filter(|row| !row.special).for_each(|row| counts.add(row));
        for (shard, (path, expected)) in self.shards(hook)?.into_iter().enumerate() {
            if let Some(source) = &self.source {
                add(&source.rows(shard)?);
                continue;
            }
            let open = OpenShard::on_disk(&path, expected)?;
            for group in 0..open.groups().len() {
                add(&open.rows(group)?);
            }
        }
        Ok(counts.choose(share, seed))
    }

    /// The vectors of one hook (and head, where it has heads) at all stored positions.
    pub fn hook(&self, hook: HookPoint, head: Option<usize>) -> Result<HookRows, Error> {
        self.read(hook, head, None, |_| true)
    }

    /// The vectors of one hook (and head, where it has heads) in some of its shards.
    ///
    /// # Errors
    ///
    /// A hook or head that the store does not hold; a damaged shard.
    pub fn shards_of(&self, hook: HookPoint, head: Option<usize>, shards: &BTreeSet<usize>) -> Result<HookRows, Error> {
        self.read(hook, head, None, |shard| shards.contains(&shard))
    }

    /// Some rows of several hooks (each with its head, where it has heads) in some shards, in the order of the store. The model of a
    /// [`Store::live`] reads nothing for shards without such a row, and what it reads once for all hooks.
    ///
    /// # Errors
    ///
    /// As [`Store::shards_of`]; hooks that do not have the same rows.
    pub fn rows_of(
        &self,
        hooks: &[(HookPoint, Option<usize>)],
        shards: &BTreeSet<usize>,
        wanted: &dyn Fn(&Row) -> bool,
    ) -> Result<Vec<HookRows>, Error> {
        if self.source.is_some() {
            return self.made(hooks, shards, wanted);
        }
        let read = |&(hook, head): &(HookPoint, Option<usize>)| {
            let HookRows { width, values, rows } = self.shards_of(hook, head, shards)?;
            Ok(match rows.iter().all(wanted) {
                true => HookRows { width, values, rows },
                false => {
                    let kept = values.chunks_exact(width).zip(&rows).filter(|(_, row)| wanted(row));
                    HookRows {
                        values: kept.flat_map(|(vector, _)| vector).copied().collect(),
                        rows: rows.iter().filter(|row| wanted(row)).cloned().collect(),
                        width,
                    }
                }
            })
        };
        hooks.iter().map(read).collect()
    }

    /// Tokens that a model has to read for [`Store::rows_of`]: none if the store is on disk.
    ///
    /// # Errors
    ///
    /// The text cannot be read.
    pub fn tokens_of(&self, shards: &BTreeSet<usize>, wanted: &dyn Fn(&Row) -> bool) -> Result<usize, Error> {
        let Some(source) = &self.source else { return Ok(0) };
        shards.iter().map(|&shard| source.tokens(shard, wanted)).sum()
    }

    /// [`Store::rows_of`] where shards are made.
    fn made(
        &self,
        hooks: &[(HookPoint, Option<usize>)],
        shards: &BTreeSet<usize>,
        wanted: &dyn Fn(&Row) -> bool,
    ) -> Result<Vec<HookRows>, Error> {
        let cuts = hooks.iter().map(|&(hook, head)| self.cut(hook, head));
        let cuts = cuts.collect::<Result<Vec<_>, Error>>()?;
        let empty = |cut: &Cut| HookRows {
            width: cut.width,
            values: Vec::new(),
            rows: Vec::new(),
        };
        let mut found: Vec<HookRows> = cuts.iter().map(empty).collect();
        let (names, stop): (Vec<HookPoint>, _) =
            (hooks.iter().map(|(hook, _)| *hook).collect(), AtomicBool::new(false));
        let Some(source) = &self.source else { return Ok(found) };
        for &shard in shards {
            let made = source.make(shard, &names, wanted, &stop)?.unwrap_or_default();
            for ((found, cut), data) in found.iter_mut().zip(&cuts).zip(made) {
                let bytes = data.vectors.len() / data.rows.len().max(1);
                let vectors = data.vectors.chunks_exact(bytes.max(1)).zip(data.rows);
                for (vector, row) in vectors.filter(|(_, row)| wanted(row)) {
                    self.manifest
                        .dtype
                        .decode(&vector[cut.bytes.clone()], &mut found.values); // [D]
                    found.rows.push(row);
                }
            }
        }
        Ok(found)
    }

    /// Reads the vectors of a hook, of one role or of all, in the shards that `wanted` names.
    fn read(
        &self,
        hook: HookPoint,
        head: Option<usize>,
        role: Option<Role>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<HookRows, Error> {
        if self.source.is_some() {
            let all = |row: &Row| role.is_none() || row.role == role;
            let shards = (0..self.shards(hook)?.len()).filter(|&shard| wanted(shard)).collect();
            return Ok(self.made(&[(hook, head)], &shards, &all)?.swap_remove(0));
        }
        let cut = self.cut(hook, head)?;
        let mut found = HookRows {
            width: cut.width,
            values: Vec::new(),
            rows: Vec::new(),
        };
        for (shard, (path, expected)) in self.shards(hook)?.into_iter().enumerate() {
            if !wanted(shard) {
                continue;
            }
            let open = OpenShard::in_memory(&path, expected, self.crc32c(hook, shard))?;
            for group in 0..open.groups().len() {
                let (rows, pages) = (open.rows(group)?, open.pages(group)?);
                let vectors = pages.iter().flat_map(|page| page.chunks_exact(expected.bytes()));
                for (row, vector) in rows.into_iter().zip(vectors) {
                    if role.is_none() || row.role == role {
                        self.manifest
                            .dtype
                            .decode(&vector[cut.bytes.clone()], &mut found.values); // [D]
                        found.rows.push(row);
                    }
                }
            }
        }
        let bad = found.values.iter().position(|value| !value.is_finite());
        match bad {
            Some(at) => Err(Error::NonFinite {
                path: self.dir.join(hook.to_string()),
                row: at / cut.width,
                value: found.values[at],
                dtype: self.manifest.dtype.into(),
            }),
            None => Ok(found),
        }
    }

    /// The part of the stored vectors of a hook that is one head, or all of them where there are none.
    pub(super) fn cut(&self, hook: HookPoint, head: Option<usize>) -> Result<Cut, Error> {
        let wanted = || match head {
            Some(head) => format!("head {head} of {hook}"),
            None => hook.to_string(),
        };
        let entry = self.manifest.hooks.get(&hook).ok_or_else(|| self.lacks(wanted()))?;
        let (start, width) = match (entry.heads, head) {
            (None, None) => (0, entry.width),
            (Some(heads), Some(head)) if head < heads => (head * (entry.width / heads), entry.width / heads),
            _ => return Err(self.lacks(wanted())),
        };
        let size = self.manifest.dtype.size();
        Ok(Cut {
            width,
            bytes: start * size..(start + width) * size,
        })
    }

    /// The shards of a hook and what each must be.
    pub(super) fn shards(&self, hook: HookPoint) -> Result<Vec<(PathBuf, Expected<'_>)>, Error> {
        let entry = self
            .manifest
            .hooks
            .get(&hook)
            .ok_or_else(|| self.lacks(hook.to_string()))?;
        let shard = |(number, shard): (usize, &ShardEntry)| {
            let expected = Expected {
                provenance: &self.manifest.provenance,
                hook,
                shard: number,
                width: entry.width,
                dtype: self.manifest.dtype,
                rows: shard.rows,
                footer_crc32c: Some(shard.footer_crc32c),
            };
            (self.dir.join(&shard.file), expected)
        };
        Ok(entry.shards.iter().enumerate().map(shard).collect())
    }

    /// The checksum of a shard's bytes.
    pub(super) fn crc32c(&self, hook: HookPoint, shard: usize) -> u32 {
        let entry = self.manifest.hooks.get(&hook).and_then(|entry| entry.shards.get(shard));
        let entry = entry.unwrap_or_else(|| unreachable!("shard {shard} of {hook} is not one of the manifest"));
        entry.crc32c
    }

    /// Mean and mean norm of a hook's vectors in the first `shards` shards, from the footers.
    ///
    /// # Errors
    ///
    /// A hook that the store does not hold; a shard that is damaged or of another store.
    pub fn statistics(&self, hook: HookPoint, shards: usize) -> Result<Statistics, Error> {
        let shards = self.shards(hook)?.into_iter().take(shards);
        let all = shards.map(|(path, expected)| OpenShard::on_disk(&path, expected)?.statistics());
        Ok(Statistics::merge(&all.collect::<Result<Vec<_>, _>>()?))
    }

    pub(super) fn lacks(&self, wanted: String) -> Error {
        let hooks = self.manifest.hooks.iter().map(|(hook, entry)| match entry.heads {
            Some(heads) => format!("{hook} ({heads} heads)"),
            None => hook.to_string(),
        });
        let roles = self.manifest.roles.iter().map(Role::to_string);
        let (hooks, roles) = (
            hooks.collect::<Vec<_>>().join(", "),
            roles.collect::<Vec<_>>().join(", "),
        );
        let available = match roles.is_empty() {
            true => hooks,
            false => format!("{hooks} at {roles}"),
        };
        Error::NotInStore {
            path: self.dir.clone(),
            wanted,
            available,
        }
    }
}
