//! Sums of many numbers on a GPU, in an order that their number alone says; burn's own are put together by atomics there.
//!
//! Shapes: `n` numbers, `P` parts of them.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use crate::gpu::{UNITS, at_most, cube, cubes, empty, primitive, sum_units, units};

/// Numbers that a cube takes where there are no rows to keep together.
const STRETCH: usize = 16 * UNITS;

/// The sum of all numbers, `[1]`; none where they do not lie on a GPU.
pub(crate) fn sum<const D: usize>(numbers: &Tensor<D>) -> Option<Tensor<1>> {
    Some(total(&primitive(numbers)?, None, STRETCH, false))
}

/// The sum of all squares, `[1]`; with `unit_rows`, which are of norm 1, without what the numbers have along those rows. None
/// where they do not lie on a GPU.
pub(crate) fn squares<const D: usize>(numbers: &Tensor<D>, unit_rows: Option<&Tensor<D>>) -> Option<Tensor<1>> {
    let width = match unit_rows {
        Some(rows) => rows.dims()[D - 1],
        None => STRETCH,
    };
    let rows = unit_rows.and_then(primitive);
    Some(total(&primitive(numbers)?, rows, width, true))
}

fn total(numbers: &CubeTensor, rows: Option<CubeTensor>, width: usize, square: bool) -> Tensor<1> {
    let n = numbers.meta.shape().num_elements();
    let parts = n.div_ceil(width.max(1));
    let partial = empty(numbers, [parts], DType::F32); // [P]
    let out = empty(numbers, [1], DType::F32);
    let projected = rows.is_some();
    let rows = rows.unwrap_or_else(|| empty(numbers, [1], DType::F32));
    sum_parts::launch(
        &numbers.client,
        cubes(parts),
        units(),
        numbers.clone().into_buffer_arg(),
        rows.into_buffer_arg(),
        partial.clone().into_buffer_arg(),
        n as u32,
        width as u32,
        square,
        projected,
    );
    sum_all::launch(
        &numbers.client,
        CubeCount::Static(1, 1, 1),
        units(),
        partial.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        parts as u32,
    );
    Tensor::from_primitive::<CubeBackend>(out)
}

/// A cube takes `width` numbers: with `projected` a row.
///
/// - numbers: `[n]`, rows: `[n]` if `projected`, partial: `[P]`
#[cube(launch)]
fn sum_parts(
    numbers: &[f32],
    rows: &[f32],
    partial: &mut [f32],
    n: u32,
    width: u32,
    #[comptime] square: bool,
    #[comptime] projected: bool,
) {
    let unit = UNIT_POS_X as usize;
    let from = at_most(cube() as u32 * width, n);
    let to = at_most(from + width, n);
    let mut sum = 0.0f32;
    let mut along = 0.0f32;
    let mut i = from + UNIT_POS_X;
    while i < to {
        let number = numbers[i as usize];
        if comptime!(square) {
            sum += number * number;
        } else {
            sum += number;
        }
        if comptime!(projected) {
            along += number * rows[i as usize];
        }
        i += UNITS as u32;
    }
    let mut sums = Shared::<[f32]>::new_slice(2 * UNITS);
    sums[unit] = sum;
    sums[UNITS + unit] = along;
    sum_units::<f32>(&mut sums, 2usize);
    if unit == 0 && from < to {
        partial[cube()] = sums[0] - sums[UNITS] * sums[UNITS];
    }
}

/// One cube.
///
/// - partial: `[P]`, out: `[1]`
#[cube(launch)]
fn sum_all(partial: &[f32], out: &mut [f32], parts: u32) {
    let unit = UNIT_POS_X as usize;
    let mut sum = 0.0f32;
    let mut i = UNIT_POS_X;
    while i < parts {
        sum += partial[i as usize];
        i += UNITS as u32;
    }
    let mut sums = Shared::<[f32]>::new_slice(UNITS);
    sums[unit] = sum;
    sum_units::<f32>(&mut sums, 1usize);
    if unit == 0 {
        out[0] = sums[0];
    }
}
