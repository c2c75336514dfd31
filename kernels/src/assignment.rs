//! Optimal assignment: the pairs of rows and columns with the largest total weight, each used at most once.
//!
//! The method of Kuhn (1955) and Munkres (1957), of the crate `pathfinding`. It compares sums of weights for equality, so
//! weights are rounded to whole multiples of 2^-40 (1e-12) first, with which all sums are exact.
//!
//! Shape legend: `n` rows, `m` columns.

use pathfinding::prelude::{Matrix, kuhn_munkres};

/// Steps of a weight of 1.
const STEPS: f64 = (1_u64 << 40) as f64;

/// The matched `(row, column)` pairs, `min(n, m)` of them by rising row, with the largest sum of `weight(row, column)`.
///
/// Weights must be finite and their sums below 8 million.
pub fn assign(n: usize, m: usize, weight: &dyn Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if n == 0 || m == 0 {
        return Vec::new();
    }
    if n > m {
        let mut pairs = assign(m, n, &|row, column| weight(column, row));
        pairs.iter_mut().for_each(|pair| *pair = (pair.1, pair.0));
        pairs.sort_unstable();
        return pairs;
    }
    let steps = |(row, column)| (weight(row, column) * STEPS).round() as i64;
    let (_, columns) = kuhn_munkres(&Matrix::from_fn(n, m, steps)); // [n]
    columns.into_iter().enumerate().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The largest total by trying every assignment of rows to columns, some rows left out if there are more of them.
    fn brute(weights: &[Vec<f64>], row: usize, used: u32, skips: usize) -> f64 {
        let Some(of_row) = weights.get(row) else {
            return 0.0;
        };
        let mut best = f64::NEG_INFINITY;
        if skips > 0 {
            best = brute(weights, row + 1, used, skips - 1);
        }
        for (column, weight) in of_row.iter().enumerate().filter(|(column, _)| used >> column & 1 == 0) {
            best = best.max(weight + brute(weights, row + 1, used | 1 << column, skips));
        }
        best
    }

    proptest! {
        #[test]
        fn as_good_as_brute_force(n in 0usize..6, m in 0usize..6, values in prop::collection::vec(0u8..8, 36)) {
            // Few distinct weights, so that ties are common.
            let weights: Vec<Vec<f64>> =
                (0..n).map(|i| (0..m).map(|j| f64::from(values[6 * i + j]) / 8.0 - 0.2).collect()).collect();
            let pairs = assign(n, m, &|i, j| weights[i][j]);
            prop_assert_eq!(pairs.len(), n.min(m));
            let rows: std::collections::BTreeSet<_> = pairs.iter().map(|pair| pair.0).collect();
            let columns: std::collections::BTreeSet<_> = pairs.iter().map(|pair| pair.1).collect();
            prop_assert!(rows.len() == pairs.len() && columns.len() == pairs.len());
            let total: f64 = pairs.iter().map(|&(i, j)| weights[i][j]).sum();
            let best = brute(&weights, 0, 0, n.saturating_sub(m));
            prop_assert!((total - best).abs() < 1e-9, "{} instead of {}", total, best);
        }
    }

    #[test]
    fn finds_a_planted_permutation() {
        let n = 120;
        let pairs = assign(n, n, &|i, j| {
            if (7 * i + 3) % n == j {
                1.0
            } else {
                0.9 * ((i * j) % 5) as f64 / 5.0
            }
        });
        assert!(pairs.iter().all(|&(i, j)| (7 * i + 3) % n == j));
    }
}
