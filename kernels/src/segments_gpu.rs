//! Sums over the active entries of each latent, on a GPU.
//!
//! Entries sorted by latent are cut into segments of one size, so that a latent that is active everywhere keeps no cube longer
//! busy than others; the sums of a latent that reaches over several segments are put together afterwards, in their order.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries, `S` segments.

use burn::tensor::DType;
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::tensor::CubeTensor;

use crate::active_gpu::GpuSet;
use crate::gpu::{UNITS, at_most, cube, cubes, empty, units};

/// Entries of a segment, at least.
const SEGMENT: usize = 64;
/// Segments at most: more keep no GPU busier, and each takes memory for two sums.
const SEGMENTS: usize = 4096;

/// For each latent the sum over its entries of `weights` `[N]` times the entry's row of `matrix` `[B, D]`: `[F, D]`.
pub(crate) fn sum_by_latent(weights: &CubeTensor, matrix: &CubeTensor, d: usize, set: &GpuSet) -> CubeTensor {
    let segment = set.n.div_ceil(SEGMENTS).max(SEGMENT);
    let segments = set.n.div_ceil(segment);
    let out = empty(weights, [set.n_latents, d], DType::F32);
    let partial = empty(weights, [segments, 2, d], DType::F32); // [S, 2, D]
    sum_segments::launch(
        &weights.client,
        cubes(segments),
        units(),
        weights.clone().into_buffer_arg(),
        matrix.clone().into_buffer_arg(),
        set.entries.clone().into_buffer_arg(),
        set.latent_starts.clone().into_buffer_arg(),
        partial.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        d as u32,
        set.n as u32,
        segment as u32,
    );
    join_segments::launch(
        &weights.client,
        cubes(set.n_latents),
        units(),
        partial.into_buffer_arg(),
        set.latent_starts.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        d as u32,
        set.n_latents as u32,
        segment as u32,
    );
    out
}

/// A cube takes a segment. A latent that lies within it is done; of one that reaches in or out, or through, the sum is kept
/// in the first or the second part of the segment.
#[cube(launch)]
fn sum_segments(
    weights: &[f32],
    matrix: &[f32],
    entries: &[u32],
    latent_starts: &[u32],
    partial: &mut [f32],
    out: &mut [f32],
    d: u32,
    n: u32,
    segment_entries: u32,
) {
    let segment = cube() as u32;
    let from = segment * segment_entries;
    let to = at_most(from + segment_entries, n);
    let mut i = UNIT_POS_X;
    while i < d {
        let mut sum = 0.0f32;
        let mut place = from;
        while place < to {
            let entry = entries[(2u32 * n + place) as usize];
            let row = entries[entry as usize];
            let latent = entries[(n + entry) as usize];
            sum += weights[entry as usize] * matrix[(row * d + i) as usize];
            place += 1u32;
            let ends = place == latent_starts[(latent + 1) as usize];
            if ends || place == to {
                let begins = latent_starts[latent as usize] >= from;
                if begins && ends {
                    out[(latent * d + i) as usize] = sum;
                } else if begins {
                    partial[((segment * 2u32 + 1u32) * d + i) as usize] = sum;
                } else {
                    partial[(segment * 2u32 * d + i) as usize] = sum;
                }
                sum = 0.0f32;
            }
        }
        i += UNITS as u32;
    }
}

/// A cube takes a latent: nothing to do for one that lies within a segment, 0 for one without entries.
#[cube(launch)]
fn join_segments(
    partial: &[f32],
    latent_starts: &[u32],
    out: &mut [f32],
    d: u32,
    n_latents: u32,
    segment_entries: u32,
) {
    let latent = cube() as u32;
    if latent < n_latents {
        let start = latent_starts[latent as usize];
        let end = latent_starts[(latent + 1) as usize];
        let first = start / segment_entries;
        let mut last = first;
        if end > start {
            last = (end - 1u32) / segment_entries;
        }
        if start == end || last > first {
            let mut i = UNIT_POS_X;
            while i < d {
                let mut sum = 0.0f32;
                if last > first {
                    sum = partial[((first * 2u32 + 1u32) * d + i) as usize];
                    let mut segment = first + 1u32;
                    while segment <= last {
                        sum += partial[(segment * 2u32 * d + i) as usize];
                        segment += 1u32;
                    }
                }
                out[(latent * d + i) as usize] = sum;
                i += UNITS as u32;
            }
        }
    }
}
