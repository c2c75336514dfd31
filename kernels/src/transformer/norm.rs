//! Root-mean-square norm.

use burn::tensor::Tensor;

use super::{plain, task_of};
use crate::from_vec;
use crate::host::{flex_slice, zeros_by_tasks};
use crate::vector::{self, simd};

/// `x (mean x² + epsilon)^-½`, times `weight`: the root-mean-square norm of every token.
///
/// # Shapes
///
/// - x: `[B, T, D]`, weight: `[D]`
/// - output: `[B, T, D]`
pub fn rms_norm(x: Tensor<3>, weight: &Tensor<1>, epsilon: f64) -> Tensor<3> {
    let [b, t, d] = x.dims();
    let (Some(host), Some(scale)) = (plain(&x), plain(weight)) else {
        let root = (x.clone().square().mean_dim(2) + epsilon).sqrt(); // [B, T, 1]
        return x / root * weight.clone().reshape([1, 1, d]);
    };
    let (rows, scale) = (flex_slice(&host), flex_slice(&scale));
    let per_task = task_of(d);
    let (out, _) = zeros_by_tasks(rows.len(), per_task, |task, out| {
        let rows = &rows[task * per_task..];
        simd!(|| {
            for (out, row) in out.chunks_exact_mut(d).zip(rows.chunks_exact(d)) {
                normalise(out, row, scale, epsilon);
            }
        });
    });
    from_vec(out, [b, t, d], &x.device()) // [B, T, D]
}

/// Writes the root-mean-square norm of one vector to `out`.
#[inline(always)]
fn normalise(out: &mut [f32], x: &[f32], scale: &[f32], epsilon: f64) {
    let factor = inverse_root(x, epsilon);
    for ((out, x), scale) in out.iter_mut().zip(x).zip(scale) {
        *out = x * factor * scale;
    }
}

/// `(mean x² + epsilon)^-½`.
#[inline(always)]
pub(super) fn inverse_root(x: &[f32], epsilon: f64) -> f32 {
    let mean = vector::dot(x, x) / x.len() as f32;
    1.0 / (mean + epsilon as f32).sqrt()
}
