//! Contexts of all latents of a dictionary, in one pass over a store.
//!
//! Windows of tokens are cut into slices of [`SLICE`] tokens. Every slice has a priority, a hash of its number. For each latent and
//! each half of the documents, the slices of lowest priority among those in which it is active are kept, with all its activations in
//! them; and for all latents together the slices of lowest priority at all, the probes. A slice that has left a set never belongs to
//! it again, so one pass in any order keeps whole slices, and which ones depends on the store and the seed alone. Memory is bounded
//! by the numbers kept, not by the store.
//!
//! Even documents are for explaining, odd ones for scoring: no context is in both, by construction.
//!
//! Shapes: `N` rows, `D` width of a vector, `F` latents, `P` labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use activations::Store;
use activations::store::Row;
use burn::tensor::{Device, Tensor};
use kernels::{from_vec, look_at};
use lm::HookPoint;
use rayon::prelude::*;
use tasks::{Labels, Role};

use super::truth_labels::TruthLabels;
use crate::Error;

/// Tokens of a slice.
pub const SLICE: usize = 32;
/// Rows that are encoded at once; of more, codes of ten thousand latents leave the caches before they are looked through.
pub const ROWS: usize = 512;
/// Codes that are tested together; hardly any is active, so most are passed over with one vectorised test.
const AT_ONCE: usize = 32;

/// What is scanned.
#[derive(Debug, Clone, Copy)]
pub struct ScanConfig {
    /// The hook.
    pub hook: HookPoint,
    /// One head, where it has heads.
    pub head: Option<usize>,
    /// Rows of one role; none: all rows.
    pub role: Option<Role>,
    /// Slices that are kept of each latent and half.
    pub contexts: usize,
    /// Slices that are kept of each half for all latents together.
    pub probes: usize,
    /// Seed of the priorities.
    pub seed: u64,
}

/// Which documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Even ones: what explanations are made of.
    Explain,
    /// Odd ones: what they are scored on.
    Score,
}

impl Half {
    /// The half that a document is of.
    pub fn of(document: u32) -> Self {
        match document % 2 {
            0 => Self::Explain,
            _ => Self::Score,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Explain => 0,
            Self::Score => 1,
        }
    }
}

/// A slice of a window of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slice {
    /// The window: a row of `tokens.parquet`.
    pub window: u32,
    /// Which slice of it.
    pub index: u32,
}

impl Slice {
    fn priority(self, seed: u64) -> u64 {
        // The finaliser of splitmix64.
        let mut z = (u64::from(self.window) << 20 | u64::from(self.index)) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Position of its first token.
    pub fn start(self) -> usize {
        self.index as usize * SLICE
    }
}

/// A latent's activation at a position of a window.
pub type Active = (u32, f32);

/// A slice with its priority before it, by which slices are ordered.
type Key = (u64, Slice);

/// The slices of lowest priority, each with what is active in it.
#[derive(Debug, Clone)]
struct Kept<T> {
    slices: BTreeMap<Key, Vec<T>>,
    /// The last slice, once there are as many as are kept: most slices come after it, and are turned away without a look at the others.
    last: Option<Key>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            slices: BTreeMap::new(),
            last: None,
        }
    }
}

impl<T> Kept<T> {
    /// Adds entries to a slice, unless `most` others come before it.
    fn add(&mut self, most: usize, key: Key, entries: impl IntoIterator<Item = T>) {
        if most == 0 || self.last.is_some_and(|last| last < key) {
            return;
        }
        self.slices.entry(key).or_default().extend(entries);
        if self.slices.len() > most {
            self.slices.pop_last();
        }
        if self.slices.len() == most {
            self.last = self.slices.last_key_value().map(|(key, _)| *key);
        }
    }
}

/// What is kept of one latent.
#[derive(Debug, Clone, Default)]
pub struct LatentScan {
    /// Tokens of each half on which it is active.
    pub active: [u64; 2],
    /// Its largest activation.
    pub maximum: f32,
    /// Slices of each half in which it is active, with its activations there.
    kept: [Kept<Active>; 2],
}

impl LatentScan {
    /// Slices of a half in which the latent is active, in the order of their priority, and its activations there by position.
    pub fn slices(&self, half: Half) -> impl Iterator<Item = (Slice, &[Active])> {
        self.kept[half.index()]
            .slices
            .iter()
            .map(|((_, slice), active)| (*slice, active.as_slice()))
    }
}

/// Tokens on which latents are active and labels hold, by half.
#[derive(Debug, Clone)]
pub struct LabelCounts {
    /// Labels, `P`.
    pub labels: usize,
    /// Tokens of each half.
    pub tokens: [u64; 2],
    /// `[2, P]`
    pub holds: [Vec<u32>; 2],
    /// `[2, F, P]`
    pub both: [Vec<u32>; 2],
}

/// The result of a pass.
#[derive(Debug, Default)]
pub struct Scan {
    /// By latent, `F`.
    pub latents: Vec<LatentScan>,
    /// Activations in the probes of each half: latent, position, activation.
    probes: [Kept<(u32, u32, f32)>; 2],
    /// Positions of each slice that have a vector, as bits from its first token.
    measured: HashMap<Slice, u32>,
    /// Rows that were encoded.
    pub rows: usize,
    /// Of text whose tokens have labels.
    pub counts: Option<LabelCounts>,
    /// The labels of a prompt, by window.
    pub prompts: HashMap<u32, Labels>,
    /// Where the time went.
    pub time: ScanTime,
}

/// Time of a pass; codes of a batch are computed while contexts of the one before it are kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScanTime {
    /// Reading the shards.
    pub read: Duration,
    /// Encoding the vectors.
    pub encode: Duration,
    /// Keeping contexts, on one thread.
    pub keep: Duration,
}

impl Scan {
    /// Slices of a half that stand for all of its tokens, in the order of their priority.
    pub fn probes(&self, half: Half) -> impl Iterator<Item = Slice> {
        self.probes[half.index()].slices.keys().map(|(_, slice)| *slice)
    }

    /// Activations of a latent in the probes of a half, by slice; probes in which it is silent are left out.
    pub fn in_probes(&self, half: Half, latent: u32) -> BTreeMap<Slice, Vec<Active>> {
        let mut found: BTreeMap<Slice, Vec<Active>> = BTreeMap::new();
        for ((_, slice), entries) in &self.probes[half.index()].slices {
            let of_latent = entries.iter().filter(|entry| entry.0 == latent);
            let of_latent: Vec<Active> = of_latent.map(|(_, position, value)| (*position, *value)).collect();
            if !of_latent.is_empty() {
                found.insert(*slice, of_latent);
            }
        }
        found
    }

    /// Positions of a slice that have a vector.
    pub fn positions(&self, slice: Slice) -> impl Iterator<Item = usize> {
        let bits = self.measured.get(&slice).copied().unwrap_or(0);
        (0..SLICE)
            .filter(move |i| bits & (1 << i) != 0)
            .map(move |i| slice.start() + i)
    }

    /// Slices that have a vector.
    pub fn slices(&self) -> usize {
        self.measured.len()
    }

    /// Every window of which something is kept.
    pub fn windows(&self) -> BTreeSet<u32> {
        let kept = self
            .latents
            .iter()
            .flat_map(|latent| latent.kept.iter().flat_map(|kept| kept.slices.keys()));
        let probes = self.probes.iter().flat_map(|kept| kept.slices.keys());
        kept.chain(probes).map(|(_, slice)| slice.window).collect()
    }
}

/// Scans a store. `encode`: vectors `[B, D]` and where they came from to codes `[B, F]`.
///
/// # Errors
///
/// A hook that the store does not hold, a damaged shard, a code that is not finite, no rows of the role.
pub fn scan(
    store: &Store,
    config: &ScanConfig,
    labels: Option<&TruthLabels>,
    encode: &(dyn Fn(Tensor<2>, &[Row]) -> Tensor<2> + Sync),
    device: &Device,
    on_rows: &mut dyn FnMut(usize),
) -> Result<Scan, Error> {
    let entry = store.manifest().hooks.get(&config.hook);
    let shards = entry.map_or(1, |entry| entry.shards.len());
    let mut scan = Scan::default();
    for shard in 0..shards {
        let begun = Instant::now();
        let found = store.shards_of(config.hook, config.head, &BTreeSet::from([shard]))?;
        let wanted = |row: &Row| !row.special && config.role.is_none_or(|role| row.role == Some(role));
        let mut values = Vec::with_capacity(found.values.len());
        let mut rows = Vec::with_capacity(found.rows.len());
        for (row, vector) in found.rows.into_iter().zip(found.values.chunks_exact(found.width)) {
            if wanted(&row) {
                values.extend_from_slice(vector);
                rows.push(row);
            }
        }
        scan.time.read += begun.elapsed();
        // While a batch is encoded, contexts of the one before it are kept.
        let mut encoded: Option<(&[Row], ActiveCodes)> = None;
        for (rows, values) in rows.chunks(ROWS).zip(values.chunks(ROWS * found.width)) {
            let vectors = from_vec(values.to_vec(), [rows.len(), found.width], device); // [B, D]
            let ((codes, time), added) = rayon::join(
                || timed(|| ActiveCodes::of(&encode(vectors, rows))),
                || {
                    encoded
                        .take()
                        .map_or(Ok(()), |(rows, codes)| scan.add(rows, &codes, config, labels))
                },
            );
            added?;
            scan.time.encode += time;
            on_rows(rows.len());
            encoded = Some((rows, codes));
        }
        if let Some((rows, codes)) = encoded {
            scan.add(rows, &codes, config, labels)?;
        }
    }
    if scan.rows == 0 {
        let what = config
            .role
            .map_or("rows".to_owned(), |role| format!("rows of role {role}"));
        return Err(Error::Latents {
            reason: format!("the store holds no {what} at {}", config.hook),
        });
    }
    Ok(scan)
}

/// What a function returns, and the time it takes.
fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let found = run();
    (found, begun.elapsed())
}

/// The codes of a batch that are not zero.
struct ActiveCodes {
    /// Latents, `F`.
    n_latents: usize,
    /// By row: latent and code.
    by_row: Vec<Vec<(u32, f32)>>,
}

impl ActiveCodes {
    /// Those of a batch, `[B, F]`. A code that is not a number counts as active, to be reported by [`Scan::add`].
    fn of(codes: &Tensor<2>) -> Self {
        let n_latents = codes.dims()[1];
        let by_row = look_at(codes, |codes| {
            codes.par_chunks_exact(n_latents.max(1)).map(active_of).collect()
        });
        Self { n_latents, by_row }
    }
}

/// Latents of a row that are active, with their codes.
fn active_of(row: &[f32]) -> Vec<(u32, f32)> {
    let is_active = |code: f32| code > 0.0 || code.is_nan();
    let mut active = Vec::new();
    for (first, codes) in (0..).step_by(AT_ONCE).zip(row.chunks(AT_ONCE)) {
        // Hardly any code is active, and the sum is computed for many at once.
        if codes.iter().map(|code| u32::from(is_active(*code))).sum::<u32>() > 0 {
            let latents = (first..).zip(codes.iter().copied());
            active.extend(latents.filter(|(_, code)| is_active(*code)));
        }
    }
    active
}

impl Scan {
    /// Adds a batch of rows and their codes.
    fn add(
        &mut self,
        rows: &[Row],
        codes: &ActiveCodes,
        config: &ScanConfig,
        labels: Option<&TruthLabels>,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        if self.latents.is_empty() {
            self.latents = vec![LatentScan::default(); codes.n_latents];
            self.counts = labels.map(|labels| LabelCounts {
                labels: labels.count(),
                tokens: [0; 2],
                holds: [(); 2].map(|()| vec![0; labels.count()]),
                both: [(); 2].map(|()| vec![0; labels.count() * codes.n_latents]),
            });
        }
        for (row, active) in rows.iter().zip(&codes.by_row) {
            if let Some((latent, code)) = active.iter().find(|(_, code)| !code.is_finite()) {
                return Err(Error::Latents {
                    reason: format!("latent {latent} has the code {code}; the dictionary or the store is damaged"),
                });
            }
            let slice = Slice {
                window: row.row,
                index: row.position / SLICE as u32,
            };
            let half = Half::of(row.document).index();
            let key = (slice.priority(config.seed), slice);
            *self.measured.entry(slice).or_default() |= 1 << (row.position % SLICE as u32);
            if let Some(labels) = &row.labels {
                self.prompts.entry(row.row).or_insert_with(|| labels.clone());
            }
            let entries = active.iter().map(|(latent, code)| (*latent, row.position, *code));
            self.probes[half].add(config.probes, key, entries);
            for &(latent, code) in active {
                let of = &mut self.latents[latent as usize];
                of.active[half] += 1;
                of.maximum = of.maximum.max(code);
                of.kept[half].add(config.contexts, key, [(row.position, code)]);
            }
            if let (Some(counts), Some(labels)) = (&mut self.counts, labels) {
                counts.tokens[half] += 1;
                for label in labels.of_row(row) {
                    counts.holds[half][label as usize] += 1;
                    for (latent, _) in active {
                        counts.both[half][*latent as usize * counts.labels + label as usize] += 1;
                    }
                }
            }
        }
        self.rows += rows.len();
        self.time.keep += begun.elapsed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(window: u32, position: u32) -> Row {
        Row {
            row: window,
            document: window,
            position,
            ..Row::default()
        }
    }

    fn scanned(order: &[usize], contexts: usize, codes: &[f32]) -> Scan {
        let config = ScanConfig {
            hook: HookPoint::ResidPre(0),
            head: None,
            role: None,
            contexts,
            probes: 5,
            seed: 3,
        };
        let mut scan = Scan::default();
        for &at in order {
            let row = row((at / 40) as u32, (at % 40) as u32);
            let codes = ActiveCodes {
                n_latents: 2,
                by_row: vec![active_of(&codes[2 * at..2 * at + 2])],
            };
            scan.add(&[row], &codes, &config, None).unwrap();
        }
        scan
    }

    fn kept(scan: &Scan, half: Half, latent: usize) -> Vec<(Slice, Vec<(u32, u32)>)> {
        let sorted = |active: &[Active]| {
            let mut active: Vec<(u32, u32)> = active.iter().map(|(at, value)| (*at, value.to_bits())).collect();
            active.sort_unstable();
            active
        };
        scan.latents[latent]
            .slices(half)
            .map(|(slice, active)| (slice, sorted(active)))
            .collect()
    }

    proptest! {
        /// One pass in any order keeps the same slices, each whole, as sorting everything does.
        #[test]
        fn the_order_of_the_rows_does_not_matter(seed in 0..200_u64) {
            use rand::seq::SliceRandom;
            let mut rng = kernels::random::rng(seed, "scan");
            let n = 12 * 40;
            let codes: Vec<f32> = kernels::random::normal(&mut rng, 2 * n, 1.0).iter().map(|x| (x - 1.2).max(0.0)).collect();
            let mut order: Vec<usize> = (0..n).collect();
            let all = scanned(&order, 1000, &codes);
            order.shuffle(&mut rng);
            let found = scanned(&order, 4, &codes);
            for half in [Half::Explain, Half::Score] {
                for latent in 0..2 {
                    let expected: Vec<_> = kept(&all, half, latent).into_iter().take(4).collect();
                    prop_assert_eq!(kept(&found, half, latent), expected);
                }
                let mut slices: Vec<(u64, Slice)> = (0..12).filter(|window| Half::of(*window) == half)
                    .flat_map(|window| (0..2).map(move |index| Slice { window, index }))
                    .map(|slice| (slice.priority(3), slice)).collect();
                slices.sort_unstable();
                let probes: Vec<Slice> = slices.iter().take(5).map(|(_, slice)| *slice).collect();
                prop_assert_eq!(found.probes(half).collect::<Vec<_>>(), probes.clone());
                for latent in 0..2 {
                    for (slice, mut active) in found.in_probes(half, latent) {
                        active.sort_by_key(|entry| entry.0);
                        let expected = (0..40_u32).filter(|at| at / 32 == slice.index).filter_map(|at| {
                            let code = codes[2 * (slice.window as usize * 40 + at as usize) + latent as usize];
                            (code > 0.0).then_some((at, code))
                        });
                        prop_assert_eq!(active, expected.collect::<Vec<_>>());
                    }
                }
            }
            let slice = Slice { window: 3, index: 1 };
            prop_assert_eq!(found.positions(slice).collect::<Vec<_>>(), (32..40).collect::<Vec<_>>());
        }
    }
}
