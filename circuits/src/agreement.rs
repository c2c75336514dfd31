//! How well two lists of scores of the same edges agree.

/// Pearson's correlation; undefined where one list is constant.
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa.sqrt() * bb.sqrt()))
}

/// Kendall's tau-b; undefined where one list is constant. Takes `n log n` steps.
pub fn kendall(a: &[f64], b: &[f64]) -> Option<f64> {
    let mut rows: Vec<(f64, f64)> = a.iter().copied().zip(b.iter().copied()).collect();
    rows.sort_by(|x, y| x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)));
    let all = pairs(rows.len());
    let tied_a = ties(rows.iter().map(|row| row.0));
    let tied_both = tied_rows(&rows);
    let mut second: Vec<f64> = rows.into_iter().map(|row| row.1).collect();
    let discordant = inversions(&mut second);
    // Sorted now.
    let tied_b = ties(second.into_iter());
    let concordant = all - tied_a - tied_b + tied_both - discordant;
    let scale = ((all - tied_a) * (all - tied_b)).sqrt();
    (scale > 0.0).then(|| (concordant - discordant) / scale)
}

fn pairs(n: usize) -> f64 {
    n as f64 * (n as f64 - 1.0) / 2.0
}

/// Pairs of equal values in a sorted list.
fn ties(sorted: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = sorted.collect();
    values.chunk_by(|a, b| a == b).map(|run| pairs(run.len())).sum()
}

fn tied_rows(sorted: &[(f64, f64)]) -> f64 {
    sorted.chunk_by(|a, b| a == b).map(|run| pairs(run.len())).sum()
}

/// Sorts `values`; the number of pairs that were in the wrong order.
fn inversions(values: &mut [f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let middle = values.len() / 2;
    let (low, high) = values.split_at_mut(middle);
    let mut found = inversions(low) + inversions(high);
    let mut merged = Vec::with_capacity(low.len() + high.len());
    let (mut i, mut j) = (0, 0);
    while i < low.len() && j < high.len() {
        if low[i] <= high[j] {
            merged.push(low[i]);
            i += 1;
        } else {
            merged.push(high[j]);
            found += (low.len() - i) as f64;
            j += 1;
        }
    }
    merged.extend_from_slice(&low[i..]);
    merged.extend_from_slice(&high[j..]);
    values.copy_from_slice(&merged);
    found
}

/// Mean over depths up to `depth` of the share of edges that both lists have among their largest so many, without signs.
pub fn average_overlap(a: &[f64], b: &[f64], depth: usize) -> Option<f64> {
    let (first, second) = (order(a), order(b));
    let depth = depth.min(a.len());
    let (mut seen_a, mut seen_b) = (vec![false; a.len()], vec![false; a.len()]);
    let (mut both, mut sum) = (0_usize, 0.0);
    for place in 0..depth {
        let (x, y) = (first[place], second[place]);
        seen_a[x] = true;
        seen_b[y] = true;
        both += usize::from(seen_b[x]) + usize::from(seen_a[y] && x != y);
        sum += both as f64 / (place + 1) as f64;
    }
    (depth > 0).then(|| sum / depth as f64)
}

/// Edges from the largest score without its sign on; of equal ones the first is first.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&x, &y| scores[y].abs().total_cmp(&scores[x].abs()));
    order
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Small whole numbers, so that many are equal.
    fn list(seed: u64, n: usize) -> Vec<f64> {
        let mut state = seed;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 33) % 9) as f64 - 4.0
            })
            .collect()
    }

    #[test]
    fn kendall_counts_as_all_pairs_do() {
        for n in [2, 3, 10, 57] {
            let (a, b) = (list(1, n), list(2, n));
            let (mut sum, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
            for i in 0..n {
                for j in 0..i {
                    let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
                    let (x, y) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
                    sum += x * y;
                    of_a += x * x;
                    of_b += y * y;
                }
            }
            let scale: f64 = f64::sqrt(of_a * of_b);
            let expected = (scale > 0.0).then(|| sum / scale);
            match (kendall(&a, &b), expected) {
                (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12, "{n}"),
                (found, expected) => assert_eq!(found, expected),
            }
        }
        assert_eq!(kendall(&[1.0, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn overlap_counts_as_sets_do() {
        let (a, b) = (list(3, 40), list(4, 40));
        let (x, y) = (order(&a), order(&b));
        let overlap = |i: usize| x[..i].iter().filter(|edge| y[..i].contains(edge)).count() as f64 / i as f64;
        let expected = (1..=25).map(overlap).sum::<f64>() / 25.0;
        assert!((average_overlap(&a, &b, 25).unwrap() - expected).abs() < 1e-12);
        assert_eq!(average_overlap(&a, &a, 40), Some(1.0));
    }

    #[test]
    fn pearson_of_a_line_is_one() {
        assert!((pearson(&[1.0, 2.0, 4.0], &[3.0, 5.0, 9.0]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(pearson(&[1.0, 1.0], &[3.0, 5.0]), None);
    }
}
