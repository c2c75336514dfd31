//! Loops over rows of `f32` that the compiler turns into SIMD instructions.
//!
//! Call them inside `pulp::Arch::dispatch`, which picks the instruction set at run time; the order of every sum is fixed,
//! so results depend on neither threads nor timing.

/// Lanes that a sum is dealt to.
const LANES: usize = 32;

/// Sum of products.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Adds `factor * x` to `y`.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_include_the_rest_after_the_last_full_chunk() {
        for n in [0, 1, 31, 32, 33, 100] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 2.0).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected);
            let mut y = b.clone();
            add_scaled(&mut y, 2.0, &a);
            assert!(y.iter().zip(&b).zip(&a).all(|((y, b), a)| *y == b + 2.0 * a));
        }
    }
}
