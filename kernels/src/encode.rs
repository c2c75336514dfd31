//! The encoder of a sparse autoencoder: dense product and exact selection, block by block.
//!
//! Pre-activations of a few hundred rows are computed, searched while they are in cache, and overwritten by the next; what
//! is kept are the active entries and their values. Where it is faster, only entries that a product in bf16 does not rule out are
//! computed (`screen.rs`).
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;

use crate::bf16::Packed;
use crate::gemm::{Matrix, gemm_over};
use crate::screen::{self, Screen};
use crate::search::{Among, Auxiliary, BLOCK_ROWS, Encoded, Found, FoundInRows, NotFinite, Rule, Search};
use crate::{Precision, host};

/// Auxiliary latents are multiplied in `f32`; where more than one latent in so many is auxiliary, all latents are.
const AUXILIARY_SHARE: usize = 4;

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
    let mut times = Times::default();
    let among = auxiliary.map(|auxiliary| Among::new(auxiliary, b_enc, scales));
    let few_auxiliary = auxiliary.is_none_or(|auxiliary| auxiliary.latents.len() * AUXILIARY_SHARE <= n_latents);
    let mut screen = match precision {
        Precision::F32 if few_auxiliary => times.encoding(|| Screen::new(w_enc, b_enc, n_rows)),
        _ => None,
    };
    let encoder = Encoder {
        weights: times.encoding(|| Weights::new(Matrix::rows(w_enc, d).transposed(), precision)), // [D, F]
        of_auxiliary: match (&screen, &among) {
            (Some(_), Some(among)) => among.encoder(w_enc, d),
            _ => Vec::new(),
        },
        d,
    };
    let mut block = Vec::with_capacity(BLOCK_ROWS.min(n_rows) * n_latents);
    let mut found = Found::new(rule);
    let mut first = 0;
    while first < n_rows {
        let rows = found.block_rows(first).min(n_rows - first);
        let x = &x[first * d..][..rows * d];
        let search = Search {
            b_enc,
            rule,
            bound: found.bound,
            scales,
            among: among.as_ref(),
        };
        let may_screen = found.most_per_row(first) <= screen::most_left(n_latents);
        let screened = match screen.as_ref().filter(|_| may_screen) {
            Some(screen) => encoder.search_screened(screen, x, first, &search, &mut block, &mut times)?,
            None => None,
        };
        // A screen that leaves too many entries of one block would leave too many of the next.
        if may_screen && screened.is_none() {
            screen = None;
        }
        let in_block = match screened {
            Some(in_block) => in_block,
            None => encoder.search(x, first, &search, &mut block, &mut times)?,
        };
        times.selecting(|| found.extend(&in_block));
        first += rows;
    }
    let (active, auxiliary) = times.selecting(|| {
        let second = auxiliary.map(|_| found.auxiliary.encoded(n_latents));
        (found.rows.encoded(n_latents), second)
    });
    Ok(Encoding {
        active,
        auxiliary,
        encode_time: times.encode,
        select_time: times.select,
    })
}

/// Time spent so far.
#[derive(Debug, Default)]
struct Times {
    encode: Duration,
    select: Duration,
}

impl Times {
    fn encoding<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.encode, work)
    }

    fn selecting<T>(&mut self, work: impl FnOnce() -> T) -> T {
        timed(&mut self.select, work)
    }
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = work();
    *total += start.elapsed();
    out
}

/// What rows are multiplied with.
struct Encoder<'a> {
    weights: Weights<'a>,
    /// The rows of the auxiliary latents, `[latents, D]`; empty where nothing is screened.
    of_auxiliary: Vec<f32>,
    d: usize,
}

impl Encoder<'_> {
    /// Searches all products of a block of rows; `first` is the number of its first row in the batch.
    fn search(
        &self,
        x: &[f32],
        first: usize,
        search: &Search<'_>,
        block: &mut Vec<f32>,
        times: &mut Times,
    ) -> Result<Vec<FoundInRows>, NotFinite> {
        times.encoding(|| self.weights.multiply_over(block, Matrix::rows(x, self.d))); // [rows, F]
        times.selecting(|| search.block(first, block))
    }

    /// As [`Encoder::search`], by a screen; nothing where it leaves too many entries.
    fn search_screened(
        &self,
        screen: &Screen<'_>,
        x: &[f32],
        first: usize,
        search: &Search<'_>,
        block: &mut Vec<f32>,
        times: &mut Times,
    ) -> Result<Option<Vec<FoundInRows>>, NotFinite> {
        times.encoding(|| screen.multiply_over(block, x)); // [rows, F]
        let Some(candidates) = times.selecting(|| screen.candidates(block, x, search)) else {
            return Ok(None);
        };
        let values = times.encoding(|| screen.pre_activations(x, &candidates)); // [N]
        if search.among.is_some() {
            let of_auxiliary = Matrix::rows(&self.of_auxiliary, self.d).transposed(); // [D, latents]
            times.encoding(|| gemm_over(block, Matrix::rows(x, self.d), of_auxiliary)); // [rows, latents]
        }
        times
            .selecting(|| search.candidates(first, &candidates, &values, block))
            .map(Some)
    }
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
