//! A harvest whose shards are made in whatever order they are asked for, and kept only if that is wanted.
//!
//! A shard has the rows and the bytes that it would have on disk. The model reads the batches that a harvest to disk would read,
//! those of them that reach into the shard, so a batch that lies in two shards is read for each of them.
//!
//! Shapes: `N` rows of a shard, `W` numbers per vector.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use artifacts::Locking;
use lm::{Batch, HookPoint, Model, Passes};
use text::{Tokenizer, Windows};

use super::sequence::{Sequence, Sequences};
use super::{HarvestPlan, Source, read_batch};
use crate::store::{
    FORMAT_VERSION, HookEntry, Layout, MakeShards, Manifest, Part, Row, ShardData, ShardEntry, StoreWriter,
    TokensEntry, shard_file,
};
use crate::{Error, Store};

/// The text of a plan, ready to be read anywhere.
#[derive(Debug)]
struct LiveHarvest {
    model: Model,
    windows: Windows,
    special: BTreeSet<u32>,
    keep_special: bool,
    /// Rows of each sequence.
    counts: Vec<u32>,
    /// Rows of the source before each batch, and all of them.
    starts: Vec<usize>,
    /// The sequences of each batch.
    batches: Vec<Range<usize>>,
    batch: usize,
    layout: Layout,
    /// What writes the shards to disk, until they are all there.
    kept: Option<Mutex<Option<StoreWriter>>>,
}

/// Takes the number of a batch, its sequences, the rows of it that a window holds, and the place of the first of them among the rows of the
/// batch and in the window; says whether to go on.
type Visit<'a> = dyn FnMut(usize, &[Sequence], &[Row], [usize; 2]) -> Result<bool, Error> + 'a;

/// Where a store is kept, and who is told about its lock.
pub type Kept<'a> = (&'a Path, &'a mut dyn FnMut(Locking));

impl Store {
    /// A store whose shards are computed when they are read: nothing of it is on disk, and what is read again is computed again; or it is
    /// `kept` in a folder, in the files that [`crate::harvest()`] writes, and [`Store::finish`] writes its manifest. Vectors are those
    /// of the store that a harvest of `plan` writes, to the byte.
    ///
    /// [`Store::hash`] is that of the harvest's settings, since the bytes are not known before they are made.
    ///
    /// # Errors
    ///
    /// A plan that does not fit the model, or of prompts; where nothing is kept, one whose rows are shuffled over several shards; a folder
    /// of another harvest.
    pub fn live(model: Model, tokenizer: &Tokenizer, plan: HarvestPlan, kept: Option<Kept<'_>>) -> Result<Self, Error> {
        let sequences = plan.sequences(tokenizer, model.spec().n_ctx)?;
        let layout = plan.layout(&model, tokenizer, &sequences)?;
        if kept.is_none() && layout.window_shards() > 1 {
            let window = plan.layout_window().0;
            return Err(Error::Config {
                field: "rows_per_shard",
                reason: format!(
                    "is {}, and `shuffle_window` {window}: of a harvest that is not kept a shard is the window that is shuffled, so \
                     set both to {window}",
                    plan.rows_per_shard
                ),
            });
        }
        let kept = kept.map(|(dir, on_lock)| {
            let writer = StoreWriter::create(dir, layout.clone(), &sequences, Part::WHOLE, on_lock)?;
            Ok::<_, Error>(Mutex::new(Some(writer)))
        });
        let kept = kept.transpose()?;
        let lengths: Vec<usize> = sequences.lengths().collect();
        let counts = (0..sequences.len())
            .map(|index| sequences.count(index) as u32)
            .collect();
        drop(sequences);
        let Source::Text(windows) = plan.source else {
            return Err(Error::Config {
                field: "source",
                reason: "gives prompts, which are kept: harvest them first".to_owned(),
            });
        };
        let batches = Passes::new(&model, plan.batch).batches(lengths);
        // Neighbours, so all from the first to the last.
        let range = |batch: &Batch| Some(*batch.rows.first()?..*batch.rows.last()? + 1);
        let mut harvest = LiveHarvest {
            batches: batches.iter().filter_map(range).collect(),
            model,
            windows,
            special: tokenizer.special_ids(),
            keep_special: plan.keep_special,
            counts,
            starts: vec![0],
            batch: plan.batch,
            layout,
            kept,
        };
        for batch in &harvest.batches {
            let rows: usize = harvest.counts[batch.clone()].iter().map(|&count| count as usize).sum();
            harvest.starts.push(harvest.starts[harvest.starts.len() - 1] + rows);
        }
        let manifest = harvest.manifest();
        let settings = serde_json::to_vec(&manifest.provenance).map_err(|error| Error::Config {
            field: "source",
            reason: format!("gives settings that cannot be written as JSON ({error})"),
        })?;
        let hash = artifacts::sha256_hex(&settings);
        Ok(Self::made_by(manifest, hash, Arc::new(harvest)))
    }
}

impl LiveHarvest {
    /// What the store would hold. Files that are never written have no hashes.
    fn manifest(&self) -> Manifest {
        let layout = &self.layout;
        let shards = |hook| {
            let shard = |shard| ShardEntry {
                file: shard_file(hook, shard),
                rows: layout.rows_per_shard.min(layout.rows - shard * layout.rows_per_shard),
                bytes: 0,
                sha256: String::new(),
                crc32c: 0,
                footer_crc32c: 0,
            };
            (0..layout.shards()).map(shard).collect()
        };
        let entry = |(&hook, shape): (&HookPoint, &crate::store::HookShape)| {
            let entry = HookEntry {
                width: shape.width,
                heads: shape.heads,
                shards: shards(hook),
            };
            (hook, entry)
        };
        Manifest {
            format_version: FORMAT_VERSION,
            provenance: layout.provenance.clone(),
            dtype: layout.dtype,
            rows: layout.rows,
            rows_per_shard: layout.rows_per_shard,
            shuffle: layout.shuffle,
            roles: Vec::new(),
            tokens: TokensEntry {
                windows: self.windows.len(),
                bytes: 0,
                sha256: String::new(),
                crc32c: 0,
            },
            hooks: layout.hooks.iter().map(entry).collect(),
            sha256: String::new(),
        }
    }

    fn sequences(&self) -> Sequences<'_> {
        Sequences::Text {
            windows: &self.windows,
            special: self.special.clone(),
            keep_special: self.keep_special,
            counts: self.counts.as_slice().into(),
        }
    }

    /// The batches that reach into a window, by number.
    fn batches_of(&self, window: usize) -> Range<usize> {
        let within = self.layout.window_rows(window);
        // The last batch that begins at or before the first row, and may be one without rows.
        let first = self
            .starts
            .partition_point(|&start| start <= within.start)
            .saturating_sub(1);
        let end = self.starts.partition_point(|&start| start < within.end);
        first..end.min(self.batches.len())
    }

    /// Shows each batch that reaches into a window; gives whether all were shown.
    fn visit(&self, window: usize, visit: &mut Visit<'_>) -> Result<bool, Error> {
        let (within, sequences) = (self.layout.window_rows(window), self.sequences());
        for number in self.batches_of(window) {
            let start = self.starts[number];
            let inside = start.max(within.start)..self.starts[number + 1].min(within.end);
            if inside.is_empty() {
                continue;
            }
            let batch = sequences.read(self.batches[number].clone())?;
            let rows: Vec<Row> = batch.iter().flat_map(Sequence::rows).collect();
            let places = [inside.start - start, inside.start - within.start];
            let rows = &rows[places[0]..inside.end - start];
            if !visit(number, &batch, rows, places)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl LiveHarvest {
    /// Numbers of a stored vector.
    fn width(&self, hook: HookPoint) -> usize {
        self.layout.hooks.get(&hook).map_or(0, |shape| shape.width)
    }

    /// A batch as the model takes it.
    fn batch_of(&self, number: usize, sequences: &[Sequence]) -> Batch {
        Batch {
            tokens: sequences.first().map_or(0, |sequence| sequence.ids().len()),
            rows: self.batches[number].clone().collect(),
        }
    }

    /// A shard of each hook from disk, where its window is written first if it is not there.
    fn make_kept(
        &self,
        kept: &Mutex<Option<StoreWriter>>,
        shard: usize,
        hooks: &[HookPoint],
        stop: &AtomicBool,
    ) -> Result<Option<Vec<ShardData>>, Error> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = kept.as_mut() else {
            let reason = "the store is finished and is read from its folder".to_owned();
            return Err(Error::Stream { reason });
        };
        let (window, passes) = (
            shard / self.layout.window_shards(),
            Passes::new(&self.model, self.batch),
        );
        let (lacks, start) = (writer.lacks(window), self.layout.window_rows(window).start);
        // What was broken off before.
        writer.forget();
        let whole = lacks.is_empty()
            || self.visit(window, &mut |number, batch, rows, [skipped, first]| {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                for (hook, values) in read_batch(&passes, number, self.batch_of(number, batch), batch, &lacks)? {
                    let width = self.width(hook);
                    let values = &values[skipped * width..(skipped + rows.len()) * width];
                    writer.push(hook, start + first, rows, values)?;
                }
                Ok(true)
            })?;
        if !whole {
            return Ok(None);
        }
        hooks
            .iter()
            .map(|&hook| writer.read(hook, shard))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

impl MakeShards for LiveHarvest {
    fn rows(&self, shard: usize) -> Result<Vec<Row>, Error> {
        let (size, shards) = (self.layout.rows_per_shard, self.layout.window_shards());
        let (window, before) = (shard / shards, shard % shards * size);
        let order = self.layout.order(window);
        let mut found = vec![Row::default(); size.min(order.len() - before)];
        self.visit(window, &mut |_, _, rows, [_, first]| {
            for (row, &place) in rows.iter().zip(&order[first..]) {
                let inside = (place as usize).checked_sub(before);
                if let Some(found) = inside.and_then(|inside| found.get_mut(inside)) {
                    *found = row.clone();
                }
            }
            Ok(true)
        })?;
        Ok(found)
    }

    fn make(
        &self,
        shard: usize,
        hooks: &[HookPoint],
        wanted: &dyn Fn(&Row) -> bool,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<ShardData>>, Error> {
        if let Some(kept) = &self.kept {
            return self.make_kept(kept, shard, hooks, stop);
        }
        // A shard is a window.
        let (order, dtype) = (self.layout.order(shard), self.layout.dtype);
        let passes = Passes::new(&self.model, self.batch);
        let empty = |&hook| ShardData::empty(order.len(), self.width(hook) * dtype.size());
        let mut made: Vec<ShardData> = hooks.iter().map(empty).collect();
        let whole = self.visit(shard, &mut |number, batch, rows, [skipped, first]| {
            if stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            let places = &order[first..];
            if !rows.iter().any(wanted) {
                for data in &mut made {
                    for (row, &place) in rows.iter().zip(places) {
                        data.rows[place as usize] = row.clone();
                    }
                }
                return Ok(true);
            }
            for ((hook, values), data) in read_batch(&passes, number, self.batch_of(number, batch), batch, hooks)?
                .into_iter()
                .zip(&mut made)
            {
                let vectors = values.chunks_exact(self.width(hook)).skip(skipped);
                for (index, ((row, vector), &place)) in rows.iter().zip(vectors).zip(places).enumerate() {
                    let put = data.put(place as usize, row.clone(), vector, dtype);
                    put.map_err(|at| Error::NonFinite {
                        path: hook.to_string().into(),
                        row: self.starts[number] + skipped + index,
                        value: vector[at],
                        dtype: dtype.into(),
                    })?;
                }
            }
            Ok(true)
        })?;
        Ok(whole.then_some(made))
    }

    fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    fn finish(&self) -> Result<Option<Manifest>, Error> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.take_if(|writer| writer.is_whole()) {
            Some(writer) => writer.finish(),
            None => Ok(None),
        }
    }

    fn tokens(&self, shard: usize, wanted: &dyn Fn(&Row) -> bool) -> Result<usize, Error> {
        let mut tokens = 0;
        self.visit(shard / self.layout.window_shards(), &mut |_, batch, rows, _| {
            if rows.iter().any(wanted) {
                tokens += batch.iter().map(|sequence| sequence.ids().len()).sum::<usize>();
            }
            Ok(true)
        })?;
        Ok(tokens)
    }
}
