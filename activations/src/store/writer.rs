//! Writing a store, or finishing one that was begun.
//!
//! The layout is known before the first row, so each shard is either whole on disk already (and kept) or written as soon
//! as its rows are there. Rows are shuffled over a *window*, some whole shards: where a row of the source goes is a function
//! of seed and window, so every row is put into its place as it comes. The manifest comes last.
//!
//! Several processes can share the work: each takes one [`Part`] of the windows, and whoever finds all shards in place
//! writes the manifest.
//!
//! Shapes: `N` rows of one push, `W` numbers per vector.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter};
use std::ops::Range;
use std::path::{Path, PathBuf};

use lm::HookPoint;

use super::hashed::Hashed;
use super::layout::{HookShape, Layout, Part};
use super::manifest::{HookEntry, MANIFEST_FILE, Manifest, ShardEntry, shard_file};
use super::open_shard::OpenShard;
use super::schema::Row;
use super::shard::{Expected, FORMAT_VERSION, ShardData};
use crate::Error;

/// Bytes of a shard that are hashed and written at a time: a part of the second-level cache.
const PIECE: usize = 1 << 17;

/// Takes rows hook by hook and writes the shards that are not on disk yet.
#[derive(Debug)]
pub struct StoreWriter {
    dir: PathBuf,
    layout: Layout,
    part: Part,
    hooks: BTreeMap<HookPoint, HookWriter>,
    /// The order of the window that was shuffled last: for each row of the source its place.
    order: (Option<usize>, Vec<u32>),
}

#[derive(Debug)]
struct HookWriter {
    shape: HookShape,
    /// The shards of the hook; `None` is not on disk yet.
    shards: Vec<Option<ShardEntry>>,
    /// The shards of the window that is being filled.
    open: Vec<ShardData>,
    /// Rows of the source that the window holds.
    filled: usize,
}

impl StoreWriter {
    /// Opens a new or unfinished store in `dir`, and finds the shards that are whole already.
    ///
    /// # Errors
    ///
    /// A folder that belongs to another config, see [`Error::OtherConfig`]; a layout without rows; a part that is none.
    pub fn create(dir: &Path, layout: Layout, part: Part) -> Result<Self, Error> {
        if layout.rows == 0 || layout.rows_per_shard == 0 || layout.hooks.is_empty() || part.index >= part.of {
            let reason = format!(
                "asks for {} vectors of {} hooks in shards of {}, part {} of {}: each must be at least 1, and the part one of \
                 them",
                layout.rows,
                layout.hooks.len(),
                layout.rows_per_shard,
                part.index + 1,
                part.of
            );
            return Err(Error::Config {
                field: "rows_per_shard",
                reason,
            });
        }
        // Only a manifest is written here under a temporary name, and only at the end: nobody's work is removed.
        if dir.exists() {
            remove_leftovers(dir)?;
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
            part,
            hooks: BTreeMap::new(),
            order: (None, Vec::new()),
        };
        for (&hook, &shape) in &writer.layout.hooks {
            let entry = recorded.as_ref().and_then(|manifest| manifest.hooks.get(&hook));
            let recorded = |shard: usize| entry.and_then(|entry| entry.shards.get(shard));
            let shards =
                (0..writer.layout.shards()).map(|shard| writer.find(hook, shape.width, shard, recorded(shard)));
            let shards = shards.collect::<Result<Vec<_>, _>>()?;
            writer.hooks.insert(
                hook,
                HookWriter {
                    shape,
                    shards,
                    open: Vec::new(),
                    filled: 0,
                },
            );
        }
        let whole = writer.hooks.values().flat_map(|hook| &hook.shards).all(Option::is_some);
        if recorded.is_some() && !whole {
            let path = dir.join(MANIFEST_FILE);
            std::fs::remove_file(&path).map_err(|source| Error::io(&path, source))?;
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

    fn wants(&self, hook: HookPoint, window: usize) -> bool {
        let (size, shards) = (
            self.layout.window_shards(),
            self.hooks.get(&hook).map(|hook| &hook.shards),
        );
        let mut of_window = shards.into_iter().flatten().skip(window * size).take(size);
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
                if self
                    .hooks
                    .get(&hook)
                    .is_some_and(|writer| writer.filled == within.len())
                {
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
            let shard = |first| {
                let rows = size.min(within.end - first);
                ShardData {
                    rows: vec![Row::default(); rows],
                    vectors: vec![0; rows * bytes],
                }
            };
            writer.open = within.clone().step_by(size).map(shard).collect();
        }
        let places = &self.order.1[writer.filled..];
        for (index, ((row, vector), &place)) in rows.iter().zip(values.chunks_exact(width)).zip(places).enumerate() {
            let (shard, place) = (place as usize / size, place as usize % size);
            let shard = &mut writer.open[shard];
            shard.rows[place] = *row;
            let out = &mut shard.vectors[place * bytes..(place + 1) * bytes];
            dtype.encode(vector, out).map_err(|at| Error::NonFinite {
                path: self.dir.join(hook.to_string()),
                row: start + index,
                value: vector[at],
                dtype: dtype.name(),
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
            if self
                .hooks
                .get(&hook)
                .is_some_and(|writer| writer.shards[shard].is_none())
            {
                let entry = self.write(hook, width, shard, data)?;
                if let Some(writer) = self.hooks.get_mut(&hook) {
                    writer.shards[shard] = Some(entry);
                }
            }
        }
        Ok(())
    }

    /// Writes the manifest once every shard is there; `None` while other parts still owe some.
    ///
    /// # Errors
    ///
    /// Rows of this part that never came.
    pub fn finish(mut self) -> Result<Option<Manifest>, Error> {
        let windows = self.layout.windows();
        let hooks: Vec<HookPoint> = self.hooks.keys().copied().collect();
        let mut owed = 0;
        for hook in hooks {
            for shard in 0..self.layout.shards() {
                let Some(writer) = self.hooks.get(&hook).filter(|writer| writer.shards[shard].is_none()) else {
                    continue;
                };
                let (window, width) = (shard / self.layout.window_shards(), writer.shape.width);
                if self.part.holds(window, windows) {
                    return Err(Error::OutOfOrder {
                        hook,
                        expected: self.layout.window_rows(window).start + writer.filled,
                        found: self.layout.rows,
                    });
                }
                // Another process may have written it meanwhile.
                let entry = self.find(hook, width, shard, None)?;
                owed += usize::from(entry.is_none());
                if let Some(writer) = self.hooks.get_mut(&hook) {
                    writer.shards[shard] = entry;
                }
            }
        }
        if owed > 0 {
            return Ok(None);
        }
        let entry = |(hook, writer): (HookPoint, HookWriter)| {
            let HookShape { width, heads } = writer.shape;
            let shards = writer.shards.into_iter().flatten().collect();
            (hook, HookEntry { width, heads, shards })
        };
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            provenance: self.layout.provenance,
            dtype: self.layout.dtype,
            rows: self.layout.rows,
            rows_per_shard: self.layout.rows_per_shard,
            shuffle: self.layout.shuffle,
            roles: self.layout.roles,
            hooks: self.hooks.into_iter().map(entry).collect(),
        };
        for hook in manifest.hooks.keys() {
            remove_leftovers(&self.dir.join(hook.to_string()))?;
        }
        lm::files::write_json(&self.dir.join(MANIFEST_FILE), &manifest)?;
        Ok(Some(manifest))
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
        let open = match OpenShard::on_disk(&path, expected) {
            Ok(open) => open,
            Err(error @ (Error::OtherConfig { .. } | Error::WrongVersion { .. })) => return Err(error),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(_) => return Ok(None), // damaged: written anew
        };
        let mut hashed = Hashed::new(io::sink());
        File::open(&path)
            .and_then(|mut file| io::copy(&mut file, &mut hashed))
            .map_err(|source| Error::io(&path, source))?;
        let entry = hashed.entry(file, expected.rows);
        // The manifest's hash settles it; without a manifest the shard's own checksums do.
        let whole = recorded == Some(&entry) || open.verify();
        Ok(whole.then_some(entry))
    }

    /// Writes one shard.
    fn write(&self, hook: HookPoint, width: usize, shard: usize, data: ShardData) -> Result<ShardEntry, Error> {
        let file = shard_file(hook, shard);
        let path = self.dir.join(&file);
        let expected = self.expected(hook, width, shard);
        let mut entry = None;
        lm::files::write_atomic(&path, |out| {
            let mut out = BufWriter::with_capacity(PIECE, Hashed::new(out));
            data.encode(expected, &mut out)?;
            let hashed = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            entry = Some(hashed.entry(file, expected.rows));
            Ok(())
        })?;
        entry.ok_or_else(|| Error::io(&path, io::Error::other("was written without a hash")))
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
            dtype: self.layout.dtype,
            rows,
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

/// Removes what a process that was killed left under a temporary name.
fn remove_leftovers(dir: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(|source| Error::io(dir, source))? {
        let path = entry.map_err(|source| Error::io(dir, source))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.starts_with(".partial-")) {
            match std::fs::remove_file(&path) {
                // Another process of the same harvest was there first.
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&path, source)),
                _ => {}
            }
        }
    }
    Ok(())
}
