//! How much of a behaviour a circuit keeps.

use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Share of the gap between the clean and the corrupted metric below which nothing can be divided by it.
const NO_GAP: f64 = 1e-6;

/// Means over pairs and what a circuit keeps of the difference, `(circuit - corrupted) / (clean - corrupted)`: a ratio of means.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Faithfulness {
    /// Mean metric of the clean runs.
    pub clean: f64,
    /// Mean metric of the corrupted runs.
    pub corrupted: f64,
    /// Mean metric of the circuit's runs.
    pub circuit: f64,
    /// 1 where the circuit does as well as the model, 0 where it does as the corrupted run, more or less where it goes beyond;
    /// undefined where clean and corrupted runs have one metric.
    pub faithfulness: Option<f64>,
    /// The middle 95 % of the same over resampled pairs; undefined where any of them is.
    pub interval: Option<[f64; 2]>,
}

impl Faithfulness {
    /// Of the metrics of the same pairs in three runs, with `resamples` bootstrap samples of pairs.
    pub fn of(clean: &[f64], corrupted: &[f64], circuit: &[f64], resamples: usize, seed: u64) -> Self {
        let pairs = clean.len().min(corrupted.len()).min(circuit.len());
        let mean = |values: &[f64], rows: &mut dyn Iterator<Item = usize>| {
            rows.map(|row| values[row]).sum::<f64>() / pairs.max(1) as f64
        };
        let means = |rows: &[usize]| [clean, corrupted, circuit].map(|values| mean(values, &mut rows.iter().copied()));
        let all: Vec<usize> = (0..pairs).collect();
        let [of_clean, of_corrupted, of_circuit] = means(&all);
        let mut rng = kernels::random::rng(seed, "circuit faithfulness");
        let mut resampled: Vec<Option<f64>> = (0..resamples)
            .map(|_| {
                let rows: Vec<usize> = (0..pairs).map(|_| rng.random_range(0..pairs)).collect();
                share(means(&rows))
            })
            .collect();
        resampled.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let interval = resampled
            .iter()
            .copied()
            .collect::<Option<Vec<f64>>>()
            .and_then(|sorted| {
                let at = |share: f64| {
                    sorted
                        .get((share * (sorted.len().checked_sub(1)? as f64)).round() as usize)
                        .copied()
                };
                Some([at(0.025)?, at(0.975)?])
            });
        Self {
            clean: of_clean,
            corrupted: of_corrupted,
            circuit: of_circuit,
            faithfulness: share([of_clean, of_corrupted, of_circuit]),
            interval,
        }
    }
}

fn share([clean, corrupted, circuit]: [f64; 3]) -> Option<f64> {
    let gap = clean - corrupted;
    let is_gap = gap.abs() > NO_GAP * clean.abs().max(corrupted.abs()).max(NO_GAP);
    is_gap.then(|| (circuit - corrupted) / gap)
}

/// The area under a curve of shares of edges and faithfulness, by trapezoids (MIB's CPR), and that between the curve and 1 (CMD).
pub fn areas(curve: &[(f64, f64)]) -> [f64; 2] {
    let area = |height: &dyn Fn(f64) -> f64| {
        let steps = curve
            .windows(2)
            .map(|ends| (ends[1].0 - ends[0].0) * (height(ends[0].1) + height(ends[1].1)) / 2.0);
        steps.sum()
    };
    [area(&|f| f), area(&|f| (1.0 - f).abs())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_of_means_not_a_mean_of_ratios() {
        let found = Faithfulness::of(&[1.0, 3.0], &[0.0, 1.0], &[1.0, 1.0], 100, 0);
        assert_eq!(found.faithfulness, Some((1.0 - 0.5) / (2.0 - 0.5)));
        let [low, high] = found.interval.unwrap_or_default();
        assert!((low, high) == (0.0, 1.0), "{low} {high}");
    }

    #[test]
    fn without_a_gap_it_is_undefined() {
        let found = Faithfulness::of(&[1.0, 3.0], &[3.0, 1.0], &[1.0, 1.0], 100, 0);
        assert_eq!((found.faithfulness, found.interval), (None, None));
        let none = Faithfulness::of(&[], &[], &[], 0, 0);
        assert_eq!((none.faithfulness, none.interval), (None, None));
    }

    #[test]
    fn areas_are_those_of_mib() {
        // The example circuit of MIB's repository.
        let shares = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];
        let f = [
            0.02324, 0.23935, 0.49879, 0.80299, 0.88125, 0.92028, 0.93567, 0.96724, 0.97813, 1.0,
        ];
        let curve: Vec<(f64, f64)> = shares.into_iter().zip(f).collect();
        let [cpr, cmd] = areas(&curve);
        assert!(
            (cpr - 0.96782).abs() < 1e-5 && (cmd - 0.03118).abs() < 1e-5,
            "{cpr} {cmd}"
        );
    }
}
