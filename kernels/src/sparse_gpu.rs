//! Decoder and gradients of an autoencoder on a GPU, touching nothing but active entries; the twin of [`crate::sparse`].
//!
//! Weight gradients are sums over the rows in which a latent is active ([`crate::segments_gpu`]).
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use crate::active_gpu::GpuSet;
use crate::entries::{Entries, Place};
use crate::gpu::{UNITS, cube, cubes, empty, primitive, sum_units, units};
use crate::ops::SparseBackend;
use crate::segments_gpu::sum_by_latent;

/// Entries of a row whose products a cube sums up together.
const ENTRIES: usize = 16;

impl SparseBackend for CubeBackend {
    fn decode_forward(values: CubeTensor, w_dec: CubeTensor, entries: &Entries) -> CubeTensor {
        let (set, d) = (on_gpu(entries), width(&w_dec));
        let [values, w_dec] = [values, w_dec].map(into_contiguous);
        decode(&values, &w_dec, d, set)
    }

    fn decode_backward(
        gradient: CubeTensor,
        values: CubeTensor,
        w_dec: CubeTensor,
        entries: &Entries,
    ) -> [CubeTensor; 2] {
        let (set, d) = (on_gpu(entries), width(&w_dec));
        let [gradient, values, w_dec] = [gradient, values, w_dec].map(into_contiguous);
        [
            dots(&gradient, &w_dec, d, set),
            sum_by_latent(&values, &gradient, d, set),
        ]
    }

    fn encode_backward(
        gradient: CubeTensor,
        centred: CubeTensor,
        w_enc: CubeTensor,
        entries: &Entries,
    ) -> [CubeTensor; 3] {
        let (set, d) = (on_gpu(entries), width(&w_enc));
        let of_bias = entries.sum_by_latent(Tensor::from_primitive::<Self>(gradient.clone())); // [F]
        let w_enc = Tensor::<2>::from_primitive::<Self>(w_enc);
        let of_subtracted = -of_bias.clone().unsqueeze::<2>().matmul(w_enc).reshape([d]); // [D]
        let [gradient, centred] = [gradient, centred].map(into_contiguous);
        let of_encoder = sum_by_latent(&gradient, &centred, d, set);
        let [of_bias, of_subtracted] = [of_bias, of_subtracted].map(|tensor| match primitive(&tensor) {
            Some(primitive) => primitive,
            None => unreachable!("it was computed here"),
        });
        [of_encoder, of_bias, of_subtracted]
    }
}

fn on_gpu(entries: &Entries) -> &GpuSet {
    match &entries.0 {
        Place::Gpu(set) => set,
        Place::Host(_) => unreachable!("the entries lie where their tensors do"),
    }
}

fn width(matrix: &CubeTensor) -> usize {
    matrix.meta.shape()[1]
}

/// Sum of the decoder rows of each batch row's active latents, times their values: `[B, D]`.
///
/// `values` is `[N]`, `w_dec` `[F, D]`.
pub(crate) fn decode(values: &CubeTensor, w_dec: &CubeTensor, d: usize, set: &GpuSet) -> CubeTensor {
    let out = empty(values, [set.n_rows, d], DType::F32);
    decode_rows::launch(
        &values.client,
        cubes(set.n_rows),
        units(),
        values.clone().into_buffer_arg(),
        w_dec.clone().into_buffer_arg(),
        set.row_starts.clone().into_buffer_arg(),
        set.entries.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        d as u32,
        set.n as u32,
        set.n_rows as u32,
    );
    out
}

/// Scalar product of each entry's row of `gradient` `[B, D]` with its latent's row of `w_dec` `[F, D]`: `[N]`.
pub(crate) fn dots(gradient: &CubeTensor, w_dec: &CubeTensor, d: usize, set: &GpuSet) -> CubeTensor {
    let out = empty(gradient, [set.n], DType::F32);
    dot_entries::launch(
        &gradient.client,
        cubes(set.n_rows),
        units(),
        gradient.clone().into_buffer_arg(),
        w_dec.clone().into_buffer_arg(),
        set.row_starts.clone().into_buffer_arg(),
        set.entries.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        d as u32,
        set.n as u32,
        set.n_rows as u32,
    );
    out
}

/// A cube takes a row, a unit every so many-th of its numbers.
#[cube(launch)]
fn decode_rows(
    values: &[f32],
    w_dec: &[f32],
    row_starts: &[u32],
    entries: &[u32],
    out: &mut [f32],
    d: u32,
    n: u32,
    n_rows: u32,
) {
    let row = cube() as u32;
    if row < n_rows {
        let start = row_starts[row as usize];
        let end = row_starts[(row + 1) as usize];
        let mut i = UNIT_POS_X;
        while i < d {
            let mut sum = 0.0f32;
            let mut entry = start;
            while entry < end {
                let latent = entries[(n + entry) as usize];
                sum += values[entry as usize] * w_dec[(latent * d + i) as usize];
                entry += 1u32;
            }
            out[(row * d + i) as usize] = sum;
            i += UNITS as u32;
        }
    }
}

/// A cube takes a row, several of its entries at a time.
#[cube(launch)]
fn dot_entries(
    gradient: &[f32],
    w_dec: &[f32],
    row_starts: &[u32],
    entries: &[u32],
    out: &mut [f32],
    d: u32,
    n: u32,
    n_rows: u32,
) {
    let row = cube() as u32;
    let unit = UNIT_POS_X as usize;
    let mut numbers = Shared::<[f32]>::new_slice(ENTRIES * UNITS);
    let mut first = 0u32;
    let mut end = 0u32;
    if row < n_rows {
        first = row_starts[row as usize];
        end = row_starts[(row + 1) as usize];
    }
    while first < end {
        for j in 0..ENTRIES {
            let entry = first + j as u32;
            let mut sum = 0.0f32;
            if entry < end {
                let latent = entries[(n + entry) as usize];
                let mut i = UNIT_POS_X;
                while i < d {
                    sum += gradient[(row * d + i) as usize] * w_dec[(latent * d + i) as usize];
                    i += UNITS as u32;
                }
            }
            numbers[j * UNITS + unit] = sum;
        }
        sum_units::<f32>(&mut numbers, ENTRIES);
        if unit < ENTRIES {
            let entry = first + UNIT_POS_X;
            if entry < end {
                out[entry as usize] = numbers[unit * UNITS];
            }
        }
        sync_cube();
        first += ENTRIES as u32;
    }
}
