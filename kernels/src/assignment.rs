//! Optimal assignment: the pairs of rows and columns with the largest total weight, each used at most once.
//!
//! The Hungarian method with potentials (Kuhn 1955, Munkres 1957) in its shortest-augmenting-path form: rows are added one
//! by one, each along a cheapest alternating path found as Dijkstra finds one. Exact; `O(n^2 m)` for `n <= m`.
//!
//! Shape legend: `n` rows, `m` columns.

/// The matched `(row, column)` pairs, `min(n, m)` of them by rising row, with the largest sum of `weight(row, column)`.
///
/// Weights must be finite.
pub fn assign(n: usize, m: usize, weight: &dyn Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if n > m {
        let mut pairs = assign(m, n, &|row, column| weight(column, row));
        pairs.iter_mut().for_each(|pair| *pair = (pair.1, pair.0));
        pairs.sort_unstable();
        return pairs;
    }
    // Columns are numbered from 1; column 0 stands for the row that is being added. Costs are negated weights, and
    // `cost - of_row - of_column` stays at least 0, and 0 on matched pairs.
    let (mut of_row, mut of_column) = (vec![0.0; n], vec![0.0; m + 1]);
    let mut row_at: Vec<Option<usize>> = vec![None; m + 1];
    for row in 0..n {
        row_at[0] = Some(row);
        let mut slack = vec![f64::INFINITY; m + 1];
        let mut from = vec![0; m + 1];
        let mut done = vec![false; m + 1];
        let mut column = 0;
        while let Some(current) = row_at[column] {
            done[column] = true;
            let (mut nearest, mut step) = (0, f64::INFINITY);
            for next in (1..=m).filter(|&next| !done[next]) {
                let reduced = -weight(current, next - 1) - of_row[current] - of_column[next];
                if reduced < slack[next] {
                    (slack[next], from[next]) = (reduced, column);
                }
                if slack[next] < step {
                    (step, nearest) = (slack[next], next);
                }
            }
            for other in 0..=m {
                if let (true, Some(row)) = (done[other], row_at[other]) {
                    of_row[row] += step;
                    of_column[other] -= step;
                } else {
                    slack[other] -= step;
                }
            }
            column = nearest;
        }
        // A free column: shift the matches along the path that led here.
        while column != 0 {
            row_at[column] = row_at[from[column]];
            column = from[column];
        }
    }
    let mut pairs: Vec<(usize, usize)> = (1..=m)
        .filter_map(|column| Some((row_at[column]?, column - 1)))
        .collect();
    pairs.sort_unstable();
    pairs
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
