//! The product in bf16 with AMX: both factors are laid out as tiles, four tiles of the output stay in registers.
//!
//! A tile register holds 16 lines of 16 words. One instruction adds to a tile of the output, 16 rows of 16 numbers, the product of
//! 16 rows of 32 numbers and 32 rows of 16: the left factor's tile has a line for each row, the right one's for each pair of rows.
//! The order of every sum is that of the tiles along the inner dimension, whatever the tasks are.
//!
//! The instructions are written out as stable Rust has no functions for them.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::LazyLock;

use rayon::prelude::*;

use crate::bf16::widened;
use crate::bf16_tiles::{DEPTH, LINES, Lane, Lines, Tile, lay_out};
use crate::gemm::Matrix;

/// Rows and columns of the output that are summed in registers.
const BLOCK: usize = 2 * LINES;
/// Tiles of the inner dimension that are multiplied before sums go to memory, at most.
const MOST_STEPS: usize = 32;
/// Tiles of columns that all rows of a task are multiplied with before the next: 1 MB of the right factor, half of the second cache.
const TOGETHER: usize = 32;
/// Rows of the output that one task computes, at most: 512 kB of the left factor stay in the second cache, too.
const MOST_ROWS: usize = 256;
/// Products of fewer multiply-adds run on one thread: some 20 microseconds.
const PARALLEL_FROM: usize = 1 << 23;
/// Factors of fewer tiles are laid out on one thread.
const LAID_OUT_IN_PARALLEL_FROM: usize = 64;
/// Fewest columns of a task where there are fewer rows than tasks: every task lays out its own copy of the rows.
const LEAST_COLUMNS: usize = 512;
/// Tasks for each thread, where there is work enough, so that none waits long for the last.
const TASKS_PER_THREAD: usize = 4;
/// Tiles of a row that one task lays out together, so that neighbours are read together.
const LAID_OUT_TOGETHER: usize = 16;

/// The right factor of products, `[K, N]`: for each [`LINES`] columns the tiles from the first row to the last.
pub(crate) struct Tiles {
    rows: usize,
    columns: usize,
    tiles: Vec<Tile>,
}

/// Whether this processor has AMX with bf16 and the system lets the process use it, which it is asked for once.
static IS_SUPPORTED: LazyLock<bool> = LazyLock::new(|| {
    // EDX of leaf 7: bit 22 is AMX-BF16, bit 24 AMX-TILE.
    let instructions = (1 << 22) | (1 << 24);
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
        && __cpuid(0).eax >= 7
        && __cpuid_count(7, 0).edx & instructions == instructions
        && is_permitted()
});

/// Asks the system for the state of the tile registers, 8 kB more for each thread of the process.
#[allow(unsafe_code, reason = "the standard library has no function for this system call")]
fn is_permitted() -> bool {
    #[cfg(target_os = "linux")]
    {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: the call takes no pointer; where the system does not know it, it says so.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

impl Tiles {
    /// Whether this processor has the instructions that multiply [`Tiles`], and the system permits them.
    pub(crate) fn are_supported() -> bool {
        *IS_SUPPORTED
    }

    /// Rounds and lays out `b`, where this processor can multiply with it.
    #[allow(unsafe_code, reason = "zeros would be one more pass over memory, on one thread")]
    pub(crate) fn new<T: Lines>(b: Matrix<'_, T>) -> Option<Self> {
        if !Self::are_supported() {
            return None;
        }
        let depth = b.rows.div_ceil(DEPTH);
        let len = b.columns.div_ceil(LINES) * depth;
        let mut tiles = Vec::with_capacity(len);
        let room = &mut tiles.spare_capacity_mut()[..len];
        let write = |(task, tiles): (usize, &mut [MaybeUninit<Tile>])| {
            lay_out(b.transposed(), task * LAID_OUT_TOGETHER, 0..depth, Lane::Word, tiles);
        };
        if len < LAID_OUT_IN_PARALLEL_FROM {
            room.chunks_mut(LAID_OUT_TOGETHER * depth.max(1))
                .enumerate()
                .for_each(write);
        } else {
            room.par_chunks_mut(LAID_OUT_TOGETHER * depth)
                .enumerate()
                .for_each(write);
        }
        // SAFETY: the tasks have written all `len` tiles.
        unsafe { tiles.set_len(len) };
        Some(Self {
            rows: b.rows,
            columns: b.columns,
            tiles,
        })
    }

    /// Writes the numbers of a row to `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        for (tiles, out) in self.tiles.chunks(self.depth()).zip(out.chunks_mut(LINES)) {
            let line = &tiles[row / DEPTH].0[row % DEPTH / 2];
            for (word, out) in line.iter().zip(out) {
                *out = widened(*word, row);
            }
        }
    }

    /// Writes the numbers of a column to `out`.
    pub(crate) fn column(&self, column: usize, out: &mut [f32]) {
        let tiles = &self.tiles[column / LINES * self.depth()..];
        for (tile, out) in tiles.iter().zip(out.chunks_mut(DEPTH)) {
            for (row, out) in out.iter_mut().enumerate() {
                *out = widened(tile.0[row / 2][column % LINES], row);
            }
        }
    }

    /// Tiles from the first row to the last.
    fn depth(&self) -> usize {
        self.rows.div_ceil(DEPTH)
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
    #[allow(unsafe_code, reason = "zeros would be one more pass over memory, on one thread")]
    pub(crate) fn multiply_columns_over(&self, out: &mut Vec<f32>, a: Matrix<'_>, columns: Range<usize>) {
        assert_eq!(a.columns, self.rows, "inner dimensions of a product");
        assert!(columns.end <= self.columns, "columns of a factor");
        let len = a.rows * columns.len();
        out.clear();
        if len == 0 || self.rows == 0 {
            out.resize(len, 0.0);
            return;
        }
        out.reserve(len);
        let tasks = if len * self.rows >= PARALLEL_FROM {
            TASKS_PER_THREAD * rayon::current_num_threads()
        } else {
            1
        };
        let product = Product {
            a,
            b: self,
            first_column: columns.start,
            out: Output {
                start: out.as_mut_ptr(),
                rows: a.rows,
                columns: columns.len(),
            },
        };
        let [rows, width] = task_shape(a.rows, columns.len(), tasks);
        let across = columns.len().div_ceil(width);
        let run = |task: usize| product.part(task / across * rows, rows, task % across * width, width);
        let tasks = a.rows.div_ceil(rows) * across;
        if tasks == 1 {
            run(0);
        } else {
            (0..tasks).into_par_iter().for_each(run);
        }
        // SAFETY: the tasks have written the first `len` numbers, all rows and columns, and there is room for them.
        unsafe { out.set_len(len) };
    }
}

/// Rows and columns of a task, where `tasks` are wanted.
fn task_shape(rows: usize, columns: usize, tasks: usize) -> [usize; 2] {
    let down = rows.div_ceil(MOST_ROWS);
    let across = tasks.div_ceil(down).min(columns / LEAST_COLUMNS).max(1);
    let down = tasks.div_ceil(across).min(rows.div_ceil(BLOCK)).max(down);
    [(rows, down), (columns, across)].map(|(len, parts)| len.div_ceil(parts).next_multiple_of(BLOCK))
}

/// One product, whose parts are computed by tasks.
struct Product<'a> {
    a: Matrix<'a>,
    b: &'a Tiles,
    /// Column of the right factor that is the first of the output.
    first_column: usize,
    out: Output,
}

/// The output in memory that may not have been written yet, row by row.
struct Output {
    start: *mut f32,
    rows: usize,
    columns: usize,
}

#[allow(unsafe_code, reason = "tasks write parts of rows of one buffer")]
// SAFETY: no two tasks write the same numbers, and nobody reads any before all tasks are done.
unsafe impl Sync for Output {}

impl Product<'_> {
    /// Writes some rows and columns of the output, as many as there are.
    fn part(&self, first_row: usize, rows: usize, first_column: usize, columns: usize) {
        let rows = rows.min(self.out.rows - first_row);
        let columns = columns.min(self.out.columns - first_column);
        let depth = self.b.depth();
        let row_tiles = rows.div_ceil(LINES);
        // Blocks of the inner dimension of one size, but for the last.
        let steps = depth.div_ceil(depth.div_ceil(MOST_STEPS));
        let mut packed: Vec<Tile> = Vec::with_capacity(row_tiles * steps);
        // Columns of the right factor, and the tiles that hold them.
        let wanted = self.first_column + first_column..self.first_column + first_column + columns;
        let last_tile = (wanted.end - 1) / LINES;
        let _configured = Configured::new();
        for first_step in (0..depth).step_by(steps) {
            let steps = steps.min(depth - first_step);
            let range = first_step..first_step + steps;
            let packed = &mut packed.spare_capacity_mut()[..row_tiles * steps];
            lay_out(self.a, first_row / LINES, range, Lane::Line, packed);
            for together in (wanted.start / LINES..=last_tile).step_by(TOGETHER) {
                for row_tile in (0..row_tiles).step_by(2) {
                    let of_a = |tile: usize| &packed[tile.min(row_tiles - 1) * steps..][..steps];
                    for tile in (together..=last_tile.min(together + TOGETHER - 1)).step_by(2) {
                        let of_b = |tile: usize| &self.b.tiles[tile.min(last_tile) * depth + first_step..][..steps];
                        let block = Block {
                            a: [row_tile, row_tile + 1].map(of_a),
                            b: [tile, tile + 1].map(of_b),
                            is_first: first_step == 0,
                        };
                        let row = first_row + row_tile * LINES;
                        self.write(&block, row, rows - row_tile * LINES, tile * LINES, &wanted);
                    }
                }
            }
        }
    }

    /// Adds a block's products to the output, to `rows` rows from `row` on at most and to those of the `wanted` columns that lie in
    /// the block, whose first is `column`.
    #[allow(unsafe_code, reason = "the output is memory that may not have been written yet")]
    fn write(&self, block: &Block<'_>, row: usize, rows: usize, column: usize, wanted: &Range<usize>) {
        let stride = self.out.columns;
        let rows = rows.min(BLOCK);
        let [first, end] = [column.max(wanted.start), (column + BLOCK).min(wanted.end)];
        // SAFETY: the row and the column are those of a number of the output.
        let out = unsafe { self.out.start.add(row * stride + first - self.first_column) };
        if rows == BLOCK && end - first == BLOCK {
            // The rows of the output lie far apart; until the products are summed, they are on their way to the first cache.
            for row in 0..BLOCK {
                let line = out.wrapping_add(row * stride);
                // SAFETY: this reads and writes nothing.
                unsafe {
                    asm!("prefetchw [{line}]", "prefetchw [{line} + 64]", line = in(reg) line, options(nostack, preserves_flags))
                };
            }
            // SAFETY: the block lies within the output, in the part of this task, which has written it if it is not the first.
            unsafe { block.add_to(out, stride) };
            return;
        }
        let mut whole = [[0.0_f32; BLOCK]; BLOCK];
        let lanes = first - column..end - column;
        if !block.is_first {
            for (i, line) in whole[..rows].iter_mut().enumerate() {
                // SAFETY: `rows` rows and these columns lie within the output, and this task has written them.
                let written = unsafe { std::slice::from_raw_parts(out.add(i * stride), lanes.len()) };
                line[lanes.clone()].copy_from_slice(written);
            }
        }
        // SAFETY: the block is as large as the memory, which has been written.
        unsafe { block.add_to(whole.as_mut_ptr().cast(), BLOCK) };
        for (i, line) in whole[..rows].iter().enumerate() {
            let line = &line[lanes.clone()];
            // SAFETY: `rows` rows and these columns lie within the output, in the part of this task.
            unsafe { std::ptr::copy_nonoverlapping(line.as_ptr(), out.add(i * stride), line.len()) };
        }
    }
}

/// The tile registers of this thread, from their configuration to their release.
struct Configured;

#[allow(unsafe_code, reason = "stable Rust has no functions for these instructions")]
impl Configured {
    fn new() -> Self {
        /// Palette 1; each of the eight registers has 64 bytes a line and 16 lines.
        #[repr(C, align(64))]
        struct Shapes {
            palette: u8,
            start: u8,
            reserved: [u8; 14],
            bytes: [u16; 16],
            lines: [u8; 16],
        }
        let mut shapes = Shapes {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            lines: [0; 16],
        };
        shapes.bytes[..8].fill(4 * LINES as u16);
        shapes.lines[..8].fill(LINES as u8);
        // SAFETY: [`Tiles`] exist only where the processor has AMX and the system permits it; the shapes are valid.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, preserves_flags, readonly)) };
        Self
    }
}

#[allow(unsafe_code, reason = "stable Rust has no functions for these instructions")]
impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: no tile is in use after the last block.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// What is multiplied in registers: two rows of tiles with two columns of tiles.
struct Block<'a> {
    a: [&'a [MaybeUninit<Tile>]; 2],
    b: [&'a [Tile]; 2],
    /// Whether nothing has been written to the output.
    is_first: bool,
}

#[allow(unsafe_code, reason = "stable Rust has no functions for these instructions")]
impl Block<'_> {
    /// Adds the product to a block of [`BLOCK`] rows and columns at `out`, whose rows begin `stride` numbers after one another.
    ///
    /// # Safety
    ///
    /// The tile registers are configured, the tiles of `a` are written, and the block at `out` is valid for writing, and, where
    /// this is not the first product, for reading.
    unsafe fn add_to(&self, out: *mut f32, stride: usize) {
        let below = out.wrapping_add(LINES * stride);
        // SAFETY: the loop reads as many tiles of each operand as the shortest has; all else is for the caller.
        unsafe {
            asm!(
                "test {is_first:e}, {is_first:e}",
                "jz 2f",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "jmp 3f",
                "2:",
                "tileloadd tmm0, [{out} + {stride}]",
                "tileloadd tmm1, [{out} + {stride} + 64]",
                "tileloadd tmm2, [{below} + {stride}]",
                "tileloadd tmm3, [{below} + {stride} + 64]",
                "3:",
                "tileloadd tmm6, [{b0} + {line}]",
                "tileloadd tmm4, [{a0} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{b1} + {line}]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a1} + {line}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a0}, 1024",
                "add {a1}, 1024",
                "add {b0}, 1024",
                "add {b1}, 1024",
                "dec {steps}",
                "jnz 3b",
                "tilestored [{out} + {stride}], tmm0",
                "tilestored [{out} + {stride} + 64], tmm1",
                "tilestored [{below} + {stride}], tmm2",
                "tilestored [{below} + {stride} + 64], tmm3",
                is_first = in(reg) u32::from(self.is_first),
                out = in(reg) out,
                below = in(reg) below,
                stride = in(reg) 4 * stride,
                line = in(reg) 4 * LINES,
                a0 = inout(reg) self.a[0].as_ptr() => _,
                a1 = inout(reg) self.a[1].as_ptr() => _,
                b0 = inout(reg) self.b[0].as_ptr() => _,
                b1 = inout(reg) self.b[1].as_ptr() => _,
                steps = inout(reg) self.b[0].len() => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
mod tests {
    use super::*;
    use crate::bf16;

    /// Whether there is something to test here; says so where there is not.
    fn is_here() -> bool {
        if !Tiles::are_supported() {
            println!("skipped: this processor or system has no AMX");
        }
        Tiles::are_supported()
    }

    #[test]
    fn numbers_are_rounded_as_without_the_instruction_in_either_storage_order() {
        if !is_here() {
            return;
        }
        // Random bits, and the numbers around which rules change.
        let mut bits = 1_u32;
        let mut numbers: Vec<f32> = (0..37 * 45)
            .map(|_| {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(bits)
            })
            .collect();
        for (place, number) in [
            0.0,
            f32::MIN_POSITIVE,
            f32::MIN_POSITIVE.next_down(),
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ]
        .into_iter()
        .flat_map(|number| [number, -number])
        .enumerate()
        {
            numbers[place * 31] = number;
        }
        let expected: Vec<u32> = bf16::rounded(&numbers).iter().map(|x| x.to_bits()).collect();
        let (rows, columns) = (37, 45);
        let by_row = Tiles::new(Matrix::rows(&numbers, columns)).unwrap();
        let by_column = Tiles::new(Matrix::rows(&numbers, columns).transposed()).unwrap();
        let halves: Vec<u16> = expected.iter().map(|bits| (bits >> 16) as u16).collect();
        let of_halves = Tiles::new(Matrix::rows(&halves, columns)).unwrap();
        for row in 0..rows {
            let mut found = vec![[7.0; 45]; 3];
            by_row.row(row, &mut found[0]);
            by_column.column(row, &mut found[1]);
            of_halves.row(row, &mut found[2]);
            for found in found {
                assert_eq!(
                    found.map(f32::to_bits),
                    expected[row * columns..][..columns],
                    "row {row}"
                );
            }
        }
        let mut column = [7.0; 37];
        for place in 0..columns {
            by_row.column(place, &mut column);
            let expected = expected.iter().skip(place).step_by(columns);
            assert!(
                column.iter().map(|x| x.to_bits()).eq(expected.copied()),
                "column {place}"
            );
        }
    }

    #[test]
    fn tasks_cover_every_number_of_every_shape_once() {
        for rows in [1, 16, 31, 32, 33, 255, 256, 257, 1000, 5000] {
            for columns in [1, 33, 511, 512, 1024, 1025, 6144] {
                for tasks in [1, 4, 8, 64] {
                    let [down, across] = task_shape(rows, columns, tasks);
                    assert!(down > 0 && across > 0 && down <= MOST_ROWS, "{rows} {columns} {tasks}");
                    let count = rows.div_ceil(down) * columns.div_ceil(across);
                    // One more task in either direction than are wanted is the most that rounding to blocks gives.
                    assert!(
                        tasks > 1 || count == rows.div_ceil(MOST_ROWS),
                        "{rows} {columns}: {count}"
                    );
                }
            }
        }
    }

    #[test]
    fn several_blocks_and_columns_that_begin_within_a_tile_are_those_of_the_whole_product() {
        if !is_here() {
            return;
        }
        // Two blocks of the inner dimension, two task rows, and columns that begin and end in the middle of a tile.
        let [m, k, n] = [MOST_ROWS + 17, DEPTH * MOST_STEPS + 5, 150];
        let value = |i: usize, factor: usize| ((i * factor) % 7) as f32 - 3.0;
        let (a, b): (Vec<f32>, Vec<f32>) = (
            (0..m * k).map(|i| value(i, 5)).collect(),
            (0..k * n).map(|i| value(i, 3)).collect(),
        );
        let factor = Tiles::new(Matrix::rows(&b, n)).unwrap();
        for columns in [0..n, 7..n, 13..61, 40..41, 20..20] {
            let mut found = vec![7.0];
            factor.multiply_columns_over(&mut found, Matrix::rows(&a, k), columns.clone());
            assert_eq!(found.len(), m * columns.len());
            for (place, found) in found.iter().enumerate() {
                let (row, column) = (place / columns.len(), columns.start + place % columns.len());
                // Small whole numbers: every order of summation is exact.
                let expected: f32 = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
                assert_eq!(*found, expected, "{row} {column}");
            }
        }
    }
}
