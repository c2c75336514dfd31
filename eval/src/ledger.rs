//! Scores together with their resamples, so that any two can be compared in pairs afterwards.
//!
//! Every number of the report comes through here: value, 95 % bootstrap interval and the raw means behind it
//! (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366), report ratios only; raw means show
//! where a small denominator makes a ratio meaningless). Numbers are rounded to six significant digits, which makes
//! their printed form stable.
//!
//! Shape legend: `R` resamples.

use crate::bootstrap::interval;
use crate::report::{Comparison, Metric, Score};
use std::collections::BTreeMap;
use tasks::Attribute;

/// What a number is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Key<'a> {
    /// Name of the dictionary set or baseline.
    pub dictionary: &'a str,
    /// Name of the site.
    pub site: &'a str,
    /// The attribute that is edited or described.
    pub attribute: Option<Attribute>,
    /// What is measured.
    pub metric: Metric,
    /// Number of latents an edit may exchange.
    pub k: Option<usize>,
}

/// All scores of an evaluation, in the order of measurement.
#[derive(Debug, Default)]
pub struct Ledger {
    measured: Vec<(Score, Vec<f64>)>,
}

impl Ledger {
    /// Enters one score.
    ///
    /// `value`: `None` when undefined; `resampled`: the same number in each resample, `[R]`, NaN where undefined; `n`:
    /// prompts behind it; `raw`: the means behind it by name.
    pub fn enter(&mut self, key: &Key<'_>, value: Option<f64>, resampled: Vec<f64>, n: usize, raw: &[(&str, f64)]) {
        let value = value.filter(|value| value.is_finite());
        let ends = value.and_then(|_| interval(&resampled));
        let score = Score {
            dictionary: key.dictionary.to_owned(),
            site: key.site.to_owned(),
            attribute: key.attribute,
            test: key.metric.test(),
            metric: key.metric,
            k: key.k,
            value: value.map(rounded),
            low: ends.map(|(low, _)| rounded(low)),
            high: ends.map(|(_, high)| rounded(high)),
            n,
            raw: raw
                .iter()
                .map(|&(name, mean)| (name.to_owned(), rounded(mean)))
                .collect::<BTreeMap<_, _>>(),
        };
        self.measured.push((score, resampled));
    }

    /// Mean over sites (and attributes) of `left - right`, with a paired interval.
    ///
    /// Takes every (site, attribute) at which both are defined; resample `r` shows the same prompts to both and to all
    /// sites. `k`: the number of latents of an edit; it only selects among scores that have one.
    pub fn compare(&self, left: &str, right: &str, metric: Metric, k: Option<usize>) -> Comparison {
        let pick = |name: &str| {
            let chosen = self.measured.iter().filter(|(score, _)| {
                score.dictionary == name && score.metric == metric && (score.k.is_none() || score.k == k)
            });
            let place = |(score, resampled)| {
                let score: &Score = score;
                Some(((score.site.as_str(), score.attribute), (score.value?, resampled)))
            };
            chosen
                .map(|(score, resampled)| (score, resampled))
                .filter_map(place)
                .collect::<BTreeMap<_, (f64, &Vec<f64>)>>()
        };
        let (lefts, rights) = (pick(left), pick(right));
        let pairs: Vec<_> = lefts
            .iter()
            .filter_map(|(place, left)| Some((left, rights.get(place)?)))
            .collect();
        let mean = |values: Vec<f64>| {
            let defined: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
            (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
        };
        let resamples = pairs
            .iter()
            .map(|(left, right)| left.1.len().min(right.1.len()))
            .min()
            .unwrap_or(0);
        let difference = |r: usize| mean(pairs.iter().map(|(left, right)| left.1[r] - right.1[r]).collect());
        let resampled: Vec<f64> = (0..resamples).filter_map(difference).collect();
        let ends = interval(&resampled);
        Comparison {
            left: left.to_owned(),
            right: right.to_owned(),
            metric,
            k,
            left_value: mean(pairs.iter().map(|(left, _)| left.0).collect()).map(rounded),
            right_value: mean(pairs.iter().map(|(_, right)| right.0).collect()).map(rounded),
            difference: mean(pairs.iter().map(|(left, right)| left.0 - right.0).collect()).map(rounded),
            low: ends.map(|(low, _)| rounded(low)),
            high: ends.map(|(_, high)| rounded(high)),
            pairs: pairs.len(),
        }
    }

    /// The scores, in the order they were entered.
    pub fn into_scores(self) -> Vec<Score> {
        self.measured.into_iter().map(|(score, _)| score).collect()
    }
}

/// `value` rounded to six significant digits.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(dictionary: &'a str, site: &'a str) -> Key<'a> {
        Key {
            dictionary,
            site,
            attribute: None,
            metric: Metric::Sufficiency,
            k: None,
        }
    }

    #[test]
    fn six_digits() {
        assert_eq!(rounded(0.123_456_789), 0.123_457);
        assert_eq!(rounded(-12_345_678.0), -12_345_700.0);
        assert_eq!(rounded(0.0), 0.0);
    }

    #[test]
    fn comparison_pairs_sites_and_skips_the_undefined() {
        let mut ledger = Ledger::default();
        for (site, left, right) in [
            ("a", Some(0.9), Some(0.5)),
            ("b", Some(0.7), Some(0.5)),
            ("c", None, Some(0.1)),
        ] {
            ledger.enter(&key("left", site), left, vec![left.unwrap_or(f64::NAN); 10], 5, &[]);
            ledger.enter(&key("right", site), right, vec![right.unwrap_or(f64::NAN); 10], 5, &[]);
        }
        let comparison = ledger.compare("left", "right", Metric::Sufficiency, None);
        assert_eq!((comparison.pairs, comparison.difference), (2, Some(0.3)));
        assert_eq!((comparison.left_value, comparison.right_value), (Some(0.8), Some(0.5)));
        assert!((comparison.low.unwrap() - 0.3).abs() < 1e-6);
        assert_eq!(
            ledger.compare("left", "nobody", Metric::Sufficiency, None).difference,
            None
        );
    }
}
