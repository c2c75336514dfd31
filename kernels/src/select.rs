//! Exact row-wise selection of the largest entries.
//!
//! burn's own `topk` sorts whole rows, and on an autodiff tensor always through the host. The selection is a constant for
//! differentiation, so a 0/1 mask is all that is needed.
//!
//! Shapes: `B` rows, `F` latents.

use burn::tensor::{Tensor, activation::relu};
use rayon::prelude::*;

use crate::{from_vec, to_vec};

/// Marks the `k` largest entries of each row with 1 and the others with 0; of equal entries the leftmost are kept.
///
/// A constant for differentiation. Entries must not be NaN (they would sort as the largest).
///
/// # Shapes
///
/// - z: `[B, F]`
/// - output: `[B, F]`, exactly `min(k, F)` ones a row
pub fn top_k_mask(z: &Tensor<2>, k: usize) -> Tensor<2> {
    let [rows, width] = z.dims();
    let device = z.device();
    let k = k.min(width);
    if rows == 0 || width == 0 || k == 0 {
        return from_vec(vec![0.0; rows * width], [rows, width], &device);
    }
    let z = z.clone().inner();
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    let z = match crate::select_gpu::top_k_mask(z, k) {
        Ok(mask) => return mask,
        Err(z) => z,
    };
    let values = to_vec(z);
    let mut mask = vec![0.0_f32; rows * width];
    mask.par_chunks_mut(width)
        .zip(values.par_chunks(width))
        .for_each_init(Vec::new, |scratch, (mask, row)| {
            mark_row(row, k, mask, scratch);
        });
    from_vec(mask, [rows, width], &device)
}

/// The `k` largest positive entries of each row, all others zero: the TopK activation function with its ReLU.
///
/// # Shapes
///
/// - z: `[B, F]`
/// - output: `[B, F]`
pub fn top_k(z: Tensor<2>, k: usize) -> Tensor<2> {
    let mask = top_k_mask(&z, k);
    relu(z) * mask
}

/// Sets `mask` to 1 at the `k` largest entries of `row` (`1 <= k <= row.len()`).
fn mark_row(row: &[f32], k: usize, mask: &mut [f32], scratch: &mut Vec<f32>) {
    scratch.clear();
    scratch.extend_from_slice(row);
    let cut = scratch.len() - k;
    let (_, &mut threshold, _) = scratch.select_nth_unstable_by(cut, f32::total_cmp);
    let mut left = k;
    for (mark, value) in mask.iter_mut().zip(row) {
        if value.total_cmp(&threshold).is_gt() {
            *mark = 1.0;
            left -= 1;
        }
    }
    for (mark, value) in mask.iter_mut().zip(row) {
        if left == 0 {
            break;
        }
        if value.total_cmp(&threshold).is_eq() {
            *mark = 1.0;
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;
    use proptest::prelude::*;

    /// Sorts each row by (value descending, index ascending) and keeps the first `k`.
    fn reference(values: &[f32], width: usize, k: usize) -> Vec<f32> {
        values
            .chunks(width)
            .flat_map(|row| {
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|&i, &j| row[j].total_cmp(&row[i]).then(i.cmp(&j)));
                let mut mask = vec![0.0; width];
                order.iter().take(k).for_each(|&i| mask[i] = 1.0);
                mask
            })
            .collect()
    }

    proptest! {
        #[test]
        fn mask_equals_a_full_sort(rows in 1_usize..6, width in 1_usize..40, k in 0_usize..45, seed in 0_u64..1000) {
            // Few distinct values, so that ties are frequent.
            let draws = crate::random::normal(&mut crate::random::rng(seed, "select"), rows * width, 2.0);
            let values: Vec<f32> = draws.iter().map(|x| x.round() * 0.5).map(|x| x + 0.0).collect();
            let mask = top_k_mask(&from_vec(values.clone(), [rows, width], &cpu()), k);
            prop_assert_eq!(to_vec(mask), reference(&values, width, k));
        }
    }

    #[test]
    fn negative_entries_never_fire() {
        let z = from_vec(vec![-1.0, 2.0, -3.0, 0.5], [1, 4], &cpu());
        assert_eq!(to_vec(top_k(z, 3)), [0.0, 2.0, 0.0, 0.5]);
    }

    #[test]
    fn gradient_reaches_kept_entries_only() {
        let z = from_vec(vec![1.0, 2.0, 3.0, 4.0], [2, 2], &cpu().autodiff()).require_grad();
        let grads = top_k(z.clone(), 1).sum().backward();
        assert_eq!(to_vec(z.grad(&grads).unwrap()), [0.0, 1.0, 0.0, 1.0]);
    }
}
