//! The product in bf16 with AVX512-BF16: both factors are laid out as the kernel reads them, a tile of the output stays in registers.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use crate::bf16::{Rounds, widened};
use crate::gemm::{Matrix, PARALLEL_FROM};
use crate::vector::simd;

/// Rows of a tile of the output.
const ROWS: usize = 8;
/// Vectors of a tile's rows. 24 of the 32 registers hold sums, more than the cycles that one addition to a sum takes.
const VECTORS: usize = 3;
/// Columns of a tile.
const COLUMNS: usize = 16 * VECTORS;
/// Pairs of the inner dimension that are multiplied before the next tile: 28 kB of both factors, which fit in the first cache.
const PAIRS: usize = 128;
/// Rows of the output that one task computes, at most: at 768 numbers a row, the factor's 98 kB stay in the second cache.
const MOST_ROWS_PER_TASK: usize = 64;
/// Tasks for each thread, where there are rows enough, so that none waits long for the last.
const TASKS_PER_THREAD: usize = 8;
/// Factors of fewer numbers are laid out on one thread.
const PACKED_IN_PARALLEL_FROM: usize = 1 << 15;

/// The right factor of products, `[K, N]`: for each [`COLUMNS`] columns the pairs of rows.
pub(crate) struct Panels {
    rows: usize,
    columns: usize,
    panels: Vec<Vec<Step>>,
}

/// A pair of rows in the columns of a panel: two bf16 in each word, the first in the lower half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Step([u32; COLUMNS]);

impl AsMut<[u32]> for Step {
    fn as_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
}

/// How many tasks a thread takes at least: all of them where they are not worth a second thread.
fn least_tasks(parallel: bool) -> usize {
    if parallel { 1 } else { usize::MAX }
}

impl Panels {
    /// Whether this processor has the instructions that multiply [`Panels`].
    pub(crate) fn are_supported() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
    }

    /// Rounds and lays out `b`, where this processor can multiply with it.
    pub(crate) fn new<T: Rounds>(b: Matrix<'_, T>) -> Option<Self> {
        if !Self::are_supported() {
            return None;
        }
        let panel = |panel: usize| {
            let mut steps = vec![Step([0; COLUMNS]); b.rows.div_ceil(2)];
            pack(b.transposed(), panel * COLUMNS, COLUMNS, &mut steps);
            steps
        };
        let panels = (0..b.columns.div_ceil(COLUMNS)).into_par_iter();
        let least = least_tasks(b.rows * b.columns >= PACKED_IN_PARALLEL_FROM);
        Some(Self {
            rows: b.rows,
            columns: b.columns,
            panels: panels.with_min_len(least).map(panel).collect(),
        })
    }

    /// Writes the numbers of a row to `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        for (panel, out) in self.panels.iter().zip(out.chunks_mut(COLUMNS)) {
            for (word, out) in panel[row / 2].0.iter().zip(out) {
                *out = widened(*word, row);
            }
        }
    }

    /// Writes the numbers of a column to `out`.
    pub(crate) fn column(&self, column: usize, out: &mut [f32]) {
        let panel = &self.panels[column / COLUMNS];
        for (row, out) in out.iter_mut().enumerate() {
            *out = widened(panel[row / 2].0[column % COLUMNS], row);
        }
    }

    /// Replaces what `out` holds with the product of `a` and this factor, row by row.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply_over(&self, out: &mut Vec<f32>, a: Matrix<'_>) {
        self.multiply_columns_over(out, a, 0..self.columns);
    }

    /// Multiplies by some columns of this factor, over what `out` held.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    #[allow(
        unsafe_code,
        reason = "a buffer of zeros would be one more pass over memory, on one thread"
    )]
    pub(crate) fn multiply_columns_over(&self, out: &mut Vec<f32>, a: Matrix<'_>, columns: Range<usize>) {
        assert_eq!(a.columns, self.rows, "inner dimensions of a product");
        assert!(columns.end <= self.columns, "columns of a factor");
        let n = columns.len();
        let len = a.rows * n;
        out.clear();
        if len == 0 || self.rows == 0 {
            out.resize(len, 0.0);
            return;
        }
        out.reserve(len);
        let parallel = len * self.rows >= PARALLEL_FROM;
        let tasks = if parallel {
            TASKS_PER_THREAD * rayon::current_num_threads()
        } else {
            1
        };
        let rows = a.rows.div_ceil(tasks).next_multiple_of(ROWS).min(MOST_ROWS_PER_TASK);
        out.spare_capacity_mut()[..len]
            .par_chunks_mut(rows * n)
            .with_min_len(least_tasks(parallel))
            .enumerate()
            .for_each(|(task, out)| self.multiply_rows(out, a, task * rows, columns.clone()));
        // SAFETY: the tasks have written the first `len` numbers, all rows and columns of each, and there is room for them.
        unsafe { out.set_len(len) };
    }

    /// Writes the rows of the product from `first_row` that `out` has room for.
    fn multiply_rows(&self, out: &mut [MaybeUninit<f32>], a: Matrix<'_>, first_row: usize, columns: Range<usize>) {
        let (n, pairs) = (columns.len(), self.rows.div_ceil(2));
        let mut rows = vec![[0_u32; ROWS]; (out.len() / n).div_ceil(ROWS) * pairs];
        for (i, rows) in rows.chunks_exact_mut(pairs).enumerate() {
            pack(a, first_row + i * ROWS, ROWS, rows);
        }
        let panels = columns.start / COLUMNS..columns.end.div_ceil(COLUMNS);
        for (panel, steps) in panels.clone().zip(&self.panels[panels]) {
            // The lanes of the panel that are asked for.
            let lane = |column: usize| column.saturating_sub(panel * COLUMNS).min(COLUMNS);
            let lanes = [lane(columns.start), lane(columns.end)];
            for (block, steps) in steps.chunks(PAIRS).enumerate() {
                for (rows, out) in rows.chunks_exact(pairs).zip(out.chunks_mut(ROWS * n)) {
                    let tile = Tile {
                        out,
                        stride: n,
                        first_column: panel * COLUMNS + lanes[0] - columns.start,
                        lanes,
                        is_first: block == 0,
                    };
                    tile.add(&rows[block * PAIRS..][..steps.len()], steps);
                }
            }
        }
    }
}

/// A part of the output that is summed in registers.
struct Tile<'a> {
    /// At most [`ROWS`] whole rows of the output.
    out: &'a mut [MaybeUninit<f32>],
    /// Numbers of a row.
    stride: usize,
    /// Column of the output of the first lane.
    first_column: usize,
    /// The first lane of the panel that is written, and the one after the last.
    lanes: [usize; 2],
    /// Whether nothing has been written to the tile.
    is_first: bool,
}

#[allow(
    unsafe_code,
    reason = "two numbers at once are multiplied by an instruction that not all processors have, on registers of 16 words"
)]
impl Tile<'_> {
    /// Adds the products of some pairs.
    fn add(self, rows: &[[u32; ROWS]], steps: &[Step]) {
        // SAFETY: panels exist only where the processor has these instructions.
        unsafe { self.add_in_registers(rows, steps) }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn add_in_registers(self, rows: &[[u32; ROWS]], steps: &[Step]) {
        // The first and the last panel may be wider than the output, the last rows fewer than a tile has.
        let [first, end] = self.lanes;
        let columns = self.first_column..self.first_column + end - first;
        let masks: [__mmask16; VECTORS] = std::array::from_fn(|vector| {
            let below = |lane: usize| (1_u32 << lane.saturating_sub(16 * vector).min(16)) - 1;
            (below(end) & !below(first)) as __mmask16
        });
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        if !self.is_first {
            for (sums, row) in sums.iter_mut().zip(self.out.chunks_exact(self.stride)) {
                let row = row[columns.clone()].as_ptr().cast::<f32>().wrapping_sub(first);
                for vector in 0..VECTORS {
                    // SAFETY: the mask leaves out what lies beside the columns of the slice, which the block before has written.
                    sums[vector] = unsafe { _mm512_maskz_loadu_ps(masks[vector], row.wrapping_add(16 * vector)) };
                }
            }
        }
        for (pairs, step) in rows.iter().zip(steps) {
            // SAFETY: both types are 16 words for each vector, of any bits.
            let step = unsafe { std::mem::transmute::<[u32; COLUMNS], [__m512bh; VECTORS]>(step.0) };
            for (sums, pair) in sums.iter_mut().zip(pairs) {
                // SAFETY: both types are 16 words of any bits.
                let pair = unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(*pair as i32)) };
                for (sum, step) in sums.iter_mut().zip(step) {
                    *sum = _mm512_dpbf16_ps(*sum, pair, step);
                }
            }
        }
        for (sums, row) in sums.iter().zip(self.out.chunks_exact_mut(self.stride)) {
            let row = row[columns.clone()].as_mut_ptr().cast::<f32>().wrapping_sub(first);
            for vector in 0..VECTORS {
                // SAFETY: the mask leaves out what lies beside the columns of the slice.
                unsafe { _mm512_mask_storeu_ps(row.wrapping_add(16 * vector), masks[vector], sums[vector]) };
            }
        }
    }
}

/// Rounds `lanes` rows of `m` from `first` on, as many of them as there are, to pairs: that of row `first + i` and columns `2 j` and
/// `2 j + 1` to word `i` of `out[j]`. What is missing, rows and the last column of an odd number, is left as it was.
fn pack<T: Rounds, W: AsMut<[u32]>>(m: Matrix<'_, T>, first: usize, lanes: usize, out: &mut [W]) {
    let lanes = lanes.min(m.rows - first);
    simd!(|| match m.strides {
        (stride, 1) => pack_rows(
            &m.values[first * stride as usize..],
            stride as usize,
            m.columns,
            lanes,
            out
        ),
        (_, stride) => pack_columns(&m.values[first..], stride as usize, m.columns, lanes, out),
    });
}

/// [`pack`] of rows whose numbers follow one another.
#[inline(always)]
fn pack_rows<T: Rounds, W: AsMut<[u32]>>(values: &[T], stride: usize, columns: usize, lanes: usize, out: &mut [W]) {
    const WORDS: usize = 64;
    let mut words = [0; WORDS];
    for lane in 0..lanes {
        let row = &values[lane * stride..][..columns];
        for (row, out) in row.chunks(2 * WORDS).zip(out.chunks_mut(WORDS)) {
            let (pairs, rest) = row.as_chunks::<2>();
            for (word, [low, high]) in words.iter_mut().zip(pairs) {
                *word = low.bf16() | (high.bf16() << 16);
            }
            if let [low] = rest {
                words[pairs.len()] = low.bf16();
            }
            for (out, word) in out.iter_mut().zip(words) {
                out.as_mut()[lane] = word;
            }
        }
    }
}

/// [`pack`] of rows whose numbers of one column follow one another.
#[inline(always)]
fn pack_columns<T: Rounds, W: AsMut<[u32]>>(values: &[T], stride: usize, columns: usize, lanes: usize, out: &mut [W]) {
    for (pair, out) in out.iter_mut().enumerate() {
        let column = |column: usize| values[column * stride..][..lanes].iter();
        for (word, low) in out.as_mut().iter_mut().zip(column(2 * pair)) {
            *word = low.bf16();
        }
        if 2 * pair + 1 < columns {
            for (word, high) in out.as_mut().iter_mut().zip(column(2 * pair + 1)) {
                *word |= high.bf16() << 16;
            }
        }
    }
}
