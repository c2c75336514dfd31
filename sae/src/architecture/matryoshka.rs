//! Matryoshka BatchTopK (Bussmann et al. 2025, <https://arxiv.org/abs/2503.17547>): nested dictionaries, each of which must
//! reconstruct with its own latents.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries, `L` levels; values are `[B, F]` or `[1, N]`.

use burn::tensor::{Int, Tensor, TensorData, activation::relu};
use dictionaries::Parameters;
use kernels::{ActiveSet, Entries, from_vec, sparse_decode};

use super::{Loss, squared_error};
use crate::support::Support;

/// Where each level's own latents end; the last is `F`.
pub(super) fn ends(n_latents: usize, levels: usize) -> Vec<usize> {
    (0..levels).rev().map(|level| n_latents >> level).collect()
}

/// Mean over the levels of the squared error of the reconstruction by all latents up to that level.
pub(crate) fn loss(
    parameters: &Parameters,
    support: &Support,
    h: Tensor<2>,
    target: &Tensor<2>,
    levels: usize,
) -> Loss {
    let [rows, d] = target.dims();
    let codes = relu(h);
    let ends = ends(parameters.n_latents(), levels);
    let parts = parts(parameters, support, &codes, rows, &ends).reshape([levels, rows * d]); // [L, B D]
    // Running sums over the levels, as a product with a triangle of ones.
    let ones = (0..levels * levels).map(|i| if i % levels <= i / levels { 1.0 } else { 0.0 });
    let sums = from_vec(ones.collect(), [levels, levels], &parts.device()).matmul(parts); // [L, B D]
    let missing = target.clone() - parameters.b_dec.clone().unsqueeze(); // [B, D]
    let errors = missing.clone().reshape([1, rows * d]) - sums.clone(); // [L, B D]
    let full = sums.narrow(0, levels - 1, 1).reshape([rows, d]) + parameters.b_dec.clone().unsqueeze(); // [B, D]
    Loss {
        total: errors.square().sum() / (levels * rows) as f64,
        squared_error: squared_error(target, full.clone().detach()),
        residual: (target.clone() - full).inner(),
        codes,
    }
}

/// What the latents of each level add to the reconstruction, the levels one below the other: `[L B, D]`.
fn parts(parameters: &Parameters, support: &Support, codes: &Tensor<2>, rows: usize, ends: &[usize]) -> Tensor<2> {
    match support {
        Support::Dense(precision) => {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let part = |(start, &end): (usize, &usize)| {
                let w_dec = parameters.w_dec.clone().narrow(0, start, end - start);
                precision.matmul(codes.clone().narrow(1, start, end - start), w_dec) // [B, D]
            };
            Tensor::cat(starts.zip(ends).map(part).collect(), 0)
        }
        Support::Sparse(entries) => match entries.host() {
            Some(set) => parts_of_set(set, codes, &parameters.w_dec, rows, ends),
            // A decode a level, of codes that are 0 outside it.
            None => {
                let starts = std::iter::once(0).chain(ends.iter().copied());
                let part = |(start, &end): (usize, &usize)| {
                    let within =
                        (0..parameters.n_latents()).map(|latent| f32::from(u8::from((start..end).contains(&latent))));
                    let within = from_vec(within.collect(), [parameters.n_latents()], &codes.device()); // [F]
                    support.decode(codes.clone() * support.spread(within), parameters.w_dec.clone()) // [B, D]
                };
                Tensor::cat(starts.zip(ends).map(part).collect(), 0)
            }
        },
    }
}

/// The same for entries in host memory: they become those of rows (level, row), and one decode gives all parts.
fn parts_of_set(set: &ActiveSet, codes: &Tensor<2>, w_dec: &Tensor<2>, rows: usize, ends: &[usize]) -> Tensor<2> {
    let mut by_level = vec![Vec::new(); ends.len() * rows];
    let mut entries = vec![Vec::new(); ends.len()];
    for row in 0..rows {
        for entry in set.row(row) {
            let latent = set.latents()[entry];
            let level = ends.partition_point(|&end| end <= latent as usize);
            by_level[level * rows + row].push(latent);
            entries[level].push(entry as i32);
        }
    }
    let order: Vec<i32> = entries.into_iter().flatten().collect();
    let n = order.len();
    let order = Tensor::<1, Int>::from_data(TensorData::new(order, [n]), &codes.device());
    let values = codes.clone().reshape([n]).select(0, order); // [N]
    let set = ActiveSet::from_rows(set.n_latents(), &by_level);
    sparse_decode(values, w_dec.clone(), &Entries::from(set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_double_and_end_with_all_latents() {
        assert_eq!(ends(64, 4), [8, 16, 32, 64]);
        assert_eq!(ends(10, 1), [10]);
    }
}
