//! What the kernels for GPUs share: one source for wgpu and CUDA, through CubeCL.
//!
//! Nothing is atomic, and sums are taken in an order that the sizes alone say, so results do not depend on timing.

use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl::{self, prelude::*};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::{CubeBackend, tensor::CubeTensor};

/// Threads of a cube.
pub(crate) const UNITS: usize = 128;
/// Cubes that every API starts along one dimension.
const MOST_CUBES: usize = 65_535;

/// The primitive behind a plain tensor of a GPU, its numbers row by row; none for the tensor of another device.
pub(crate) fn primitive<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    let primitive = tensor.clone().try_into_primitive::<CubeBackend>().ok();
    primitive.map(into_contiguous)
}

/// A tensor on the device of `like`, its numbers still to be written.
pub(crate) fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), Shape::from(shape), dtype)
}

/// At least `n` cubes, to be numbered by [`cube`]; kernels leave out numbers from `n` on.
pub(crate) fn cubes(n: usize) -> CubeCount {
    let width = n.clamp(1, MOST_CUBES);
    CubeCount::Static(width as u32, n.div_ceil(width).max(1) as u32, 1)
}

/// The units of a cube.
pub(crate) fn units() -> CubeDim {
    CubeDim::new_1d(UNITS as u32)
}

/// Number of this cube.
#[cube]
pub(crate) fn cube() -> usize {
    (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize
}

/// The number, or the bound where it is above that.
#[cube]
pub(crate) fn at_most(number: u32, bound: u32) -> u32 {
    let mut least = number;
    if number > bound {
        least = bound;
    }
    least
}

/// The sum of the numbers that units before this one have put in their places; all units have.
#[cube]
pub(crate) fn sum_before(numbers: &Shared<[u32]>) -> u32 {
    let mut sum = 0u32;
    for unit in 0..UNITS {
        if unit < UNIT_POS_X as usize {
            sum += numbers[unit];
        }
    }
    sum
}

/// The sums over units of the `columns` numbers that each unit has put at `column * UNITS + unit`; each is then at
/// `column * UNITS`.
#[cube]
pub(crate) fn sum_units<N: Numeric>(numbers: &mut Shared<[N]>, #[comptime] columns: usize) {
    let unit = UNIT_POS_X as usize;
    sync_cube();
    let mut half = (UNITS / 2).runtime();
    while half > 0 {
        if unit < half {
            for column in 0..columns {
                let other = numbers[column * UNITS + unit + half];
                numbers[column * UNITS + unit] += other;
            }
        }
        sync_cube();
        half /= 2;
    }
}
