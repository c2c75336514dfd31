//! Adam on a GPU, as [`crate::Adam`] has it on the CPU: clip, constraint, moments, step and norm in one pass, in place.
//!
//! Shapes: `F` rows, `D` width, `n` numbers.

use burn::tensor::Tensor;
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

use crate::adam_state::{Factors, Moments, SMALLEST_NORM};
use crate::gpu::{UNITS, at_most, cube, cubes, primitive, sum_units, units};

/// Numbers that a cube takes where there are no rows to keep together.
const STRETCH: usize = 8 * UNITS;

/// A parameter, its gradient and its moments.
type State<const D: usize> = (Tensor<D>, Tensor<D>, Moments);

/// One step of a parameter; what was given back where it does not lie on a GPU.
#[allow(
    clippy::result_large_err,
    reason = "tensor handles move as often as they are passed on, which is cheap"
)]
pub(crate) fn step<const D: usize>(
    factors: &Factors,
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: Moments,
) -> Result<(Tensor<D>, Moments), State<D>> {
    let scale = primitive(&factors.gradient_scale.tensor(&moments.first));
    let (Some(g), Some(scale)) = (primitive(&gradient), scale) else {
        return Err((parameter, gradient, moments));
    };
    let shape = parameter.dims();
    let n: usize = shape.iter().product();
    let width = match factors.unit_rows {
        true => shape[D - 1],
        false => STRETCH,
    };
    let w = own(parameter);
    let (m, v) = (own(moments.first), own(moments.second));
    update::launch(
        &w.client,
        cubes(n.div_ceil(width.max(1))),
        units(),
        w.clone().into_buffer_arg(),
        g.into_buffer_arg(),
        m.clone().into_buffer_arg(),
        v.clone().into_buffer_arg(),
        scale.into_buffer_arg(),
        factors.beta_1,
        factors.beta_2,
        factors.epsilon,
        factors.rate,
        factors.root,
        factors.shrink,
        n as u32,
        width as u32,
        factors.unit_rows,
    );
    let moments = Moments {
        first: Tensor::from_primitive::<CubeBackend>(m),
        second: Tensor::from_primitive::<CubeBackend>(v),
    };
    Ok((Tensor::from_primitive::<CubeBackend>(w), moments))
}

/// The numbers of a tensor to write over: a copy if somebody else holds them.
fn own<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    let Some(held) = primitive(&tensor) else {
        unreachable!("all tensors of a step lie on one device");
    };
    drop(tensor);
    match held.can_mut() {
        true => held,
        // A copy may leave gaps between rows, where the device reads them faster so.
        false => into_contiguous(held.copy()),
    }
}

/// A cube takes `width` numbers: with `unit_rows` a row of the parameter.
///
/// - w, g, m, v: `[n]`, scale: `[1]`
#[cube(launch)]
fn update(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    scale: &[f32],
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    rate: f32,
    root: f32,
    shrink: f32,
    n: u32,
    width: u32,
    #[comptime] unit_rows: bool,
) {
    let unit = UNIT_POS_X as usize;
    let from = at_most(cube() as u32 * width, n);
    let to = at_most(from + width, n);
    let mut numbers = Shared::<[f32]>::new_slice(UNITS);
    let mut along = 0.0f32;
    if comptime!(unit_rows) {
        let mut sum = 0.0f32;
        let mut i = from + UNIT_POS_X;
        while i < to {
            sum += g[i as usize] * w[i as usize];
            i += UNITS as u32;
        }
        numbers[unit] = sum;
        sum_units::<f32>(&mut numbers, 1usize);
        along = numbers[0];
        sync_cube();
    }
    let clip = scale[0];
    let mut squares = 0.0f32;
    let mut i = from + UNIT_POS_X;
    while i < to {
        let place = i as usize;
        let gradient = (g[place] - along * w[place]) * clip;
        let first = beta_1 * m[place] + (1.0f32 - beta_1) * gradient;
        let second = beta_2 * v[place] + (1.0f32 - beta_2) * gradient * gradient;
        let moved = w[place] * shrink - rate * first / (second.sqrt() * root + epsilon);
        m[place] = first;
        v[place] = second;
        w[place] = moved;
        squares += moved * moved;
        i += UNITS as u32;
    }
    if comptime!(unit_rows) {
        numbers[unit] = squares;
        sum_units::<f32>(&mut numbers, 1usize);
        let mut norm = numbers[0].sqrt();
        if norm < SMALLEST_NORM {
            norm = SMALLEST_NORM.runtime();
        }
        let factor = 1.0f32 / norm;
        i = from + UNIT_POS_X;
        while i < to {
            w[i as usize] *= factor;
            i += UNITS as u32;
        }
    }
}
