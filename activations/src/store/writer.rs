//! Writing a store, or finishing one that was begun.
//!
//! The layout is known before the first row, so each shard is either whole on disk already (and kept) or written as soon
//! as its rows are there. The manifest comes last.
//!
//! Shapes: `N` rows of one push, `W` numbers per vector.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use lm::HookPoint;
use tasks::Role;

use super::manifest::{HookEntry, MANIFEST_FILE, Manifest, Provenance, ShardEntry, shard_file};
use super::schema::Row;
use super::shard::{Expected, OpenShard, ShardData};
use crate::Error;

/// What a store will hold.
#[derive(Debug, Clone)]
pub struct Layout {
    /// What it is made from.
    pub provenance: Provenance,
    /// The hooks and the shape of their vectors.
    pub hooks: BTreeMap<HookPoint, HookShape>,
    /// Vectors per hook.
    pub rows: usize,
    /// Vectors per shard.
    pub rows_per_shard: usize,
    /// Semantic positions of each prompt, in the order of the rows; empty for text.
    pub roles: Vec<Role>,
}

/// The shape of a hook's stored vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookShape {
    /// Numbers per vector, all heads together.
    pub width: usize,
    /// Heads side by side in a vector, for hooks that have heads.
    pub heads: Option<usize>,
}

/// Takes rows hook by hook and writes the shards that are not on disk yet.
#[derive(Debug)]
pub struct StoreWriter {
    dir: PathBuf,
    layout: Layout,
    hooks: BTreeMap<HookPoint, HookWriter>,
}

#[derive(Debug)]
struct HookWriter {
    /// The shards of the hook; `None` is not on disk yet.
    shards: Vec<Option<ShardEntry>>,
    /// Rows of the shard that is being filled.
    buffer: ShardData,
}

impl StoreWriter {
    /// Opens a new or unfinished store in `dir`, and finds the shards that are whole already.
    ///
    /// A folder that belongs to another config is refused, see [`Error::OtherConfig`].
    pub fn create(dir: &Path, layout: Layout) -> Result<Self, Error> {
        if layout.rows == 0 || layout.rows_per_shard == 0 || layout.hooks.is_empty() {
            let reason = format!(
                "asks for {} vectors of {} hooks in shards of {}: each must be at least 1",
                layout.rows,
                layout.hooks.len(),
                layout.rows_per_shard
            );
            return Err(Error::Config {
                field: "rows_per_shard",
                reason,
            });
        }
        let recorded = match Manifest::read(dir) {
            Ok((manifest, _)) => Some(manifest),
            Err(Error::MissingManifest { .. }) => None,
            Err(error) => return Err(error),
        };
        let (expected, found) = (
            &layout.provenance,
            recorded.as_ref().map(|manifest| &manifest.provenance),
        );
        if let Some(found) = found.filter(|found| found.config_hash != expected.config_hash) {
            return Err(Error::OtherConfig {
                path: dir.join(MANIFEST_FILE),
                expected: expected.config_hash.clone(),
                found: found.config_hash.clone(),
            });
        }
        let mut writer = Self {
            dir: dir.to_owned(),
            layout,
            hooks: BTreeMap::new(),
        };
        for (&hook, shape) in &writer.layout.hooks {
            let entry = recorded.as_ref().and_then(|manifest| manifest.hooks.get(&hook));
            let shards = (0..writer.layout.rows.div_ceil(writer.layout.rows_per_shard))
                .map(|shard| {
                    writer.find(
                        hook,
                        shape.width,
                        shard,
                        entry.and_then(|entry| entry.shards.get(shard)),
                    )
                })
                .collect::<Result<Vec<_>, _>>()?;
            writer.hooks.insert(
                hook,
                HookWriter {
                    shards,
                    buffer: ShardData::default(),
                },
            );
        }
        let whole = writer.hooks.values().flat_map(|hook| &hook.shards).all(Option::is_some);
        if recorded.is_some() && !whole {
            let path = dir.join(MANIFEST_FILE);
            std::fs::remove_file(&path).map_err(|source| Error::Io { path, source })?;
        }
        Ok(writer)
    }

    /// Whether any of these rows of the hook is still to be written.
    pub fn wants(&self, hook: HookPoint, rows: Range<usize>) -> bool {
        let shards = rows.start / self.layout.rows_per_shard..rows.end.div_ceil(self.layout.rows_per_shard);
        self.hooks
            .get(&hook)
            .and_then(|hook| hook.shards.get(shards))
            .is_some_and(|of| of.iter().any(Option::is_none))
    }

    /// Takes the rows from `start` on; rows of shards that are on disk already are passed over.
    ///
    /// # Shapes
    ///
    /// - rows: `N`
    /// - values: `[N, W]`
    pub fn push(&mut self, hook: HookPoint, start: usize, rows: &[Row], values: &[f32]) -> Result<(), Error> {
        let (size, total) = (self.layout.rows_per_shard, self.layout.rows);
        let width = match self.layout.hooks.get(&hook) {
            Some(shape) if values.len() == rows.len() * shape.width => shape.width,
            Some(shape) => {
                let found = values.len().checked_div(rows.len()).unwrap_or(0);
                return Err(Error::WrongWidth {
                    path: self.dir.join(hook.to_string()),
                    expected: shape.width,
                    found,
                });
            }
            None => {
                return Err(Error::Hook {
                    hook,
                    reason: "not in the layout of this store".to_owned(),
                });
            }
        };
        if start + rows.len() > total {
            return Err(Error::OutOfOrder {
                hook,
                expected: total,
                found: start + rows.len(),
            });
        }
        let mut done = 0;
        while done < rows.len() {
            let (shard, inside) = ((start + done) / size, (start + done) % size);
            let count = (size - inside).min(rows.len() - done);
            if let Some(writer) = self.hooks.get_mut(&hook)
                && writer.shards[shard].is_none()
            {
                let next = writer.buffer.rows.len();
                if inside != next {
                    let found = start + done;
                    return Err(Error::OutOfOrder {
                        hook,
                        expected: shard * size + next,
                        found,
                    });
                }
                writer.buffer.rows.extend_from_slice(&rows[done..done + count]);
                writer
                    .buffer
                    .values
                    .extend_from_slice(&values[done * width..(done + count) * width]);
                if writer.buffer.rows.len() == size.min(total - shard * size) {
                    let data = std::mem::take(&mut writer.buffer);
                    let entry = self.write(hook, width, shard, data)?;
                    if let Some(writer) = self.hooks.get_mut(&hook) {
                        writer.shards[shard] = Some(entry);
                    }
                }
            }
            done += count;
        }
        Ok(())
    }

    /// Writes the manifest, once every shard is there.
    pub fn finish(self) -> Result<Manifest, Error> {
        let size = self.layout.rows_per_shard;
        let mut hooks = BTreeMap::new();
        for (hook, writer) in self.hooks {
            let next = writer.buffer.rows.len();
            let Some(&HookShape { width, heads }) = self.layout.hooks.get(&hook) else {
                continue;
            };
            let shards = writer.shards.into_iter().enumerate().map(|(shard, entry)| {
                entry.ok_or(Error::OutOfOrder {
                    hook,
                    expected: shard * size + next,
                    found: self.layout.rows,
                })
            });
            let shards = shards.collect::<Result<Vec<_>, _>>()?;
            hooks.insert(hook, HookEntry { width, heads, shards });
        }
        let manifest = Manifest::new(
            self.layout.provenance,
            (self.layout.rows, size),
            self.layout.roles,
            hooks,
        );
        lm::files::write_json(&self.dir.join(MANIFEST_FILE), &manifest)?;
        Ok(manifest)
    }

    /// The entry of a shard that is whole on disk; `None` when it is to be written.
    fn find(
        &self,
        hook: HookPoint,
        width: usize,
        shard: usize,
        recorded: Option<&ShardEntry>,
    ) -> Result<Option<ShardEntry>, Error> {
        let file = shard_file(hook, shard);
        let path = self.dir.join(&file);
        let expected = self.expected(hook, width, shard);
        let open = match OpenShard::open(&path, expected) {
            Ok(open) => open,
            Err(error @ (Error::OtherConfig { .. } | Error::WrongVersion { .. })) => return Err(error),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => return Ok(None), // damaged: written anew
        };
        let entry = ShardEntry {
            file,
            rows: expected.rows,
            sha256: lm::files::sha256_file(&path)?,
        };
        // The manifest's hash settles it; without a manifest the shard's own content hash does.
        let whole = recorded == Some(&entry) || open.verify();
        Ok(whole.then_some(entry))
    }

    /// Writes one shard.
    fn write(&self, hook: HookPoint, width: usize, shard: usize, data: ShardData) -> Result<ShardEntry, Error> {
        let file = shard_file(hook, shard);
        let path = self.dir.join(&file);
        if let Some(row) = data.first_non_finite(width) {
            return Err(Error::NonFinite { path, row });
        }
        let dir = self.dir.join(hook.to_string());
        std::fs::create_dir_all(&dir).map_err(|source| Error::Io { path: dir, source })?;
        let expected = self.expected(hook, width, shard);
        let bytes = data.encode(expected).map_err(|error| Error::Io {
            path: path.clone(),
            source: io::Error::other(error),
        })?;
        lm::files::write_atomic(&path, |out| out.write_all(&bytes))?;
        Ok(ShardEntry {
            file,
            rows: expected.rows,
            sha256: lm::files::sha256_hex(&bytes),
        })
    }

    fn expected(&self, hook: HookPoint, width: usize, shard: usize) -> Expected<'_> {
        let rows = self
            .layout
            .rows_per_shard
            .min(self.layout.rows - shard * self.layout.rows_per_shard);
        Expected {
            provenance: &self.layout.provenance,
            hook,
            width,
            rows,
        }
    }
}
