//! The activations of one site of a store as training takes them: without rows that are marked as special, those that are
//! trained on before those that are held out; of both the order is that of the store.
//!
//! A training that keeps its rows in memory and one that streams them hold out the same documents and see the same batches: those
//! that [`activations::Stream`] defines. Where all shards are in the sample of a streamed training, mean and scale are the same too, and
//! both end with the same bytes.
//!
//! A streamed training reads the sample before its first step, then what its batches hold, at the end what is held out, and, as long as
//! there are latents that no row has activated, other shards. Of a store that is made meanwhile ([`Store::live`]) that is all that the model
//! reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use activations::store::{Row, Unit};
use activations::{BatchOrder, Filter, HeldOut, HookRows, KnownVectors, Store, Stream, StreamConfig};
use lm::HookPoint;
use sae::{Error, Rows, Split, TrainConfig};

use crate::held_out_file::HeldOutFile;
use crate::training_site::TrainingSite;
use crate::{ConfigError, Result};

/// Shards of the sample from which mean and scale of a streamed training come, at least.
const SAMPLE_SHARDS: usize = 4;
/// Rows of that sample, at least.
const SAMPLE_ROWS: usize = 16_384;

/// Rows of other shards that a streamed training looks at in the end, where latents seem to be dead, at most. In memory it looks at all.
const LOOKED_AT: usize = 1 << 18;

/// Shards that a streamed training keeps in memory, where the store has as many.
pub(crate) fn sampled_shards(rows_per_shard: usize) -> usize {
    SAMPLE_SHARDS.max(SAMPLE_ROWS.div_ceil(rows_per_shard))
}

/// Where the activations of a training are, and what of them is held out.
#[derive(Debug)]
pub(crate) struct TrainingRows<'a> {
    store: &'a Store,
    site: TrainingSite,
    targets: BTreeSet<HookPoint>,
    held_out: HeldOut,
    /// Of rows in memory: how many each shard has that are trained on.
    trained: Vec<usize>,
    /// Of a node: rows that were to be held out and are the same vector as one that is trained on, so that nothing is measured on them.
    seen: usize,
    /// What is held out of a store that is made meanwhile, once it was made.
    file: Option<HeldOutFile>,
}

impl<'a> TrainingRows<'a> {
    /// Everything in memory.
    pub(crate) fn in_memory(
        store: &'a Store,
        site: TrainingSite,
        targets: BTreeSet<HookPoint>,
        config: &TrainConfig,
    ) -> Result<(Self, Split)> {
        let places = std::iter::once(site).chain(targets.iter().map(|&target| site.at(target)));
        let all = places.map(|place| place.rows(store)).collect::<Result<Vec<_>, _>>()?;
        let mut found = Found::of(site, all, &targets)?;
        if config.part != [0, 1] {
            let inputs = Rows {
                width: found.inputs.width,
                values: std::mem::take(&mut found.inputs.values),
            };
            let part: BTreeSet<usize> = inputs.part(config.part).into_iter().collect();
            found.inputs.values = inputs.values;
            found.kept.retain(|row| part.contains(row));
        }
        let kept = found.kept.iter().map(|&row| &found.inputs.rows[row]);
        let held_out = HeldOut::choose(kept, config.held_out, config.seed);
        let mut trained = Vec::new();
        for &row in found
            .kept
            .iter()
            .filter(|&&row| !held_out.holds(&found.inputs.rows[row]))
        {
            // All rows of a hook are there, in the order of the store.
            let shard = row / store.manifest().rows_per_shard;
            trained.resize(trained.len().max(shard + 1), 0);
            trained[shard] += 1;
        }
        let seen = match site {
            TrainingSite::Node(_) => found.drop_seen(&held_out),
            TrainingSite::Hook(..) => 0,
        };
        let split = found.split(&held_out);
        let rows = Self {
            store,
            site,
            targets,
            held_out,
            trained,
            seen,
            file: None,
        };
        Ok((rows, split))
    }

    /// Nothing in memory; what is held out is known, and no vector was read.
    pub(crate) fn streamed(
        store: &'a Store,
        site: TrainingSite,
        targets: BTreeSet<HookPoint>,
        config: &TrainConfig,
    ) -> Result<Self> {
        if config.part != [0, 1] {
            return Err(ConfigError("`part`: not with --stream, which takes all rows".to_owned()).into());
        }
        if matches!(site, TrainingSite::Node(_)) {
            bail!("{site} is a node of prompts, which are always read into memory; leave out --stream");
        }
        let mut rows = Self {
            store,
            site,
            targets,
            held_out: HeldOut::default(),
            trained: Vec::new(),
            seen: 0,
            file: None,
        };
        rows.held_out = store.held_out(site.place().0, config.held_out, config.seed)?;
        Ok(rows)
    }

    /// The sample of a streamed training: rows that are trained on, of shards spread over the store.
    pub(crate) fn sample(&self) -> Result<Split, Error> {
        self.read(&self.sampled(), &|row| !self.held_out.holds(row))
    }

    /// The shards that the sample is of.
    fn sampled(&self) -> BTreeSet<usize> {
        let shards = self.shards();
        let sampled = sampled_shards(self.store.manifest().rows_per_shard).min(shards);
        (0..sampled).map(|i| i * shards / sampled).collect()
    }

    /// Tokens that the model reads for the sample, for the batches, and for what is held out or looked at in the end; none where the store is on disk.
    pub(crate) fn tokens(&self, config: &TrainConfig) -> Result<[usize; 3], activations::Error> {
        let (sample, all, others) = (
            self.sampled(),
            (0..self.shards()).collect(),
            self.other_shards().collect(),
        );
        let stream = self.stream(config)?;
        let of_shard = |shard| self.store.tokens_of(&BTreeSet::from([shard]), &|_| true);
        Ok([
            self.store.tokens_of(&sample, &|row| !self.held_out.holds(row))?,
            stream.shards().map(of_shard).sum::<Result<usize, _>>()?,
            self.store.tokens_of(&all, &|row| self.held_out.holds(row))?
                + self.store.tokens_of(&others, &|row| !self.held_out.holds(row))?,
        ])
    }

    /// Rows that are held out.
    pub(crate) fn held_out_rows(&self) -> usize {
        self.held_out.rows()
    }

    /// Bytes of what is held out, as `f32`.
    pub(crate) fn held_out_bytes(&self) -> usize {
        let hooks = &self.store.manifest().hooks;
        let width = |(hook, head): (HookPoint, Option<usize>)| {
            let entry = hooks.get(&hook)?;
            Some(entry.width / head.and(entry.heads).unwrap_or(1))
        };
        let width: usize = self.places().into_iter().filter_map(width).sum();
        self.held_out.rows() * width * size_of::<f32>()
    }

    /// The batches of a training that streams.
    pub(crate) fn stream(&self, config: &TrainConfig) -> Result<Stream, activations::Error> {
        Stream::new(self.store, self.stream_config(config))
    }

    /// Bytes of the shards that a stream has in memory at a time, as `f32`. Where they are made meanwhile, as many wait, and one more is
    /// in the making.
    pub(crate) fn pool_bytes(&self, config: &TrainConfig) -> usize {
        let manifest = self.store.manifest();
        let stream = self.stream_config(config);
        let pool = stream.pool_shards(self.store);
        let shards = if self.store.is_live() { 2 * pool + 1 } else { pool };
        let rows = (shards * manifest.rows_per_shard).min(manifest.rows);
        let widths = stream.hooks.iter().filter_map(|(hook, _)| manifest.hooks.get(hook));
        rows * widths.map(|entry| entry.width * size_of::<f32>()).sum::<usize>()
    }

    /// The batches of a training in memory: those of the stream, or, of the rows of a node, all of them shuffled.
    pub(crate) fn order(&self, split: &Split, config: &TrainConfig) -> Result<BatchOrder, activations::Error> {
        match self.site {
            TrainingSite::Node(_) => BatchOrder::new(split.trained, config.batch, config.seed),
            TrainingSite::Hook(..) => {
                let pool = self.stream_config(config).pool_shards(self.store);
                BatchOrder::pooled(&self.trained, pool, config.batch, config.seed)
            }
        }
    }

    fn stream_config(&self, config: &TrainConfig) -> StreamConfig {
        let (hook, head) = self.site.place();
        let without_held_out = match self.held_out.rows() {
            0 => HeldOut::default(),
            _ => self.held_out.clone(),
        };
        StreamConfig {
            hooks: self.places(),
            filter: Filter {
                // Rows that are all wanted are read without looking where they come from.
                without_special: self.held_out.of() < self.store.manifest().rows,
                without_held_out,
                ..Filter::default()
            },
            steps: config.steps,
            ..StreamConfig::of(hook, head, config.batch, config.seed)
        }
    }

    /// What is held out of a shard of the store; none behind the last.
    pub(crate) fn held_out_of(&mut self, number: usize, folder: &Path) -> Result<Option<Split>, Error> {
        if number >= self.shards() || self.held_out.rows() == 0 {
            return Ok(None);
        }
        if let Some(split) = self.file.as_mut().and_then(|file| file.read(number).transpose()) {
            return split.map(Some);
        }
        let split = self.read(&BTreeSet::from([number]), &|row| self.held_out.holds(row))?;
        if !self.store.is_kept() {
            let file = self.file.get_or_insert_with(|| HeldOutFile::new(folder));
            file.write(number, &split)?;
        }
        Ok(Some(split))
    }

    /// The rows of a further shard that are trained on; none behind the last that is looked at.
    pub(crate) fn others(&self, number: usize) -> Result<Option<Split>, Error> {
        let Some(shard) = self.other_shards().nth(number) else {
            return Ok(None);
        };
        self.read(&BTreeSet::from([shard]), &|row| !self.held_out.holds(row))
            .map(Some)
    }

    /// Rows of the shards that are looked at in the end beside the sample.
    pub(crate) fn other_rows(&self) -> usize {
        let manifest = self.store.manifest();
        (self.other_shards().count() * manifest.rows_per_shard).min(manifest.rows)
    }

    /// Shards that are not of the sample, spread over the store.
    fn other_shards(&self) -> impl Iterator<Item = usize> {
        let sampled = self.sampled();
        let others: Vec<usize> = (0..self.shards()).filter(|shard| !sampled.contains(shard)).collect();
        let most = LOOKED_AT.div_ceil(self.store.manifest().rows_per_shard.max(1));
        let n = most.min(others.len());
        (0..n).map(move |i| others[i * others.len() / n])
    }

    /// Says how much is held out, and where the figures are of rows that were trained on.
    pub(crate) fn note(&self, config: &TrainConfig) -> String {
        let (site, held, all) = (self.site, self.held_out.rows(), self.held_out.of());
        let special = match self.site {
            TrainingSite::Hook(..) if config.part == [0, 1] => self.store.manifest().rows - all,
            _ => 0,
        };
        let special = match special {
            0 => String::new(),
            special => format!("; {special} rows marked as special are left out"),
        };
        let seen = match (self.seen, held) {
            (0, _) => String::new(),
            (seen, held) if seen == held => {
                "; all of them are vectors that are trained on under other prompts, so figures are of rows \
                 that were trained on"
                    .to_owned()
            }
            (seen, held) => format!(
                "; {seen} of them ({:.0} %) are left out: their vectors are trained on under other prompts",
                100.0 * seen as f64 / held as f64
            ),
        };
        let what = match (self.held_out.unit(), self.site) {
            (_, TrainingSite::Node(_)) => "prompts",
            (Unit::Document, _) => "whole documents",
            (Unit::Window, _) => "whole windows: no set of whole documents comes near the share",
        };
        match held {
            0 => format!(
                "train: {site}: none of {all} rows is held out (`held_out` is {}, and takes at least {} rows in whole documents or \
                 windows), so figures are of rows that were trained on{special}",
                config.held_out,
                HeldOut::LEAST_ROWS
            ),
            _ => format!("train: {site}: {held} of {all} rows are held out ({what}){seen}{special}"),
        }
    }

    fn shards(&self) -> usize {
        let entry = self.store.manifest().hooks.get(&self.site.place().0);
        entry.map_or(0, |entry| entry.shards.len())
    }

    /// Where the inputs are in the store, then the targets in the order of their hooks.
    fn places(&self) -> Vec<(HookPoint, Option<usize>)> {
        let targets = self.targets.iter().map(|&target| self.site.at(target).place());
        std::iter::once(self.site.place()).chain(targets).collect()
    }

    /// Those of the rows of some shards that are wanted and not marked as special.
    fn read(&self, shards: &BTreeSet<usize>, wanted: &dyn Fn(&Row) -> bool) -> Result<Split, Error> {
        let wanted = |row: &Row| !row.special && wanted(row);
        let all = self.store.rows_of(&self.places(), shards, &wanted)?;
        Ok(Found::of(self.site, all, &self.targets)?.split(&self.held_out))
    }
}

/// Rows as they were read, and which of them are kept, in what order.
struct Found {
    inputs: HookRows,
    targets: BTreeMap<HookPoint, HookRows>,
    kept: Vec<usize>,
}

impl Found {
    /// The rows of a site, and then those of its targets.
    fn of(site: TrainingSite, all: Vec<HookRows>, targets: &BTreeSet<HookPoint>) -> Result<Self, Error> {
        let mut all = all.into_iter();
        let Some(inputs) = all.next() else {
            unreachable!("the site's own rows come first")
        };
        let mut found = BTreeMap::new();
        for (&hook, target) in targets.iter().zip(all) {
            if target.rows != inputs.rows {
                let reason = format!("is {hook}, whose rows in the store are not those of {site}; harvest again");
                return Err(Error::Config {
                    field: "target",
                    reason,
                });
            }
            found.insert(hook, target);
        }
        Ok(Self {
            kept: (0..inputs.rows.len())
                .filter(|&row| !inputs.rows[row].special)
                .collect(),
            inputs,
            targets: found,
        })
    }

    /// Leaves out what is held out and is the same vector as one that is trained on; gives how many.
    fn drop_seen(&mut self, held_out: &HeldOut) -> usize {
        let row = |place: usize| &self.inputs.values[place * self.inputs.width..(place + 1) * self.inputs.width];
        let holds = |place: usize| held_out.holds(&self.inputs.rows[place]);
        let trained = self.kept.iter().filter(|&&place| !holds(place));
        let trained: Vec<f32> = trained.flat_map(|&place| row(place)).copied().collect();
        let known = KnownVectors::new(self.inputs.width, &trained);
        let kept: Vec<usize> = self
            .kept
            .iter()
            .copied()
            .filter(|&place| !holds(place) || !known.holds(row(place)))
            .collect();
        let seen = self.kept.len() - kept.len();
        self.kept = kept;
        seen
    }

    fn split(mut self, held_out: &HeldOut) -> Split {
        let (held, mut order): (Vec<usize>, Vec<usize>) = self
            .kept
            .drain(..)
            .partition(|&row| held_out.holds(&self.inputs.rows[row]));
        let trained = order.len();
        order.extend(held);
        let select = |found: HookRows| {
            let rows = Rows {
                width: found.width,
                values: found.values,
            };
            // Most stores need no other order.
            match order.iter().enumerate().all(|(place, row)| place == *row) && order.len() == rows.len() {
                true => rows,
                false => rows.select(&order),
            }
        };
        Split {
            inputs: select(self.inputs),
            targets: self
                .targets
                .into_iter()
                .map(|(hook, found)| (hook, select(found)))
                .collect(),
            trained,
        }
    }
}
