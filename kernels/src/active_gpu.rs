//! The active entries of a batch where the numbers lie on a GPU: the same two orders as [`crate::ActiveSet`], made from a mask
//! without anything going through the host.
//!
//! The mask is packed into words of 32 latents. Rows count their bits and number them; blocks of rows count the bits of each
//! latent; sums of the counts before each say where its entries begin. This is a counting sort, so entries of one latent stay
//! in the order of the batch.
//!
//! Shapes: `B` rows, `F` latents, `N` active entries, `W` words of a row, `P` blocks of rows.

use burn::tensor::DType;
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::tensor::CubeTensor;

use crate::gpu::{UNITS, at_most, cube, cubes, empty, sum_before, units};

/// Latents of a word.
const BITS: usize = 32;
/// Rows whose entries of one latent one unit counts and numbers.
const BLOCK_ROWS: usize = 256;

/// The active (row, latent) entries of a batch, numbered row by row and within a row by latent.
#[derive(Debug)]
pub(crate) struct GpuSet {
    pub(crate) n_rows: usize,
    pub(crate) n_latents: usize,
    /// Number of entries, `N`.
    pub(crate) n: usize,
    /// Where each row's entries begin, `[B + 1]`.
    pub(crate) row_starts: CubeTensor,
    /// Where each latent's entries begin in the order by latent, `[F + 1]`.
    pub(crate) latent_starts: CubeTensor,
    /// Row of each entry, latent of each entry, and the entries by latent; `[3, N]`.
    pub(crate) entries: CubeTensor,
}

impl GpuSet {
    /// The entries at which `mask` `[B, F]` is not 0, of which there are `n`, more than none.
    pub(crate) fn of_mask(mask: &CubeTensor, [n_rows, n_latents]: [usize; 2], n: usize) -> Self {
        let client = &mask.client;
        let n_words = n_latents.div_ceil(BITS);
        let parts = n_rows.div_ceil(BLOCK_ROWS);
        let of = |shape: [usize; 2]| empty(mask, shape, DType::U32);
        let (words, before) = (of([n_rows, n_words]), of([n_rows, n_words])); // [B, W]
        let (row_counts, latent_counts, totals) = (of([1, n_rows]), of([parts, n_latents]), of([1, n_latents]));
        let (row_starts, latent_starts) = (of([1, n_rows + 1]), of([1, n_latents + 1]));
        let entries = of([3, n]);
        let buffer = |tensor: &CubeTensor| tensor.clone().into_buffer_arg();
        let one_cube = CubeCount::Static(1, 1, 1);
        pack::launch(
            client,
            cubes((n_rows * n_words).div_ceil(UNITS)),
            units(),
            buffer(mask),
            buffer(&words),
            n_rows as u32,
            n_latents as u32,
        );
        number_rows::launch(
            client,
            cubes(n_rows),
            units(),
            buffer(&words),
            buffer(&before),
            buffer(&row_counts),
            n_rows as u32,
            n_words as u32,
        );
        count_latents::launch(
            client,
            cubes(parts * n_latents.div_ceil(UNITS)),
            units(),
            buffer(&words),
            buffer(&latent_counts),
            n_rows as u32,
            n_latents as u32,
        );
        add_blocks::launch(
            client,
            cubes(n_latents.div_ceil(UNITS)),
            units(),
            buffer(&latent_counts),
            buffer(&totals),
            parts as u32,
            n_latents as u32,
        );
        for (counts, starts, n) in [(&row_counts, &row_starts, n_rows), (&totals, &latent_starts, n_latents)] {
            add_up::launch(
                client,
                one_cube.clone(),
                units(),
                buffer(counts),
                buffer(starts),
                n as u32,
            );
        }
        fill::launch(
            client,
            cubes(parts * n_latents.div_ceil(UNITS)),
            units(),
            buffer(&words),
            buffer(&before),
            buffer(&row_starts),
            buffer(&latent_counts),
            buffer(&latent_starts),
            buffer(&entries),
            n_rows as u32,
            n_latents as u32,
            n as u32,
        );
        Self {
            n_rows,
            n_latents,
            n,
            row_starts,
            latent_starts,
            entries,
        }
    }

    /// The numbers of a matrix `[B, F]` at the entries, `[N]`.
    pub(crate) fn pick(&self, matrix: &CubeTensor) -> CubeTensor {
        let values = empty(matrix, [self.n], DType::F32);
        pick::launch(
            &matrix.client,
            cubes(self.n.div_ceil(UNITS)),
            units(),
            matrix.clone().into_buffer_arg(),
            self.entries.clone().into_buffer_arg(),
            values.clone().into_buffer_arg(),
            self.n_latents as u32,
            self.n as u32,
        );
        values
    }
}

/// A bit for each number that is not 0; a unit makes a word.
///
/// - mask: `[B, F]`, words: `[B, W]`
#[cube(launch)]
#[allow(clippy::collapsible_if, reason = "a GPU computes both sides of &&")]
fn pack(mask: &[f32], words: &mut [u32], n_rows: u32, n_latents: u32) {
    let n_words = n_latents.div_ceil(BITS as u32);
    let place = (cube() * UNITS) as u32 + UNIT_POS_X;
    if place < n_rows * n_words {
        let row = place / n_words;
        let first = (place % n_words) * BITS as u32;
        let mut word = 0u32;
        for bit in 0..BITS as u32 {
            if first + bit < n_latents {
                if mask[(row * n_latents + first + bit) as usize] != 0.0f32 {
                    word |= 1u32 << bit;
                }
            }
        }
        words[place as usize] = word;
    }
}

/// How many bits of its row stand before each word, and how many there are in the row; a cube takes a row.
///
/// - words, before: `[B, W]`, counts: `[B]`
#[cube(launch)]
fn number_rows(words: &[u32], before: &mut [u32], counts: &mut [u32], n_rows: u32, n_words: u32) {
    let row = cube() as u32;
    let unit = UNIT_POS_X as usize;
    let mut sums = Shared::<[u32]>::new_slice(UNITS);
    // Units take stretches of the row.
    let stretch = n_words.div_ceil(UNITS as u32);
    let mut from = at_most(UNIT_POS_X * stretch, n_words);
    if row >= n_rows {
        from = n_words;
    }
    let to = at_most(from + stretch, n_words);
    let mut sum = 0u32;
    let mut i = from;
    while i < to {
        sum += words[(row * n_words + i) as usize].count_ones();
        i += 1u32;
    }
    sums[unit] = sum;
    sync_cube();
    let mut so_far = sum_before(&sums);
    i = from;
    while i < to {
        before[(row * n_words + i) as usize] = so_far;
        so_far += words[(row * n_words + i) as usize].count_ones();
        i += 1u32;
    }
    // The stretches before the last unit's, and its own, are the whole row.
    if unit == UNITS - 1 && row < n_rows {
        counts[row as usize] = so_far;
    }
}

/// How many rows of each block have each latent; a unit takes one latent in one block.
///
/// - words: `[B, W]`, counts: `[P, F]`
#[cube(launch)]
fn count_latents(words: &[u32], counts: &mut [u32], n_rows: u32, n_latents: u32) {
    let n_words = n_latents.div_ceil(BITS as u32);
    let groups = n_latents.div_ceil(UNITS as u32);
    let part = cube() as u32 / groups;
    let latent = (cube() as u32 % groups) * UNITS as u32 + UNIT_POS_X;
    if part < n_rows.div_ceil(BLOCK_ROWS as u32) && latent < n_latents {
        let end = at_most((part + 1) * BLOCK_ROWS as u32, n_rows);
        let mut count = 0u32;
        let mut row = part * BLOCK_ROWS as u32;
        while row < end {
            let word = words[(row * n_words + latent / BITS as u32) as usize];
            count += (word >> (latent % BITS as u32)) & 1u32;
            row += 1u32;
        }
        counts[(part * n_latents + latent) as usize] = count;
    }
}

/// Turns the counts of each block into those of the blocks before it, and gives those of all; a unit takes a latent.
///
/// - counts: `[P, F]`, totals: `[F]`
#[cube(launch)]
fn add_blocks(counts: &mut [u32], totals: &mut [u32], parts: u32, n_latents: u32) {
    let latent = (cube() * UNITS) as u32 + UNIT_POS_X;
    if latent < n_latents {
        let mut so_far = 0u32;
        for part in 0..parts {
            let place = (part * n_latents + latent) as usize;
            let here = counts[place];
            counts[place] = so_far;
            so_far += here;
        }
        totals[latent as usize] = so_far;
    }
}

/// Where the entries of each of `n` things begin; one cube.
///
/// - counts: `[n]`, starts: `[n + 1]`
#[cube(launch)]
fn add_up(counts: &[u32], starts: &mut [u32], n: u32) {
    let unit = UNIT_POS_X as usize;
    let mut sums = Shared::<[u32]>::new_slice(UNITS);
    let stretch = n.div_ceil(UNITS as u32);
    let from = at_most(UNIT_POS_X * stretch, n);
    let to = at_most(from + stretch, n);
    let mut sum = 0u32;
    let mut i = from;
    while i < to {
        sum += counts[i as usize];
        i += 1u32;
    }
    sums[unit] = sum;
    sync_cube();
    let mut before = sum_before(&sums);
    i = from;
    while i < to {
        starts[i as usize] = before;
        before += counts[i as usize];
        i += 1u32;
    }
    if unit == UNITS - 1 {
        starts[n as usize] = before;
    }
}

/// Writes row and latent of each entry, and its number where it stands in the order by latent; a unit takes one latent in one
/// block of rows.
///
/// - words, before: `[B, W]`, row_starts: `[B + 1]`, earlier: `[P, F]` (entries of a latent in the blocks before),
///   latent_starts: `[F + 1]`, entries: `[3, N]`
#[cube(launch)]
fn fill(
    words: &[u32],
    before: &[u32],
    row_starts: &[u32],
    earlier: &[u32],
    latent_starts: &[u32],
    entries: &mut [u32],
    n_rows: u32,
    n_latents: u32,
    n: u32,
) {
    let n_words = n_latents.div_ceil(BITS as u32);
    let groups = n_latents.div_ceil(UNITS as u32);
    let part = cube() as u32 / groups;
    let latent = (cube() as u32 % groups) * UNITS as u32 + UNIT_POS_X;
    if part < n_rows.div_ceil(BLOCK_ROWS as u32) && latent < n_latents {
        let end = at_most((part + 1) * BLOCK_ROWS as u32, n_rows);
        let mut next = latent_starts[latent as usize] + earlier[(part * n_latents + latent) as usize];
        let bit = latent % BITS as u32;
        let mut row = part * BLOCK_ROWS as u32;
        while row < end {
            let place = (row * n_words + latent / BITS as u32) as usize;
            let word = words[place];
            if (word >> bit) & 1u32 == 1u32 {
                let left = word & ((1u32 << bit) - 1u32);
                let entry = row_starts[row as usize] + before[place] + left.count_ones();
                // A mask with more marks than was said would write one part over the next.
                if entry < n && next < n {
                    entries[entry as usize] = row;
                    entries[(n + entry) as usize] = latent;
                    entries[(2u32 * n + next) as usize] = entry;
                }
                next += 1u32;
            }
            row += 1u32;
        }
    }
}

/// The numbers at the entries; a unit takes one.
///
/// - matrix: `[B, F]`, entries: `[3, N]`, values: `[N]`
#[cube(launch)]
fn pick(matrix: &[f32], entries: &[u32], values: &mut [f32], n_latents: u32, n: u32) {
    let entry = cube() * UNITS + UNIT_POS_X as usize;
    if entry < n as usize {
        let row = entries[entry];
        let latent = entries[n as usize + entry];
        values[entry] = matrix[(row * n_latents + latent) as usize];
    }
}
