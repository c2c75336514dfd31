//! Tiles, as AMX multiplies them: 16 lines of 16 words, two bf16 in each word.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use crate::bf16::Rounds;
use crate::gemm::Matrix;

/// Lines of a tile, and words of a line.
pub(crate) const LINES: usize = 16;
/// Numbers of the inner dimension that a tile of a factor holds.
pub(crate) const DEPTH: usize = 2 * LINES;

/// Two bf16 in each word, the first in the lower half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Tile(pub(crate) [[u32; LINES]; LINES]);

/// What a lane of a factor, a row of the left one or a column of the right one, is in a tile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Line,
    Word,
}

/// What can be laid out, 32 numbers at a time.
pub(crate) trait Lines: Rounds + Default {
    /// The numbers in bf16, those of `first` in the lower half.
    fn narrow(first: &[Self; LINES], second: &[Self; LINES]) -> __m512i;
}

#[allow(unsafe_code, reason = "vectors of 16 words, of any bits")]
impl Lines for f32 {
    #[inline(always)]
    fn narrow(first: &[f32; LINES], second: &[f32; LINES]) -> __m512i {
        // SAFETY: called only by [`tile_of`], where these instructions are; the types are 16 words of any bits.
        unsafe {
            let halves = [first, second].map(|half| _mm512_loadu_ps(half.as_ptr()));
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(halves[1], halves[0]))
        }
    }
}

/// The bits of a bf16.
#[allow(unsafe_code, reason = "vectors of 16 words, of any bits")]
impl Lines for u16 {
    #[inline(always)]
    fn narrow(first: &[u16; LINES], second: &[u16; LINES]) -> __m512i {
        // SAFETY: the types are 32 numbers of 16 bits, of any bits.
        unsafe { std::mem::transmute::<[[u16; LINES]; 2], __m512i>([*first, *second]) }
    }
}

/// Writes the tiles of some `steps` of the inner dimension, for lanes from `first_tile * LINES` on, as many tiles as `out` has room
/// for: for each [`LINES`] rows of `m` one after the other.
pub(crate) fn lay_out<T: Lines>(
    m: Matrix<'_, T>,
    first_tile: usize,
    steps: Range<usize>,
    lane: Lane,
    out: &mut [MaybeUninit<Tile>],
) {
    // SAFETY: this is called only where the processor has these instructions.
    #[allow(unsafe_code, reason = "rounding is an instruction that not all processors have")]
    unsafe {
        lay_out_in_vectors(m, first_tile, steps, lane, out);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn lay_out_in_vectors<T: Lines>(
    m: Matrix<'_, T>,
    first_tile: usize,
    steps: Range<usize>,
    lane: Lane,
    out: &mut [MaybeUninit<Tile>],
) {
    let depth = steps.len();
    let tiles = out.len() / depth;
    let tile = |tile: usize, step: usize| tile_of(m, (first_tile + tile) * LINES, (steps.start + step) * DEPTH, lane);
    // What lies side by side is read one after the other.
    if m.strides.1 == 1 {
        for (i, out) in out.iter_mut().enumerate() {
            out.write(tile(i / depth, i % depth));
        }
    } else {
        for step in 0..depth {
            for i in 0..tiles {
                out[i * depth + step].write(tile(i, step));
            }
        }
    }
}

/// The tile of [`LINES`] rows of `m` from `row` on and of [`DEPTH`] columns from `column` on; zero where there are none.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn tile_of<T: Lines>(m: Matrix<'_, T>, row: usize, column: usize, lane: Lane) -> Tile {
    let rows = (m.rows - row).min(LINES);
    let columns = (m.columns - column).min(DEPTH);
    let mut lines = [_mm512_setzero_si512(); LINES];
    let (stride_of_rows, stride_of_columns) = (m.strides.0 as usize, m.strides.1 as usize);
    let is_by_row = stride_of_columns == 1;
    if is_by_row {
        for (i, line) in lines[..rows].iter_mut().enumerate() {
            let values = &m.values[(row + i) * stride_of_rows + column..][..columns];
            *line = match values.as_chunks::<LINES>().0 {
                [first, second] => T::narrow(first, second),
                _ => {
                    let [first, second] = padded::<T, 2>(values);
                    T::narrow(&first, &second)
                }
            };
        }
    } else {
        // The first of each pair of columns lies in the lower half of a word.
        let pairs = _mm512_add_epi32(
            _mm512_mullo_epi32(
                _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                _mm512_set1_epi32(0x0001_0001),
            ),
            _mm512_set1_epi32(0x0010_0000),
        );
        let column_of = |i: usize| -> [T; LINES] {
            if i >= columns {
                return [T::default(); LINES];
            }
            let values = &m.values[(column + i) * stride_of_columns + row..][..rows];
            match values.as_array::<LINES>() {
                Some(whole) => *whole,
                None => padded::<T, 1>(values)[0],
            }
        };
        for (i, line) in lines[..columns.div_ceil(2)].iter_mut().enumerate() {
            *line = _mm512_permutexvar_epi16(pairs, T::narrow(&column_of(2 * i), &column_of(2 * i + 1)));
        }
    }
    if is_by_row != (lane == Lane::Line) {
        lines = transposed(lines);
    }
    // SAFETY: both types are 16 lines of 16 words, of any bits.
    #[allow(unsafe_code, reason = "vectors are written as words")]
    Tile(unsafe { std::mem::transmute::<[__m512i; LINES], [[u32; LINES]; LINES]>(lines) })
}

/// `values` and then zeros.
fn padded<T: Lines, const N: usize>(values: &[T]) -> [[T; LINES]; N] {
    let mut out = [[T::default(); LINES]; N];
    out.as_flattened_mut()[..values.len()].copy_from_slice(values);
    out
}

/// Lines and words exchanged.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(r: [__m512i; LINES]) -> [__m512i; LINES] {
    // Words of two lines, then of four, each within quarters of 4 words; then quarters.
    let mut a = r;
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut b = a;
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    // b[4 i + j], quarter q: word 4 q + j of lines 4 i .. 4 i + 4.
    let mut out = b;
    for j in 0..4 {
        let low = _mm512_shuffle_i32x4::<0x88>(b[j], b[4 + j]);
        let high = _mm512_shuffle_i32x4::<0xdd>(b[j], b[4 + j]);
        let low_after = _mm512_shuffle_i32x4::<0x88>(b[8 + j], b[12 + j]);
        let high_after = _mm512_shuffle_i32x4::<0xdd>(b[8 + j], b[12 + j]);
        out[j] = _mm512_shuffle_i32x4::<0x88>(low, low_after);
        out[4 + j] = _mm512_shuffle_i32x4::<0x88>(high, high_after);
        out[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low, low_after);
        out[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high, high_after);
    }
    out
}
