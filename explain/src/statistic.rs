//! Statistics of scores: areas under curves, rank correlations, means with intervals.

use circuits::agreement::pearson;
use eval::bootstrap::{Bootstrap, interval};
use serde::{Deserialize, Serialize};

/// A mean with its 95 % bootstrap interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// What it was taken over: functions or latents.
    pub n: usize,
}

impl Estimate {
    /// The mean of some values; `None` without any. Equal numbers of values share their resamples, so that differences are paired.
    pub fn mean(values: &[f64], resamples: usize, seed: u64) -> Option<Self> {
        Self::of(values.len(), resamples, seed, |weights| {
            let (mut sum, mut n) = (0.0, 0.0);
            for (value, weight) in values.iter().zip(weights) {
                sum += value * f64::from(*weight);
                n += f64::from(*weight);
            }
            Some(sum / n)
        })
    }

    /// A statistic of `n` things, each counted as often as `statistic` is told; `None` where it is undefined.
    pub fn of(n: usize, resamples: usize, seed: u64, statistic: impl Fn(&[u32]) -> Option<f64>) -> Option<Self> {
        if n == 0 {
            return None;
        }
        let value = statistic(&vec![1; n])?;
        let bootstrap = Bootstrap::new(n, resamples, seed, "explain");
        let resampled: Vec<f64> = bootstrap
            .counts()
            .iter()
            .map(|counts| statistic(counts).unwrap_or(f64::NAN))
            .collect();
        let (low, high) = interval(&resampled)?;
        Some(Self { value, low, high, n })
    }
}

/// The area under the curve of hits against false alarms: how often a positive scores higher than a negative; ties count one half.
/// `None` where either is missing.
pub fn auroc(scored: &[(f64, bool)]) -> Option<f64> {
    let scores: Vec<f64> = scored.iter().map(|pair| pair.0).collect();
    let ranks = ranks(&scores);
    let positives = scored.iter().filter(|pair| pair.1).count() as f64;
    let negatives = scored.len() as f64 - positives;
    let sum: f64 = ranks
        .iter()
        .zip(scored)
        .filter(|(_, pair)| pair.1)
        .map(|(rank, _)| rank)
        .sum();
    (positives > 0.0 && negatives > 0.0).then(|| (sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// Spearman's rank correlation; `None` where either side is constant.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    pearson(&ranks(a), &ranks(b))
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = first as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mean_lies_in_its_interval() {
        let of = Estimate::mean(&[1.0, 2.0, 3.0, 6.0], 500, 0).unwrap();
        assert!(of.value == 3.0 && of.low < 3.0 && of.high > 3.0 && of.n == 4, "{of:?}");
        assert_eq!(Estimate::mean(&[], 500, 0), None);
    }

    proptest! {
        #[test]
        fn the_area_is_that_of_all_pairs(scored in prop::collection::vec((0..6_i32, any::<bool>()), 2..40)) {
            let scored: Vec<(f64, bool)> = scored.into_iter().map(|(score, holds)| (f64::from(score), holds)).collect();
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (a, _) in scored.iter().filter(|pair| pair.1) {
                for (b, _) in scored.iter().filter(|pair| !pair.1) {
                    sum += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                    pairs += 1.0;
                }
            }
            match auroc(&scored) {
                None => prop_assert_eq!(pairs, 0.0),
                Some(area) => prop_assert!((area - sum / pairs).abs() < 1e-12),
            }
        }

        #[test]
        fn ranks_do_not_see_a_monotone_change(values in prop::collection::vec(-3.0..3.0_f64, 4..30)) {
            let changed: Vec<f64> = values.iter().map(|x| x.exp()).collect();
            let found = spearman(&values, &changed);
            prop_assert!(found.is_none_or(|found| (found - 1.0).abs() < 1e-9));
        }
    }
}
