//! The encoder of a sparse autoencoder: dense product and exact selection, block by block.
//!
//! Pre-activations of a few hundred rows are computed, searched while they are in cache, and overwritten by the next; what
//! is kept are the active entries and their values.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::bf16::Packed;
use crate::gemm::{Matrix, gemm_over};
use crate::scan::{self, Entry, NotComparable, Scratch};
use crate::vector::simd;
use crate::{ActiveSet, Precision, host};

/// Rows of a block: its pre-activations at F = 6,144 fill 12 MB.
const BLOCK_ROWS: usize = 512;
/// Rows of the first block when selection is over the whole batch: it has no bound yet and keeps every positive entry.
const FIRST_BLOCK_ROWS: usize = 128;
/// Rows that one task of the thread pool searches.
const ROWS_PER_TASK: usize = 16;

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
/// Of equal scores the leftmost latent of the first row is kept. Selection is exact, and results are the same for any number of
/// threads. In bf16 the factors of the product are rounded, and all else is as in f32.
///
/// # Shapes
///
/// - x: `[B, D]`, w_enc: `[F, D]` (row i belongs to latent i), b_enc: `[F]`, scales: `[F]`, all positive
///
/// # Errors
///
/// A selected score that is NaN or infinite.
///
/// # Panics
///
/// On [`Precision::F16`], for which there is no product in host memory: an error of the caller.
pub fn encode(
    x: &Tensor<2>,
    w_enc: &Tensor<2>,
    b_enc: &Tensor<1>,
    rule: Rule<'_>,
    scales: Option<&[f32]>,
    auxiliary: Option<Auxiliary<'_>>,
    precision: Precision,
) -> Result<Encoding, NotFinite> {
    let ([n_rows, d], [n_latents, _]) = (x.dims(), w_enc.dims());
    let (x, w_enc, b_enc) = (host::read(x), host::read(w_enc), host::read(b_enc));
    let (x, w_enc, b_enc) = (x.as_slice(), w_enc.as_slice(), b_enc.as_slice());
    let start = Instant::now();
    let weights = Weights::new(Matrix::rows(w_enc, d).transposed(), precision); // [D, F]
    let mut encode_time = start.elapsed();
    let among = auxiliary.map(|auxiliary| Among::new(auxiliary, n_latents, scales));
    let mut block = Vec::with_capacity(BLOCK_ROWS.min(n_rows) * n_latents);
    let mut found = Found::new(rule);
    let mut auxiliary_rows = Rows::default();
    let mut select_time = Duration::ZERO;
    let mut first = 0;
    while first < n_rows {
        let rows = found.block_rows(first).min(n_rows - first);
        let start = Instant::now();
        weights.multiply_over(&mut block, Matrix::rows(&x[first * d..][..rows * d], d)); // [rows, F]
        encode_time += start.elapsed();
        let start = Instant::now();
        let search = Search {
            b_enc,
            rule,
            bound: found.bound,
            scales,
            among: among.as_ref(),
        };
        let tasks: Vec<(Rows, Rows)> = block
            .par_chunks_mut(ROWS_PER_TASK * n_latents)
            .enumerate()
            .map(|(task, rows)| search.rows(first + task * ROWS_PER_TASK, rows))
            .collect::<Result<_, _>>()?;
        for (active, second) in tasks {
            found.rows.extend(&active);
            auxiliary_rows.extend(&second);
        }
        found.prune();
        select_time += start.elapsed();
        first += rows;
    }
    let start = Instant::now();
    let active = found.rows.encoded(n_latents);
    let auxiliary = auxiliary.map(|_| auxiliary_rows.encoded(n_latents));
    select_time += start.elapsed();
    Ok(Encoding {
        active,
        auxiliary,
        encode_time,
        select_time,
    })
}

/// The right factor of every block's product.
enum Weights<'a> {
    F32(Matrix<'a>),
    Bf16(Packed),
}

impl<'a> Weights<'a> {
    fn new(weights: Matrix<'a>, precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(weights),
            Precision::Bf16 => Self::Bf16(Packed::new(weights)),
            Precision::F16 => unreachable!("there is no product of f16 in host memory"),
        }
    }

    fn multiply_over(&self, out: &mut Vec<f32>, rows: Matrix<'_>) {
        match self {
            Self::F32(weights) => gemm_over(out, rows, *weights),
            Self::Bf16(weights) => weights.multiply_over(out, rows),
        }
    }
}

/// How the rows of a block are searched.
struct Search<'a> {
    b_enc: &'a [f32],
    rule: Rule<'a>,
    /// A score that entries must exceed where selection is over the whole batch.
    bound: f32,
    scales: Option<&'a [f32]>,
    among: Option<&'a Among<'a>>,
}

impl Search<'_> {
    /// Active and auxiliary entries of some rows of products, to which the bias is added; `first` is the number of the first
    /// row in the batch.
    fn rows(&self, first: usize, block: &mut [f32]) -> Result<(Rows, Rows), NotFinite> {
        let (mut active, mut second, mut scratch) = (Rows::default(), Rows::default(), Scratch::default());
        for (i, row) in block.chunks_exact_mut(self.b_enc.len()).enumerate() {
            let (entries, scratch) = (&mut active.entries, &mut scratch);
            simd!(|| match self.rule {
                Rule::PerRow(k) => scan::largest(row, self.b_enc, self.scales, k, scratch, entries),
                Rule::PerBatch(_) => scan::above_score(row, self.b_enc, self.scales, self.bound, scratch, entries),
                Rule::Above(bounds) => scan::above(row, self.b_enc, bounds, scratch, entries),
            })
            .map_err(|NotComparable| NotFinite { row: first + i })?;
            active.end_row();
            if let Some(among) = self.among {
                among
                    .search(row, scratch, &mut second.entries)
                    .map_err(|NotComparable| NotFinite { row: first + i })?;
                second.end_row();
            }
        }
        Ok((active, second))
    }
}

/// The second selection: what of its latents is the same for every row.
struct Among<'a> {
    latents: &'a [u32],
    k: usize,
    /// Zeros: the bias is in the pre-activations already.
    no_bias: Vec<f32>,
    scales: Option<Vec<f32>>,
}

impl<'a> Among<'a> {
    fn new(Auxiliary { latents, k }: Auxiliary<'a>, n_latents: usize, scales: Option<&[f32]>) -> Self {
        assert!(
            latents.iter().all(|&latent| (latent as usize) < n_latents),
            "auxiliary latents"
        );
        Self {
            latents,
            k,
            no_bias: vec![0.0; latents.len()],
            scales: scales.map(|scales| latents.iter().map(|&latent| scales[latent as usize]).collect()),
        }
    }

    /// Appends the largest positive scores of these latents in a row of pre-activations.
    fn search(&self, row: &[f32], scratch: &mut Scratch, out: &mut Vec<Entry>) -> Result<(), NotComparable> {
        let first = out.len();
        let mut of_latents: Vec<f32> = self.latents.iter().map(|&latent| row[latent as usize]).collect();
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
struct Rows {
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

    fn encoded(&self, n_latents: usize) -> Encoded {
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
struct Found {
    /// Entries of the whole batch that may be kept, if the rule bounds them together.
    per_batch: Option<usize>,
    rows: Rows,
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
            rows: Rows::default(),
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
