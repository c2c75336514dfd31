//! Sums that come out the same every time.

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::host::{self, into_flex};
use crate::vector::simd;
use crate::{from_vec, sparse};

/// Rows that one task of the thread pool adds up.
const ROWS_PER_TASK: usize = 128;

/// The sum of all numbers, `[1]`; on a GPU in an order that their number alone says. Nothing is differentiated.
pub fn sum(tensor: Tensor<2>) -> Tensor<1> {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(sum) = crate::sum_gpu::sum(&tensor) {
        return sum;
    }
    tensor.sum()
}

/// Squared distance of rows from their mean, summed over dimensions, mean over rows. Nothing is differentiated.
///
/// # Shapes
///
/// - x: `[B, D]` (plain)
/// - output: `[1]`
pub fn variance(x: &Tensor<2>) -> Tensor<1> {
    let [rows, d] = x.dims();
    if into_flex(x.clone()).is_err() {
        return sum((x.clone() - x.clone().mean_dim(0)).square()) / rows as f64;
    }
    let host = host::read(x);
    let values = host.as_slice();
    let mut mean = sparse::column_sums(values, d);
    mean.iter_mut().for_each(|x| *x /= rows as f32);
    let squares: Vec<f64> = values
        .par_chunks(ROWS_PER_TASK * d)
        .map(|rows| {
            let mut squares = vec![0.0_f32; d];
            simd!(|| {
                for row in rows.chunks_exact(d) {
                    for ((sum, x), mean) in squares.iter_mut().zip(row).zip(&mean) {
                        *sum += (x - mean) * (x - mean);
                    }
                }
            });
            squares.into_iter().map(f64::from).sum()
        })
        .collect();
    let variance = squares.into_iter().sum::<f64>() / rows as f64;
    from_vec(vec![variance as f32], [1], &x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu, random, to_vec};

    #[test]
    fn variance_equals_the_formula_in_f64() {
        for (rows, d) in [(1, 3), (5, 1), (300, 17)] {
            let values = random::normal(&mut random::rng(0, "variance"), rows * d, 2.0);
            let shifted: Vec<f32> = values.iter().enumerate().map(|(i, x)| x + (i % d) as f32).collect();
            let mut expected = 0.0;
            for column in 0..d {
                let of_column = || (0..rows).map(|row| f64::from(shifted[row * d + column]));
                let mean = of_column().sum::<f64>() / rows as f64;
                expected += of_column().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
            }
            let found = f64::from(to_vec(variance(&from_vec(shifted, [rows, d], &cpu())))[0]);
            assert!(
                (found - expected).abs() <= 1e-5 * expected,
                "{rows} x {d}: {found}, {expected}"
            );
        }
    }
}
