//! The search for active entries in a block of rows, and what blocks give together.
//!
//! Shapes: `F` latents, `N` entries.

#![allow(
    clippy::neg_cmp_op_on_partial_ord,
    reason = "what is NaN must count as found, so that it can be refused"
)]

use std::ops::Range;

use rayon::prelude::*;

use crate::ActiveSet;
use crate::scan::{self, Entry, NotComparable, Scratch};
use crate::vector::simd;

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

/// A pre-activation that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotFinite {
    /// The first such row of the batch.
    pub row: usize,
}

/// Rows that one task of the thread pool searches.
pub(crate) const ROWS_PER_TASK: usize = 16;
/// Rows of a block: its pre-activations at F = 6,144 fill 12 MB.
pub(crate) const BLOCK_ROWS: usize = 512;
/// Rows of the first block when selection is over the whole batch: it has no bound yet and keeps every positive entry.
const FIRST_BLOCK_ROWS: usize = 128;

/// How the rows of a block are searched.
pub(crate) struct Search<'a> {
    pub(crate) b_enc: &'a [f32],
    pub(crate) rule: Rule<'a>,
    /// A score that entries must exceed where selection is over the whole batch.
    pub(crate) bound: f32,
    pub(crate) scales: Option<&'a [f32]>,
    pub(crate) among: Option<&'a Among<'a>>,
}

/// Active and auxiliary entries of some rows.
pub(crate) struct FoundInRows {
    active: Rows,
    auxiliary: Rows,
}

impl Search<'_> {
    /// Entries of a block of products, to which the bias is added; `first` is the number of the block's first row in the batch.
    pub(crate) fn block(&self, first: usize, block: &mut [f32]) -> Result<Vec<FoundInRows>, NotFinite> {
        block
            .par_chunks_mut(ROWS_PER_TASK * self.b_enc.len())
            .enumerate()
            .map(|(task, rows)| self.rows(first + task * ROWS_PER_TASK, rows))
            .collect()
    }

    fn rows(&self, first: usize, block: &mut [f32]) -> Result<FoundInRows, NotFinite> {
        let (mut active, mut auxiliary, mut scratch) = (Rows::default(), Rows::default(), Scratch::default());
        for (row, products) in (first..).zip(block.chunks_exact_mut(self.b_enc.len())) {
            let refused = |NotComparable| NotFinite { row };
            let (entries, scratch) = (&mut active.entries, &mut scratch);
            simd!(|| match self.rule {
                Rule::PerRow(k) => scan::largest(products, self.b_enc, self.scales, k, scratch, entries),
                Rule::PerBatch(_) => scan::above_score(products, self.b_enc, self.scales, self.bound, scratch, entries),
                Rule::Above(bounds) => scan::above(products, self.b_enc, bounds, scratch, entries),
            })
            .map_err(refused)?;
            active.end_row();
            if let Some(among) = self.among {
                let of_latents = among.latents.iter().map(|&latent| products[latent as usize]).collect();
                among
                    .largest(of_latents, scratch, &mut auxiliary.entries)
                    .map_err(refused)?;
                auxiliary.end_row();
            }
        }
        Ok(FoundInRows { active, auxiliary })
    }

    /// As [`Search::block`], for a block whose active entries are among `candidates`.
    ///
    /// # Shapes
    ///
    /// - values: `[N]`, the pre-activations of the candidates
    /// - of_auxiliary: `[rows, latents]`, the products of the auxiliary latents, without their bias
    pub(crate) fn candidates(
        &self,
        first: usize,
        candidates: &ActiveSet,
        values: &[f32],
        of_auxiliary: &[f32],
    ) -> Result<Vec<FoundInRows>, NotFinite> {
        (0..candidates.n_rows().div_ceil(ROWS_PER_TASK))
            .into_par_iter()
            .map(|task| {
                let start = task * ROWS_PER_TASK;
                let rows = start..(start + ROWS_PER_TASK).min(candidates.n_rows());
                self.candidates_of_rows(first, rows, candidates, values, of_auxiliary)
            })
            .collect()
    }

    fn candidates_of_rows(
        &self,
        first: usize,
        rows: Range<usize>,
        candidates: &ActiveSet,
        values: &[f32],
        of_auxiliary: &[f32],
    ) -> Result<FoundInRows, NotFinite> {
        let (mut active, mut auxiliary, mut scratch) = (Rows::default(), Rows::default(), Scratch::default());
        for row in rows {
            let refused = |NotComparable| NotFinite { row: first + row };
            let range = candidates.row(row);
            let entries = candidates.latents()[range.clone()].iter().zip(&values[range]);
            let entries = entries.map(|(&latent, &value)| Entry {
                latent,
                value,
                score: self.scales.map_or(value, |scales| value * scales[latent as usize]),
            });
            let out = &mut active.entries;
            // NaN is not below anything, so that it is refused.
            match self.rule {
                Rule::PerRow(k) => {
                    let positive = entries.filter(|entry| !(entry.score <= 0.0));
                    scan::keep_largest(positive, k, &mut scratch.scores, out)
                }
                Rule::PerBatch(_) => scan::append(entries.filter(|entry| !(entry.score <= self.bound)), out),
                Rule::Above(bounds) => scan::append(
                    entries.filter(|entry| !(entry.value <= bounds[entry.latent as usize])),
                    out,
                ),
            }
            .map_err(refused)?;
            active.end_row();
            if let Some(among) = self.among {
                let n = among.latents.len();
                let products = of_auxiliary[row * n..][..n].iter();
                let of_latents = products
                    .zip(&among.bias)
                    .map(|(product, bias)| product + bias)
                    .collect();
                among
                    .largest(of_latents, &mut scratch, &mut auxiliary.entries)
                    .map_err(refused)?;
                auxiliary.end_row();
            }
        }
        Ok(FoundInRows { active, auxiliary })
    }
}

/// The second selection: what of its latents is the same for every row.
pub(crate) struct Among<'a> {
    latents: &'a [u32],
    k: usize,
    bias: Vec<f32>,
    /// Zeros: the bias is in the pre-activations already.
    no_bias: Vec<f32>,
    scales: Option<Vec<f32>>,
}

impl<'a> Among<'a> {
    pub(crate) fn new(Auxiliary { latents, k }: Auxiliary<'a>, b_enc: &[f32], scales: Option<&[f32]>) -> Self {
        assert!(
            latents.iter().all(|&latent| (latent as usize) < b_enc.len()),
            "auxiliary latents"
        );
        let of_latents = |all: &[f32]| latents.iter().map(|&latent| all[latent as usize]).collect();
        Self {
            latents,
            k,
            bias: of_latents(b_enc),
            no_bias: vec![0.0; latents.len()],
            scales: scales.map(of_latents),
        }
    }

    /// The rows of these latents in an encoder of width `d`: `[latents, D]`.
    pub(crate) fn encoder(&self, w_enc: &[f32], d: usize) -> Vec<f32> {
        let rows: Vec<&[f32]> = self
            .latents
            .iter()
            .map(|&latent| &w_enc[latent as usize * d..][..d])
            .collect();
        rows.concat()
    }

    /// Appends the largest positive scores of these latents, given the pre-activations of a row.
    fn largest(
        &self,
        mut of_latents: Vec<f32>,
        scratch: &mut Scratch,
        out: &mut Vec<Entry>,
    ) -> Result<(), NotComparable> {
        let first = out.len();
        simd!(|| scan::largest(
            &mut of_latents,
            &self.no_bias,
            self.scales.as_deref(),
            self.k,
            scratch,
            out
        ))?;
        for entry in &mut out[first..] {
            entry.latent = self.latents[entry.latent as usize];
        }
        Ok(())
    }
}

/// Entries row by row, within a row by latent.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    entries: Vec<Entry>,
    /// Where the entries of each row end.
    ends: Vec<usize>,
}

impl Rows {
    fn end_row(&mut self) {
        self.ends.push(self.entries.len());
    }

    fn extend(&mut self, later: &Self) {
        let before = self.entries.len();
        self.entries.extend_from_slice(&later.entries);
        self.ends.extend(later.ends.iter().map(|end| before + end));
    }

    pub(crate) fn encoded(&self, n_latents: usize) -> Encoded {
        Encoded {
            set: ActiveSet::new(
                n_latents,
                self.entries.iter().map(|entry| entry.latent).collect(),
                &self.ends,
            ),
            values: self.entries.iter().map(|entry| entry.value).collect(),
        }
    }
}

/// What blocks have given so far.
pub(crate) struct Found {
    /// Entries of the whole batch that may be kept, if the rule bounds them together.
    per_batch: Option<usize>,
    pub(crate) rows: Rows,
    pub(crate) auxiliary: Rows,
    /// A score that entries must exceed: with `per_batch`, the smallest of that many larger ones seen.
    pub(crate) bound: f32,
}

impl Found {
    pub(crate) fn new(rule: Rule<'_>) -> Self {
        Self {
            per_batch: match rule {
                Rule::PerBatch(n) => Some(n),
                Rule::PerRow(_) | Rule::Above(_) => None,
            },
            rows: Rows::default(),
            auxiliary: Rows::default(),
            bound: 0.0,
        }
    }

    /// Rows of the next block, which begins with row `first`.
    pub(crate) fn block_rows(&self, first: usize) -> usize {
        match self.per_batch {
            Some(_) => first.clamp(FIRST_BLOCK_ROWS, BLOCK_ROWS),
            None => BLOCK_ROWS,
        }
    }

    /// Entries that a row before which `first` rows were searched can have at most, on average over rows alike.
    pub(crate) fn most_per_row(&self, first: usize) -> f64 {
        match self.per_batch {
            // Without a bound, every positive entry.
            Some(_) if first == 0 => f64::INFINITY,
            Some(keep) => keep as f64 / first as f64,
            None => 0.0,
        }
    }

    /// Takes in the entries of a block.
    pub(crate) fn extend(&mut self, block: &[FoundInRows]) {
        for found in block {
            self.rows.extend(&found.active);
            self.auxiliary.extend(&found.auxiliary);
        }
        self.prune();
    }

    /// Drops what can no longer be among the largest entries of the batch.
    fn prune(&mut self) {
        let Rows { entries, ends } = &mut self.rows;
        let Some(keep) = self.per_batch.filter(|&keep| entries.len() > keep) else {
            return;
        };
        if keep == 0 {
            entries.clear();
            ends.fill(0);
            self.bound = f32::MAX;
            return;
        }
        let mut scores: Vec<f32> = entries.iter().map(|entry| entry.score).collect();
        let place = scores.len() - keep;
        let (_, &mut least, above) = scores.select_nth_unstable_by(place, f32::total_cmp);
        // Entries that equal the least kept score fill the places that greater ones leave, in the order of the rows.
        let mut ties = keep - above.iter().filter(|&&score| score > least).count();
        let mut kept = 0;
        let mut from = 0;
        for end in ends.iter_mut() {
            for place in from..*end {
                let entry = entries[place];
                let tie = entry.score == least && ties > 0;
                ties -= usize::from(tie);
                if tie || entry.score > least {
                    entries[kept] = entry;
                    kept += 1;
                }
            }
            from = std::mem::replace(end, kept);
        }
        entries.truncate(kept);
        self.bound = least;
    }
}
