//! Row-wise selection where the numbers lie on a GPU: one source for wgpu and CUDA, and no number goes through the host.
//!
//! The k-th largest number of a row is found four bits at a time, from the top: [`count`] says how many of the numbers that
//! begin like it have each next digit, [`choose`] takes the digit. Numbers are compared by a key of 32 bits in which their
//! order is that of whole numbers. [`mark`] then writes the mask; of equal numbers the leftmost are kept. Nothing is atomic,
//! so the result does not depend on timing. A row is dealt to several cubes where there are few rows.
//!
//! Shapes: `R` rows, `W` numbers a row, `P` parts of a row.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use crate::gpu::{UNITS, at_most, empty, primitive, sum_before, sum_units, units};
use crate::is_gpu;

/// Bits of a key that one pass settles.
const BITS: u32 = 4;
/// Values of a digit.
const DIGITS: usize = 1 << BITS;
/// Cubes that keep a GPU busy: so many are started, if the rows are long enough.
const CUBES: usize = 1024;
/// The shortest part of a row that is worth a cube.
const SHORTEST_PART: usize = 4096;
/// Rows that one launch takes: what every API allows.
const MOST_ROWS: usize = 65_535;

/// As [`crate::top_k_mask`]; the tensor back where it does not lie on a GPU. `1 <= k <= W`, and no side is 0.
#[allow(
    clippy::result_large_err,
    reason = "tensor handles move as often as they are passed on, which is cheap"
)]
pub(crate) fn top_k_mask(z: Tensor<2>, k: usize) -> Result<Tensor<2>, Tensor<2>> {
    let ([rows, width], device) = (z.dims(), z.device());
    if !is_gpu(&device) {
        return Err(z);
    }
    if rows > MOST_ROWS {
        let blocks = (0..rows).step_by(MOST_ROWS);
        let blocks = blocks.map(|row| z.clone().slice([row..rows.min(row + MOST_ROWS), 0..width]));
        let masks: Result<Vec<_>, _> = blocks.map(|block| top_k_mask(block, k)).collect();
        return masks.map(|masks| Tensor::cat(masks, 0)).map_err(|_| z);
    }
    let state = [0, k as u32].repeat(rows);
    let state = Tensor::<2, Int>::from_data(TensorData::new(state, [rows, 2]), (&device, DType::U32));
    let (Some(state), Some(z)) = (state.try_into_primitive::<CubeBackend>().ok(), primitive(&z)) else {
        return Err(z);
    };
    let parts = CUBES.div_ceil(rows).min(width.div_ceil(SHORTEST_PART)).max(1);
    let part = width.div_ceil(parts);
    let parts = width.div_ceil(part);
    let counts = empty(&z, [rows, parts, DIGITS], DType::U32); // [R, P, 16]
    let cubes = CubeCount::Static(parts as u32, rows as u32, 1);
    let buffer = |tensor: &CubeTensor| tensor.clone().into_buffer_arg();
    for shift in (0..32).step_by(BITS as usize).rev() {
        count::launch(
            &z.client,
            cubes.clone(),
            units(),
            buffer(&z),
            buffer(&state),
            buffer(&counts),
            width as u32,
            part as u32,
            shift,
        );
        choose::launch(
            &z.client,
            CubeCount::Static(rows as u32, 1, 1),
            units(),
            buffer(&counts),
            buffer(&state),
            parts as u32,
            shift,
        );
    }
    let mask = empty(&z, [rows, width], z.dtype);
    mark::launch(
        &z.client,
        cubes,
        units(),
        buffer(&z),
        buffer(&state),
        buffer(&counts),
        buffer(&mask),
        width as u32,
        part as u32,
    );
    Ok(Tensor::from_primitive::<CubeBackend>(mask)) // [R, W]
}

/// A whole number for each float, in the same order; that of `f32::total_cmp`.
#[cube]
fn key_of(value: f32) -> u32 {
    let bits = u32::reinterpret(value);
    let mut flip = 0x8000_0000_u32;
    if bits >= 0x8000_0000_u32 {
        flip = 0xffff_ffff_u32;
    }
    bits ^ flip
}

/// How many numbers of a part have each digit at `shift`, of those whose higher digits are the chosen ones.
///
/// - z: `[R, W]`, state: `[R, 2]` (digits chosen so far, how many of the numbers that have them are kept), counts: `[R, P, 16]`
#[cube(launch)]
fn count(z: &[f32], state: &[u32], counts: &mut [u32], width: u32, part: u32, #[comptime] shift: u32) {
    let unit = UNIT_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    let place = row * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    // A column of each unit's own.
    let mut bins = Shared::<[u32]>::new_slice(DIGITS * UNITS);
    for digit in 0..DIGITS {
        bins[digit * UNITS + unit] = 0u32;
    }
    let chosen = state[2 * row];
    let from = CUBE_POS_X * part;
    let to = at_most(from + part, width);
    let mut i = from as usize + unit;
    while i < to as usize {
        let key = key_of(z[row * width as usize + i]);
        let mut counted = true;
        if comptime!(shift + BITS < 32) {
            counted = (key >> (shift + BITS)) == (chosen >> (shift + BITS));
        }
        if counted {
            let digit = ((key >> shift) & 15u32) as usize;
            bins[digit * UNITS + unit] += 1u32;
        }
        i += UNITS;
    }
    sum_units::<u32>(&mut bins, DIGITS);
    if unit < DIGITS {
        counts[place * DIGITS + unit] = bins[unit * UNITS];
    }
}

/// Takes the digit at `shift` of the smallest number that is kept: one cube a row.
///
/// - counts: `[R, P, 16]`, state: `[R, 2]`
#[cube(launch)]
fn choose(counts: &[u32], state: &mut [u32], parts: u32, #[comptime] shift: u32) {
    let unit = UNIT_POS_X as usize;
    let row = CUBE_POS_X as usize;
    let digit = unit % DIGITS;
    let mut sums = Shared::<[u32]>::new_slice(UNITS);
    let mut sum = 0u32;
    let mut part = unit / DIGITS;
    while part < parts as usize {
        sum += counts[(row * parts as usize + part) * DIGITS + digit];
        part += UNITS / DIGITS;
    }
    sums[unit] = sum;
    sync_cube();
    if unit == 0 {
        let mut left = state[2 * row + 1];
        let mut chosen = 0u32;
        let mut found = false;
        for i in 0..DIGITS {
            let digit = DIGITS - 1 - i;
            let mut n = 0u32;
            for group in 0..UNITS / DIGITS {
                n += sums[group * DIGITS + digit];
            }
            if !found {
                if n >= left {
                    found = true;
                    chosen = digit as u32;
                } else {
                    left -= n;
                }
            }
        }
        state[2 * row] |= chosen << shift;
        state[2 * row + 1] = left;
    }
}

/// Writes 1 where a number is kept and 0 elsewhere.
///
/// - z, mask: `[R, W]`, state: `[R, 2]` (key of the smallest number kept, how many that equal it are), counts: `[R, P, 16]` (of
///   the last digit)
#[cube(launch)]
fn mark(z: &[f32], state: &[u32], counts: &[u32], mask: &mut [f32], width: u32, part: u32) {
    let unit = UNIT_POS_X as usize;
    let row = CUBE_POS_Y as usize;
    let first_place = row * CUBE_COUNT_X as usize;
    let start = row * width as usize;
    let least = state[2 * row];
    let left = state[2 * row + 1];
    let digit = (least & 15u32) as usize;
    let from = CUBE_POS_X * part;
    let to = at_most(from + part, width);
    // Numbers that equal the smallest, in the parts to the left of this one and in this one.
    let mut sums = Shared::<[u32]>::new_slice(UNITS);
    let mut sum = 0u32;
    let mut earlier = unit;
    while earlier < CUBE_POS_X as usize {
        sum += counts[(first_place + earlier) * DIGITS + digit];
        earlier += UNITS;
    }
    sums[unit] = sum;
    sum_units::<u32>(&mut sums, 1usize);
    let before = sums[0];
    let here = counts[(first_place + CUBE_POS_X as usize) * DIGITS + digit];
    let cut = before < left && before + here > left;
    // Where only some of a part's equals are kept, units take stretches of it, so that they know what is on their left.
    let stretch = (to - from).div_ceil(UNITS as u32);
    let mine = at_most(from + UNIT_POS_X * stretch, to);
    let end = at_most(mine + stretch, to);
    let mut equals = 0u32;
    if cut {
        let mut i = mine;
        while i < end {
            if key_of(z[start + i as usize]) == least {
                equals += 1u32;
            }
            i += 1u32;
        }
    }
    sync_cube();
    sums[unit] = equals;
    sync_cube();
    if cut {
        let mut rank = before + sum_before(&sums);
        let mut i = mine;
        while i < end {
            let key = key_of(z[start + i as usize]);
            let mut kept = key > least;
            if key == least {
                kept = rank < left;
                rank += 1u32;
            }
            mask[start + i as usize] = f32::cast_from(kept);
            i += 1u32;
        }
    } else {
        let all = before < left;
        let mut i = from as usize + unit;
        while i < to as usize {
            let key = key_of(z[start + i]);
            mask[start + i] = f32::cast_from(key > least || (key == least && all));
            i += UNITS;
        }
    }
}
