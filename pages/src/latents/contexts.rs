//! Where each latent of a dictionary is active: one pass over activations gives every latent's strongest contexts, a uniform sample
//! of its contexts, and its histogram.
//!
//! Rows come in the order of a store. A context is the stretch of a window of tokens around an active position, with what the
//! latent does at each of its tokens. The uniform sample keeps the entries with the smallest hashes of (seed, latent, window,
//! position), so what is kept depends neither on the order of the rows nor on the size of the batches.
//!
//! Shapes: `N` rows, `D` width, `F` latents.

use activations::HookRows;
use activations::store::Row;
use eval::TaskDictionary;
use tasks::Labels;

/// Rows that are encoded at once: bounds the dense codes to `BATCH * F` floats.
const BATCH: usize = 1024;

/// Bins of a histogram for each doubling of the activation.
pub const BINS_PER_OCTAVE: i32 = 4;

/// Bins of a histogram: from 2^-16 to 2^16; what lies outside counts in the outermost bins.
pub const BINS: usize = 128;

/// How much is kept of each latent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextsConfig {
    /// Contexts with the largest activations, one a window.
    pub top: usize,
    /// Contexts of the uniform sample of active positions.
    pub sample: usize,
    /// Tokens before the active position that belong to a context.
    pub before: usize,
    /// Tokens behind it.
    pub after: usize,
    /// Seed of the sample.
    pub seed: u64,
}

impl Default for ContextsConfig {
    fn default() -> Self {
        Self {
            top: 24,
            sample: 40,
            before: 24,
            after: 8,
            seed: 0,
        }
    }
}

/// A stretch of a window in which a latent is active.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// Number of the window of tokens.
    pub window: u32,
    /// Position of the activation in the window.
    pub position: u32,
    /// Position of the first token that belongs to the context.
    pub start: u32,
    /// What the latent does at each token from `start` on; NaN where the store has no row.
    pub values: Vec<f32>,
    /// What it does at `position`.
    pub value: f32,
}

/// What one latent does.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentContexts {
    /// Rows at which it is active (its code is above 0).
    pub active: u64,
    /// Sum of its activations.
    pub sum: f64,
    /// Its largest activation; 0 for a latent that is silent.
    pub max: f32,
    /// Active rows by activation, see [`bin_start`].
    pub histogram: Vec<u32>,
    /// The strongest contexts, one a window, strongest first.
    pub top: Vec<Context>,
    /// A uniform sample of all active positions, in the order of its hashes, which is random.
    pub sample: Vec<Context>,
}

impl LatentContexts {
    /// The sampled contexts by quantile of their activation, from the weakest: `groups` groups of the ranks, of each at most `each`
    /// contexts from its middle.
    pub fn quantiles(&self, groups: usize, each: usize) -> Vec<Vec<&Context>> {
        let mut sorted: Vec<&Context> = self.sample.iter().collect();
        sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
        let n = sorted.len();
        let group = |place: usize| {
            let group = &sorted[place * n / groups..(place + 1) * n / groups];
            let skipped = group.len().saturating_sub(each) / 2;
            group.iter().copied().skip(skipped).take(each).collect()
        };
        (0..groups).map(group).collect()
    }
}

/// The base-2 logarithm of the activation at which bin `bin` of a histogram begins.
pub fn bin_start(bin: usize) -> f64 {
    f64::from(bin as i32 - BINS as i32 / 2) / f64::from(BINS_PER_OCTAVE)
}

/// The bin of an activation above 0.
fn bin(value: f32) -> usize {
    let place = (f64::from(value).log2() * f64::from(BINS_PER_OCTAVE)).floor() as i64 + BINS as i64 / 2;
    place.clamp(0, BINS as i64 - 1) as usize
}

/// Sparse codes of one row: `(latent, activation)` by rising latent, activations above 0 only.
pub type SparseCodes = Vec<(u32, f32)>;

/// A pass over activations.
#[derive(Debug)]
pub struct Contexts {
    config: ContextsConfig,
    rows: u64,
    latents: Vec<Kept>,
}

/// What is kept of one latent so far.
#[derive(Debug, Clone)]
struct Kept {
    found: LatentContexts,
    /// Hashes of the sample, in its order: rising.
    hashes: Vec<u64>,
}

impl Contexts {
    /// A pass that has seen no row of a dictionary of `n_latents` latents yet.
    pub fn new(n_latents: usize, config: ContextsConfig) -> Self {
        let silent = LatentContexts {
            active: 0,
            sum: 0.0,
            max: 0.0,
            histogram: vec![0; BINS],
            top: Vec::new(),
            sample: Vec::new(),
        };
        let kept = Kept {
            found: silent,
            hashes: Vec::new(),
        };
        Self {
            config,
            rows: 0,
            latents: vec![kept; n_latents],
        }
    }

    /// Rows seen so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Encodes rows of a store, and takes note of them; `each` is given the rows and codes of every batch too. Contexts do not reach
    /// over the ends of `rows`: give whole windows where there are any.
    ///
    /// # Shapes
    ///
    /// - rows: `[N, D]`
    pub fn encode(
        &mut self,
        dictionary: &TaskDictionary,
        rows: &HookRows,
        each: &mut dyn FnMut(&[Row], &[SparseCodes]),
    ) {
        let device = dictionary.device();
        let mut start = 0;
        while start < rows.rows.len() {
            let end = whole_windows(&rows.rows, start);
            let values = rows.values[start * rows.width..end * rows.width].to_vec();
            let batch = kernels::from_vec(values, [end - start, rows.width], &device); // [B, D]
            let labels: Vec<Labels> = rows.rows[start..end]
                .iter()
                .map(|row| row.labels.clone().unwrap_or_default())
                .collect();
            let codes = kernels::to_vec(dictionary.encode_labelled(batch, &labels)); // [B * F]
            let codes: Vec<SparseCodes> = codes.chunks_exact(dictionary.n_latents().max(1)).map(sparse).collect();
            each(&rows.rows[start..end], &codes);
            self.add(&rows.rows[start..end], &codes);
            start = end;
        }
    }

    /// Takes note of rows and their codes.
    pub fn add(&mut self, rows: &[Row], codes: &[SparseCodes]) {
        assert_eq!(rows.len(), codes.len(), "one list of codes for each row");
        self.rows += rows.len() as u64;
        for (at, (row, active)) in rows.iter().zip(codes).enumerate() {
            for &(latent, value) in active.iter().filter(|entry| entry.1 > 0.0) {
                let context = || context(self.config, rows, codes, at, latent);
                let kept = &mut self.latents[latent as usize];
                kept.found.active += 1;
                kept.found.sum += f64::from(value);
                kept.found.max = kept.found.max.max(value);
                kept.found.histogram[bin(value)] += 1;
                kept.consider_top(self.config.top, row, value, context);
                let hash = hash([self.config.seed, latent.into(), row.row.into(), row.position.into()]);
                kept.consider_sample(self.config.sample, hash, context);
            }
        }
    }

    /// What was found of each latent, `F`.
    pub fn finish(self) -> Vec<LatentContexts> {
        self.latents.into_iter().map(|kept| kept.found).collect()
    }
}

impl Kept {
    /// Of equal activations the one that comes first in the text is kept, whatever the order of the rows.
    fn consider_top(&mut self, most: usize, row: &Row, value: f32, context: impl FnOnce() -> Context) {
        let top = &mut self.found.top;
        let before = |known: &Context| {
            known.value > value || (known.value == value && (known.window, known.position) < (row.row, row.position))
        };
        match top.iter().position(|known| known.window == row.row) {
            Some(same) if before(&top[same]) => return,
            Some(same) => {
                top.remove(same);
            }
            None => {}
        }
        let place = top.partition_point(before);
        if place < most {
            top.insert(place, context());
            top.truncate(most);
        }
    }

    fn consider_sample(&mut self, most: usize, hash: u64, context: impl FnOnce() -> Context) {
        let place = self.hashes.partition_point(|known| *known < hash);
        if place < most {
            self.hashes.insert(place, hash);
            self.hashes.truncate(most);
            self.found.sample.insert(place, context());
            self.found.sample.truncate(most);
        }
    }
}

/// Where a batch that begins at `start` ends: behind the last window that fits whole, or in a window that is larger than a batch.
fn whole_windows(rows: &[Row], start: usize) -> usize {
    let end = (start + BATCH).min(rows.len());
    if end == rows.len() {
        return end;
    }
    let whole = (start + 1..=end).rev().find(|&cut| rows[cut].row != rows[cut - 1].row);
    whole.unwrap_or(end)
}

fn sparse(dense: &[f32]) -> SparseCodes {
    let entries = (0..).zip(dense.iter().copied());
    entries.filter(|entry| entry.1 > 0.0).collect()
}

/// The stretch of the window around row `at`, with what `latent` does in the rows of the same window beside it.
fn context(config: ContextsConfig, rows: &[Row], codes: &[SparseCodes], at: usize, latent: u32) -> Context {
    let row = &rows[at];
    let code = |at: usize| {
        let place = codes[at].binary_search_by_key(&latent, |entry| entry.0);
        place.map_or(0.0, |place| codes[at][place].1)
    };
    let start = row.position.saturating_sub(config.before as u32);
    let mut values = vec![f32::NAN; (row.position - start) as usize + 1 + config.after];
    let same = |other: &usize| rows[*other].row == row.row;
    let earlier = (0..at).rev().take(config.before).take_while(same);
    let later = (at..rows.len()).take(config.after + 1).take_while(same);
    for other in earlier.chain(later) {
        let place = rows[other].position.checked_sub(start);
        if let Some(value) = place.and_then(|place| values.get_mut(place as usize)) {
            *value = code(other);
        }
    }
    Context {
        window: row.row,
        position: row.position,
        start,
        value: code(at),
        values,
    }
}

/// A hash that spreads small numbers over all of u64 (splitmix64's finaliser).
fn hash(parts: [u64; 4]) -> u64 {
    parts.into_iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut x = state ^ part.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: u32 = 3;

    /// Rows of 30 windows of 7 tokens, and codes that are above 0 about every third time.
    fn text() -> (Vec<Row>, Vec<SparseCodes>) {
        let row = |i: u32| Row {
            row: i / 7,
            document: i / 7,
            position: i % 7,
            ..Row::default()
        };
        let code = |i: u32, latent: u32| ((i * 37 + latent * 11) % 23) as f32 - 14.0;
        let codes = |i: u32| {
            let all = (0..F).map(|latent| (latent, code(i, latent)));
            all.filter(|entry| entry.1 > 0.0).collect()
        };
        ((0..210).map(row).collect(), (0..210).map(codes).collect())
    }

    fn scanned(batch: usize) -> Vec<LatentContexts> {
        let (rows, codes) = text();
        let config = ContextsConfig {
            top: 5,
            sample: 8,
            before: 2,
            after: 1,
            seed: 3,
        };
        let mut contexts = Contexts::new(F as usize, config);
        for (rows, codes) in rows.chunks(batch).zip(codes.chunks(batch)) {
            contexts.add(rows, codes);
        }
        assert_eq!(contexts.rows(), 210);
        contexts.finish()
    }

    /// Against one list of all active positions, sorted.
    #[test]
    fn one_pass_finds_what_sorting_everything_finds() {
        let (rows, codes) = text();
        for (latent, found) in (0..F).zip(scanned(210)) {
            let active = rows.iter().zip(&codes).filter_map(|(row, codes)| {
                let entry = codes.iter().find(|entry| entry.0 == latent)?;
                Some((row.row, row.position, entry.1))
            });
            let mut active: Vec<(u32, u32, f32)> = active.collect();
            assert_eq!(found.active, active.len() as u64);
            assert_eq!(found.histogram.iter().sum::<u32>() as usize, active.len());
            let sum: f64 = active.iter().map(|entry| f64::from(entry.2)).sum();
            assert!((found.sum - sum).abs() < 1e-9);
            active.sort_by(|a, b| b.2.total_cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
            let mut seen = std::collections::BTreeSet::new();
            active.retain(|entry| seen.insert(entry.0));
            let expected: Vec<_> = active.iter().take(5).copied().collect();
            let top: Vec<_> = found.top.iter().map(|c| (c.window, c.position, c.value)).collect();
            assert_eq!(top, expected);
            assert_eq!(found.max, expected[0].2);
            for context in found.top.iter().chain(&found.sample) {
                for (position, value) in (context.start..).zip(&context.values) {
                    match position < 7 {
                        true => {
                            let codes = &codes[(context.window * 7 + position) as usize];
                            let expected = codes
                                .iter()
                                .find(|entry| entry.0 == latent)
                                .map_or(0.0, |entry| entry.1);
                            assert_eq!(*value, expected);
                        }
                        false => assert!(value.is_nan()),
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_kept_does_not_depend_on_batches_of_whole_windows() {
        let text = |found: Vec<LatentContexts>| format!("{found:?}");
        assert_eq!(text(scanned(210)), text(scanned(7)));
        assert_eq!(text(scanned(210)), text(scanned(70)));
    }

    /// Each active position is as likely as any other: over 2,000 seeds, the share of a latent's positions.
    #[test]
    fn the_sample_is_uniform() {
        let (rows, codes) = text();
        let mut counts = std::collections::BTreeMap::<(u32, u32), u32>::new();
        let mut active = 0;
        for seed in 0..2000 {
            let config = ContextsConfig {
                top: 0,
                sample: 5,
                before: 0,
                after: 0,
                seed,
            };
            let mut contexts = Contexts::new(F as usize, config);
            contexts.add(&rows, &codes);
            let found = contexts.finish().swap_remove(1);
            active = found.active;
            for context in found.sample {
                *counts.entry((context.window, context.position)).or_default() += 1;
            }
        }
        let expected = 2000.0 * 5.0 / active as f64;
        assert_eq!(counts.len() as u64, active);
        for count in counts.values() {
            // Six standard deviations of a binomial count.
            assert!(
                (f64::from(*count) - expected).abs() < 6.0 * expected.sqrt(),
                "{count} of {expected}"
            );
        }
    }

    #[test]
    fn bins_are_quarters_of_octaves() {
        assert_eq!((bin(1.0), bin(1.99), bin(2.0)), (64, 67, 68));
        assert_eq!((bin_start(64), bin_start(68)), (0.0, 1.0));
        assert_eq!((bin(1e-30), bin(1e30)), (0, BINS - 1));
    }

    #[test]
    fn quantiles_go_from_weak_to_strong() {
        let found = scanned(210).swap_remove(0);
        let groups = found.quantiles(4, 1);
        let values: Vec<f32> = groups.iter().map(|group| group[0].value).collect();
        assert!(groups.len() == 4 && values.is_sorted(), "{values:?}");
    }
}
