//! Writing a store, or finishing one that was begun.
//!
//! The layout is known before the first row, so each shard is either whole on disk already (and kept) or written as soon
//! as its rows are there. Rows are shuffled over a *window*, some whole shards: where a row of the source goes is a function
//! of seed and window, so every row is put into its place as it comes. The manifest comes last.
//!
//! Several processes can share the work: each takes one [`Part`] of the windows, and the process that finds all shards in
//! place writes the manifest. A process that writes the whole store locks the folder's `harvest.json` for itself, processes
//! that write parts share the lock. A complete store is neither locked nor written.
//!
//! Shapes: `N` rows of one push, `W` numbers per vector.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use artifacts::{Lock, Locking, Sharing};
use lm::HookPoint;

use super::claim::SETTINGS_FILE;
use super::hashed::{Hashed, Hashes, footer_crc32c_at};
use super::layout::{HookShape, Layout, Part};
use super::manifest::{HookEntry, MANIFEST_FILE, Manifest, ShardEntry, shard_file};
use super::open_shard::OpenShard;
use super::schema::Row;
use super::shard::{Expected, FORMAT_VERSION, ShardData};
use super::tokens::{self, TOKENS_FILE, TokenWindows, TokensEntry};
use crate::Error;

/// Bytes of a shard that are hashed and written at a time: a part of the second-level cache.
const PIECE: usize = 1 << 17;

/// Takes rows hook by hook and writes the shards that are not on disk yet.
#[derive(Debug)]
pub struct StoreWriter {
    pub(super) dir: PathBuf,
    pub(super) layout: Layout,
    pub(super) part: Part,
    pub(super) hooks: BTreeMap<HookPoint, HookWriter>,
    /// The order of the window that was shuffled last: for each row of the source its place.
    order: (Option<usize>, Vec<u32>),
    /// The file of the tokens.
    pub(super) tokens: TokensEntry,
    /// Held while shards are written.
    pub(super) lock: Option<Lock>,
    /// The manifest, when the store was complete before.
    pub(super) complete: Option<Manifest>,
}

#[derive(Debug)]
pub(super) struct HookWriter {
    pub(super) shape: HookShape,
    /// The shards of the hook; `None` is not on disk yet.
    pub(super) shards: Vec<Option<ShardEntry>>,
    /// The shards of the window that is being filled.
    pub(super) open: Vec<ShardData>,
    /// Rows of the source that the window holds.
    pub(super) filled: usize,
}

impl StoreWriter {
    /// Opens a store in `dir`, new, unfinished or complete, and finds the shards that are whole already; writes the `windows` that
    /// the rows come from. Waits while another process writes this store; `on_lock` is told.
    ///
    /// # Errors
    ///
    /// A folder that belongs to a harvest with other settings, see [`Error::OtherConfig`], or that holds anything else; a
    /// layout without rows; a part that is none.
    pub fn create(
        dir: &Path,
        layout: Layout,
        windows: &dyn TokenWindows,
        part: Part,
        on_lock: &mut dyn FnMut(Locking),
    ) -> Result<Self, Error> {
        check(&layout, part)?;
        let mut writer = Self {
            dir: dir.to_owned(),
            layout,
            part,
            hooks: BTreeMap::new(),
            order: (None, Vec::new()),
            tokens: tokens::entry(windows)?,
            lock: None,
            complete: None,
        };
        if writer.recorded()?.is_some() {
            writer.look()?;
        }
        if writer.complete.is_none() {
            writer.begin()?;
            let sharing = match part == Part::WHOLE {
                true => Sharing::Alone,
                false => Sharing::Shared,
            };
            writer.lock = Some(Lock::take(&dir.join(SETTINGS_FILE), sharing, on_lock)?);
            // Another process may have changed or finished the store before this one had the lock.
            let recorded = writer.look()?;
            if recorded && writer.complete.is_none() {
                artifacts::remove_file(&dir.join(MANIFEST_FILE))?;
            }
            if writer.complete.is_none() && !writer.has_tokens()? {
                tokens::write(windows, &dir.join(TOKENS_FILE))?;
            }
        }
        if part == Part::WHOLE || writer.complete.is_some() {
            writer.remove_leftovers();
        }
        Ok(writer)
    }

    /// The windows of a hook that are still to be written by this part.
    pub fn wanted(&self, hook: HookPoint) -> Wanted {
        Wanted {
            windows: (0..self.layout.windows())
                .map(|window| self.wants(hook, window))
                .collect(),
            rows_per_window: self.layout.rows_per_shard * self.layout.window_shards(),
        }
    }

    /// What is written of a hook of the layout.
    fn writer(&self, hook: HookPoint) -> &HookWriter {
        let writer = self.hooks.get(&hook);
        writer.unwrap_or_else(|| unreachable!("{hook} is not in the layout of this store"))
    }

    /// What is written of a hook of the layout, to be changed.
    fn writer_mut(&mut self, hook: HookPoint) -> &mut HookWriter {
        let writer = self.hooks.get_mut(&hook);
        writer.unwrap_or_else(|| unreachable!("{hook} is not in the layout of this store"))
    }

    fn wants(&self, hook: HookPoint, window: usize) -> bool {
        let size = self.layout.window_shards();
        let mut of_window = self.writer(hook).shards.iter().skip(window * size).take(size);
        self.part.holds(window, self.layout.windows()) && of_window.any(Option::is_none)
    }

    /// Takes the rows of the source from `start` on; rows of windows that are not wanted are passed over.
    ///
    /// # Shapes
    ///
    /// - rows: `N`
    /// - values: `[N, W]`
    ///
    /// # Errors
    ///
    /// Rows that do not follow those before, vectors of another width, numbers that the store's type cannot hold, and
    /// whatever the disk says.
    pub fn push(&mut self, hook: HookPoint, start: usize, rows: &[Row], values: &[f32]) -> Result<(), Error> {
        let Some(HookWriter { shape, .. }) = self.hooks.get(&hook) else {
            return Err(Error::Hook {
                hook,
                reason: "not in the layout of this store".to_owned(),
            });
        };
        let width = shape.width;
        if values.len() != rows.len() * width {
            return Err(Error::WrongWidth {
                path: self.dir.join(hook.to_string()),
                expected: width,
                found: values.len().checked_div(rows.len()).unwrap_or(0),
            });
        }
        if start + rows.len() > self.layout.rows {
            return Err(Error::OutOfOrder {
                hook,
                expected: self.layout.rows,
                found: start + rows.len(),
            });
        }
        let mut done = 0;
        while done < rows.len() {
            let window = self.layout.window_of(start + done);
            let within = self.layout.window_rows(window);
            let count = (within.end - start - done).min(rows.len() - done);
            if self.wants(hook, window) {
                let values = &values[done * width..(done + count) * width];
                self.put(hook, window, start + done, &rows[done..done + count], values)?;
                if self.writer(hook).filled == within.len() {
                    self.close(hook, window)?;
                }
            }
            done += count;
        }
        Ok(())
    }

    /// Puts rows of one window into their places.
    fn put(&mut self, hook: HookPoint, window: usize, start: usize, rows: &[Row], values: &[f32]) -> Result<(), Error> {
        if self.order.0 != Some(window) {
            self.order = (Some(window), self.layout.order(window));
        }
        let (within, dtype) = (self.layout.window_rows(window), self.layout.dtype);
        let Some(writer) = self.hooks.get_mut(&hook) else {
            return Ok(());
        };
        let (width, bytes) = (writer.shape.width, writer.shape.width * dtype.size());
        if start - within.start != writer.filled {
            return Err(Error::OutOfOrder {
                hook,
                expected: within.start + writer.filled,
                found: start,
            });
        }
        let size = self.layout.rows_per_shard;
        if writer.open.is_empty() {
            let shard = |first| ShardData::empty(size.min(within.end - first), bytes);
            writer.open = within.clone().step_by(size).map(shard).collect();
        }
        let places = &self.order.1[writer.filled..];
        for (index, ((row, vector), &place)) in rows.iter().zip(values.chunks_exact(width)).zip(places).enumerate() {
            let (shard, place) = (place as usize / size, place as usize % size);
            let put = writer.open[shard].put(place, row.clone(), vector, dtype);
            put.map_err(|at| Error::NonFinite {
                path: self.dir.join(hook.to_string()),
                row: start + index,
                value: vector[at],
                dtype: dtype.into(),
            })?;
        }
        writer.filled += rows.len();
        Ok(())
    }

    /// Writes the shards of a window that are not on disk.
    fn close(&mut self, hook: HookPoint, window: usize) -> Result<(), Error> {
        let first = window * self.layout.window_shards();
        let Some(writer) = self.hooks.get_mut(&hook) else {
            return Ok(());
        };
        let (open, width) = (std::mem::take(&mut writer.open), writer.shape.width);
        writer.filled = 0;
        for (shard, data) in (first..).zip(open) {
            if self.writer(hook).shards[shard].is_none() {
                // Another process that does the same part may have been faster: what stands there stays.
                let entry = match self.find(hook, width, shard, None)? {
                    Some(entry) => entry,
                    None => self.write(hook, width, shard, data)?,
                };
                self.writer_mut(hook).shards[shard] = Some(entry);
            }
        }
        Ok(())
    }

    /// Writes the manifest once every shard is there; `None` while other parts still owe some. A store that was complete
    /// before is not written.
    ///
    /// # Errors
    ///
    /// Rows of this part that never came; shards that were there and are gone.
    pub fn finish(mut self) -> Result<Option<Manifest>, Error> {
        if self.complete.is_some() {
            return Ok(self.complete);
        }
        self.check_own()?;
        self.look_again()?;
        // To read the shards of other parts takes long, so only once all of them are there.
        let is_there = |hook, shard| self.dir.join(shard_file(hook, shard)).exists();
        let missing: Vec<(HookPoint, usize)> = self.missing().collect();
        if !missing.iter().all(|&(hook, shard)| is_there(hook, shard)) {
            return Ok(None);
        }
        for (hook, shard) in missing {
            let width = self.writer(hook).shape.width;
            let Some(entry) = self.find(hook, width, shard, None)? else {
                return Ok(None);
            };
            self.writer_mut(hook).shards[shard] = Some(entry);
        }
        self.look_again()?;
        let entry = |(&hook, writer): (&HookPoint, &HookWriter)| {
            let HookShape { width, heads } = writer.shape;
            let shards = writer.shards.iter().flatten().cloned().collect();
            (hook, HookEntry { width, heads, shards })
        };
        let path = self.dir.join(MANIFEST_FILE);
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            provenance: self.layout.provenance.clone(),
            dtype: self.layout.dtype,
            rows: self.layout.rows,
            rows_per_shard: self.layout.rows_per_shard,
            shuffle: self.layout.shuffle,
            roles: self.layout.roles.clone(),
            tokens: self.tokens.clone(),
            hooks: self.hooks.iter().map(entry).collect(),
            sha256: String::new(),
        };
        let manifest = manifest.sealed().map_err(|error| Error::io(&path, error.into()))?;
        artifacts::write_json(&path, &manifest)?;
        self.remove_leftovers();
        Ok(Some(manifest))
    }

    /// The hooks whose shard of a window is still to be written.
    pub(crate) fn lacks(&self, window: usize) -> Vec<HookPoint> {
        let hooks = self.hooks.keys().copied();
        hooks.filter(|&hook| self.wants(hook, window)).collect()
    }

    /// Forgets the rows of windows that are not full.
    pub(crate) fn forget(&mut self) {
        for writer in self.hooks.values_mut() {
            (writer.open, writer.filled) = (Vec::new(), 0);
        }
    }

    /// Whether every shard is on disk.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing().next().is_none()
    }

    /// A shard that is on disk.
    pub(crate) fn read(&self, hook: HookPoint, shard: usize) -> Result<ShardData, Error> {
        let HookWriter { shape, shards, .. } = self.writer(hook);
        let path = self.dir.join(shard_file(hook, shard));
        let Some(entry) = shards.get(shard).and_then(Option::as_ref) else {
            return Err(Error::MissingShard { path });
        };
        let open = OpenShard::in_memory(&path, self.expected(hook, shape.width, shard), entry.crc32c)?;
        open.contents()
    }

    /// The shards that are not known to be on disk.
    fn missing(&self) -> impl Iterator<Item = (HookPoint, usize)> {
        self.hooks.iter().flat_map(|(&hook, writer)| {
            let shards = writer.shards.iter().enumerate();
            shards.filter_map(move |(shard, entry)| entry.is_none().then_some((hook, shard)))
        })
    }

    /// Refuses to finish when rows of this part never came.
    fn check_own(&self) -> Result<(), Error> {
        let windows = self.layout.windows();
        let window_of = |shard: usize| shard / self.layout.window_shards();
        match self
            .missing()
            .find(|&(_, shard)| self.part.holds(window_of(shard), windows))
        {
            None => Ok(()),
            Some((hook, shard)) => Err(Error::OutOfOrder {
                hook,
                expected: self.layout.window_rows(window_of(shard)).start
                    + self.hooks.get(&hook).map_or(0, |writer| writer.filled),
                found: self.layout.rows,
            }),
        }
    }

    /// Writes one shard.
    fn write(&self, hook: HookPoint, width: usize, shard: usize, data: ShardData) -> Result<ShardEntry, Error> {
        // A folder that was removed must not come back with the later shards only.
        self.check_begun()?;
        let file = shard_file(hook, shard);
        let path = self.dir.join(&file);
        let expected = self.expected(hook, width, shard);
        let mut written = None;
        artifacts::write_atomic(&path, |out| {
            written = Some(encode(data, expected, out)?);
            Ok(())
        })
        .or_else(|error| {
            // It may have been removed meanwhile.
            self.check_begun()?;
            Err(Error::from(error))
        })?;
        let hashes = written.ok_or_else(|| Error::io(&path, io::Error::other("was written without a hash")))?;
        let footer = footer_crc32c_at(&path).map_err(|_| Error::Vanished { path })?;
        Ok(hashes.entry(file, expected.rows, footer))
    }

    /// What a shard of this store must say about itself.
    pub(super) fn expected(&self, hook: HookPoint, width: usize, shard: usize) -> Expected<'_> {
        let rows = self
            .layout
            .rows_per_shard
            .min(self.layout.rows - shard * self.layout.rows_per_shard);
        Expected {
            provenance: &self.layout.provenance,
            hook,
            shard,
            width,
            dtype: self.layout.dtype,
            rows,
            footer_crc32c: None,
        }
    }
}

/// Rows of a hook that are still to be written: whole windows.
#[derive(Debug, Clone)]
pub struct Wanted {
    windows: Vec<bool>,
    rows_per_window: usize,
}

impl Wanted {
    /// Whether any of these rows of the source is wanted.
    pub fn any(&self, rows: Range<usize>) -> bool {
        let windows = rows.start / self.rows_per_window..rows.end.div_ceil(self.rows_per_window);
        self.windows.get(windows).is_some_and(|of| of.contains(&true))
    }
}

/// Writes the bytes of a shard and hashes them on the way.
pub(super) fn encode(data: ShardData, expected: Expected<'_>, out: impl Write + Send) -> io::Result<Hashes> {
    let mut out = BufWriter::with_capacity(PIECE, Hashed::new(out));
    data.encode(expected, &mut out)?;
    Ok(out.into_inner().map_err(io::IntoInnerError::into_error)?.finish())
}

/// Refuses a layout of nothing and a part that is none.
fn check(layout: &Layout, part: Part) -> Result<(), Error> {
    let (field, reason) = match layout {
        _ if part.index >= part.of => ("shard", format!("is part {} of {}", part.index + 1, part.of)),
        Layout { rows: 0, .. } => ("source", "gives no vectors to store".to_owned()),
        Layout { rows_per_shard: 0, .. } => ("rows_per_shard", "is 0, must be at least 1".to_owned()),
        layout if layout.hooks.is_empty() => ("hooks", "is empty, at least one is needed".to_owned()),
        _ => return Ok(()),
    };
    Err(Error::Config { field, reason })
}
