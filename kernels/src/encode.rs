//! The encoder of a sparse autoencoder: dense product and exact selection, block by block.
//!
//! Pre-activations of a few hundred rows are computed, searched while they are in cache, and overwritten by the next; what
//! is kept are the active entries and their values.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::gemm::{Matrix, gemm};
use crate::{ActiveSet, host};

/// Rows of a block: its pre-activations at F = 6,144 fill 12 MB.
const BLOCK_ROWS: usize = 512;
/// Rows of the first block when selection is over the whole batch: it has no bound yet and keeps every positive entry.
const FIRST_BLOCK_ROWS: usize = 128;
/// Entries that are compared with a bound at once.
const LANES: usize = 16;

/// Which entries are active.
#[derive(Debug, Clone, Copy)]
pub enum Rule<'a> {
    /// The largest positive scores of each row, this many at most (TopK with its ReLU).
    PerRow(usize),
    /// The largest positive scores of the whole batch, this many at most (BatchTopK).
    PerBatch(usize),
    /// Every entry whose pre-activation is above its latent's bound, `[F]` (ReLU, Gated, JumpReLU).
    Above(&'a [f32]),
}

/// A second selection among some latents only: AuxK's among the dead ones.
#[derive(Debug, Clone, Copy)]
pub struct Auxiliary<'a> {
    /// The latents, ascending.
    pub latents: &'a [u32],
    /// Largest positive scores of each row, this many at most.
    pub k: usize,
}

/// Active entries and their pre-activations.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Which entries.
    pub set: ActiveSet,
    /// Pre-activation of each, bias included; `[N]`.
    pub values: Vec<f32>,
}

/// What [`encode`] finds.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// By the rule.
    pub active: Encoded,
    /// Among the auxiliary latents, when asked for.
    pub auxiliary: Option<Encoded>,
    /// Time of the dense product.
    pub encode_time: Duration,
    /// Time of selection and sorting.
    pub select_time: Duration,
}

/// A pre-activation that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// The first such row of the batch.
    pub row: usize,
}

/// Pre-activations `x W_encᵀ + b_enc` of the entries that `rule` makes active.
///
/// A score is a pre-activation times its latent's `scales`, if there are any (the decoder's row norms where they are free).
/// Of equal scores the leftmost latent of the first row is kept. Exact, and the same for any number of threads.
///
/// # Shapes
///
/// - x: `[B, D]`, w_enc: `[F, D]` (row i belongs to latent i), b_enc: `[F]`, scales: `[F]`, all positive
///
/// # Errors
///
/// A selected score that is NaN or infinite.
pub fn encode(
    x: &Tensor<2>,
    w_enc: &Tensor<2>,
    b_enc: &Tensor<1>,
    rule: Rule<'_>,
    scales: Option<&[f32]>,
    auxiliary: Option<Auxiliary<'_>>,
) -> Result<Encoding, NotFinite> {
    let ([n_rows, d], [n_latents, _]) = (x.dims(), w_enc.dims());
    let (x, w_enc, b_enc) = (host::read(x), host::read(w_enc), host::read(b_enc));
    let (x, w_enc, b_enc) = (x.as_slice(), w_enc.as_slice(), b_enc.as_slice());
    let weights = Matrix::rows(w_enc, d).transposed(); // [D, F]
    let auxiliary_parts = auxiliary.map(|Auxiliary { latents, .. }| {
        let of = |values: &[f32]| -> Vec<f32> { latents.iter().map(|&latent| values[latent as usize]).collect() };
        (of(b_enc), scales.map(of))
    });
    let mut buffer = vec![0.0_f32; BLOCK_ROWS.min(n_rows) * n_latents];
    let mut found = Found::new(rule);
    let mut auxiliary_rows: Vec<Vec<Entry>> = Vec::new();
    let (mut encode_time, mut select_time) = (Duration::ZERO, Duration::ZERO);
    let mut first = 0;
    while first < n_rows {
        let rows = found.block_rows(first).min(n_rows - first);
        let start = Instant::now();
        let block = &mut buffer[..rows * n_latents]; // [rows, F]
        gemm(block, Matrix::rows(&x[first * d..][..rows * d], d), weights);
        encode_time += start.elapsed();
        let start = Instant::now();
        let search = |i: usize, row: &[f32]| -> Result<(Vec<Entry>, Vec<Entry>), NotFinite> {
            let refuse = |NaN| NotFinite { row: first + i };
            let active = match rule {
                Rule::PerRow(k) => largest(row, b_enc, scales, k).map_err(refuse)?,
                Rule::PerBatch(_) => above_score(row, b_enc, scales, found.bound).map_err(refuse)?,
                Rule::Above(bounds) => above(row, b_enc, bounds).map_err(refuse)?,
            };
            let mut second = Vec::new();
            if let (Some(Auxiliary { latents, k }), Some((bias, scales))) = (auxiliary, &auxiliary_parts) {
                let row: Vec<f32> = latents.iter().map(|&latent| row[latent as usize]).collect();
                second = largest(&row, bias, scales.as_deref(), k).map_err(refuse)?;
                for entry in &mut second {
                    entry.latent = latents[entry.latent as usize];
                }
            }
            Ok((active, second))
        };
        let block: Vec<(Vec<Entry>, Vec<Entry>)> = block
            .par_chunks(n_latents)
            .enumerate()
            .map(|(i, row)| search(i, row))
            .collect::<Result<_, _>>()?;
        for (active, second) in block {
            found.add_row(active);
            if auxiliary.is_some() {
                auxiliary_rows.push(second);
            }
        }
        found.prune();
        select_time += start.elapsed();
        first += rows;
    }
    let start = Instant::now();
    let active = found.finish(n_latents);
    let auxiliary = auxiliary.map(|_| encoded(n_latents, &auxiliary_rows));
    select_time += start.elapsed();
    Ok(Encoding {
        active,
        auxiliary,
        encode_time,
        select_time,
    })
}

/// An active entry of a row.
#[derive(Debug, Clone, Copy)]
struct Entry {
    latent: u32,
    value: f32,
    score: f32,
}

/// A score that cannot be compared.
struct NaN;

/// The larger score first; of equal ones the one on the left.
fn by_score(a: &Entry, b: &Entry) -> Ordering {
    b.score.total_cmp(&a.score).then(a.latent.cmp(&b.latent))
}

/// What blocks have given so far.
struct Found {
    /// Entries of the whole batch that may be kept, if the rule bounds them together.
    per_batch: Option<usize>,
    rows: Vec<Vec<Entry>>,
    n: usize,
    /// A score that entries must exceed: with `per_batch`, the smallest of that many larger ones seen.
    bound: f32,
}

impl Found {
    fn new(rule: Rule<'_>) -> Self {
        Self {
            per_batch: match rule {
                Rule::PerBatch(n) => Some(n),
                Rule::PerRow(_) | Rule::Above(_) => None,
            },
            rows: Vec::new(),
            n: 0,
            bound: 0.0,
        }
    }

    /// Rows of the next block, which begins with row `first`.
    fn block_rows(&self, first: usize) -> usize {
        match self.per_batch {
            Some(_) => first.clamp(FIRST_BLOCK_ROWS, BLOCK_ROWS),
            None => BLOCK_ROWS,
        }
    }

    fn add_row(&mut self, entries: Vec<Entry>) {
        self.n += entries.len();
        self.rows.push(entries);
    }

    /// Drops what can no longer be among the largest entries of the batch.
    fn prune(&mut self) {
        let Some(keep) = self.per_batch.filter(|&keep| self.n > keep) else {
            return;
        };
        let mut all: Vec<(f32, u32, u32)> = Vec::with_capacity(self.n);
        for (row, entries) in self.rows.iter().enumerate() {
            all.extend(entries.iter().map(|entry| (entry.score, row as u32, entry.latent)));
        }
        let order = |a: &(f32, u32, u32), b: &(f32, u32, u32)| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)));
        if keep == 0 {
            self.rows.iter_mut().for_each(Vec::clear);
            (self.n, self.bound) = (0, f32::MAX);
            return;
        }
        let (_, last, _) = all.select_nth_unstable_by(keep - 1, order);
        let last = *last;
        for (row, entries) in self.rows.iter_mut().enumerate() {
            entries.retain(|entry| order(&(entry.score, row as u32, entry.latent), &last) != Ordering::Greater);
        }
        (self.n, self.bound) = (keep, last.0);
    }

    fn finish(self, n_latents: usize) -> Encoded {
        encoded(n_latents, &self.rows)
    }
}

fn encoded(n_latents: usize, rows: &[Vec<Entry>]) -> Encoded {
    let latents: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| row.iter().map(|entry| entry.latent).collect())
        .collect();
    Encoded {
        set: ActiveSet::from_rows(n_latents, &latents),
        values: rows.iter().flatten().map(|entry| entry.value).collect(),
    }
}

/// The `k` largest positive scores of a row, by latent.
///
/// Keeps up to twice as many candidates and a bound that rises whenever they are cut back: most entries are compared once.
fn largest(row: &[f32], bias: &[f32], scales: Option<&[f32]>, k: usize) -> Result<Vec<Entry>, NaN> {
    if k == 0 {
        return Ok(Vec::new());
    }
    let room = 2 * k.max(LANES);
    let mut kept: Vec<Entry> = Vec::with_capacity(room.min(row.len()) + LANES);
    let mut bound = 0.0;
    let cut = |kept: &mut Vec<Entry>| {
        kept.select_nth_unstable_by(k - 1, by_score);
        kept.truncate(k);
        kept[k - 1].score
    };
    for first in (0..row.len()).step_by(LANES) {
        scan(row, bias, scales, first, bound, &mut kept)?;
        if kept.len() >= room {
            bound = cut(&mut kept);
        }
    }
    if kept.len() > k {
        cut(&mut kept);
    }
    kept.sort_unstable_by_key(|entry| entry.latent);
    Ok(kept)
}

/// The entries of a row whose score exceeds `bound`, by latent.
fn above_score(row: &[f32], bias: &[f32], scales: Option<&[f32]>, bound: f32) -> Result<Vec<Entry>, NaN> {
    let mut kept = Vec::new();
    for first in (0..row.len()).step_by(LANES) {
        scan(row, bias, scales, first, bound, &mut kept)?;
    }
    Ok(kept)
}

/// Keeps those of [`LANES`] entries from `first` on whose score exceeds `bound`; what is not comparable is refused.
#[inline(always)]
fn scan(
    row: &[f32],
    bias: &[f32],
    scales: Option<&[f32]>,
    first: usize,
    bound: f32,
    kept: &mut Vec<Entry>,
) -> Result<(), NaN> {
    let end = (first + LANES).min(row.len());
    let mut scores = [0.0_f32; LANES];
    let lanes = scores.iter_mut().zip(&row[first..end]).zip(&bias[first..end]);
    lanes.for_each(|((score, h), b)| *score = h + b);
    if let Some(scales) = scales {
        scores
            .iter_mut()
            .zip(&scales[first..end])
            .for_each(|(score, scale)| *score *= scale);
    }
    // Written so that NaN counts as "not below".
    let none = scores.iter().fold(true, |none, &score| none & (score <= bound));
    if none {
        return Ok(());
    }
    for (latent, &score) in (first..end).zip(&scores) {
        if score > bound {
            let entry = Entry {
                latent: latent as u32,
                value: row[latent] + bias[latent],
                score,
            };
            kept.push(entry);
        }
        if !score.is_finite() {
            return Err(NaN);
        }
    }
    Ok(())
}

/// The entries of a row that are above their latent's bound, by latent.
fn above(row: &[f32], bias: &[f32], bounds: &[f32]) -> Result<Vec<Entry>, NaN> {
    let mut kept = Vec::new();
    let lanes = row.chunks(LANES).zip(bias.chunks(LANES)).zip(bounds.chunks(LANES));
    for (chunk, ((row, bias), bounds)) in lanes.enumerate() {
        let below = |((h, b), bound): ((&f32, &f32), &f32)| h + b <= *bound;
        let none = row
            .iter()
            .zip(bias)
            .zip(bounds)
            .fold(true, |none, entry| none & below(entry));
        if none {
            continue;
        }
        for (i, ((h, b), bound)) in row.iter().zip(bias).zip(bounds).enumerate() {
            let value = h + b;
            if !value.is_finite() {
                return Err(NaN);
            }
            if value > *bound {
                let latent = (chunk * LANES + i) as u32;
                kept.push(Entry {
                    latent,
                    value,
                    score: value,
                });
            }
        }
    }
    Ok(kept)
}
