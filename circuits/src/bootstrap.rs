//! How much scores and ranks of edges depend on the pairs that were drawn: the bootstrap over pairs.

use rand::RngExt;
use rayon::prelude::*;

use crate::Scores;

/// The middle 95 % over resampled pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    /// Of the score of each edge.
    pub scores: Vec<[f64; 2]>,
    /// Of the rank of each edge by its score without its sign, from 1.
    pub ranks: Vec<[usize; 2]>,
    /// Edges of the set that [`Intervals::overlap`] is of: the best hundredth, at least one.
    pub top: usize,
    /// Size of the intersection over size of the union of that set with the same of a resample, on average.
    pub overlap: f64,
}

/// Ranks of edges from 1, by scores without their signs; of equal ones the first is before.
pub fn ranks(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].abs().total_cmp(&scores[a].abs()));
    let mut ranks = vec![0; scores.len()];
    for (place, edge) in order.into_iter().enumerate() {
        ranks[edge] = place + 1;
    }
    ranks
}

impl Intervals {
    /// Of `resamples` bootstrap samples of the pairs; none of fewer than two pairs, without resamples, or of imported scores. Takes 12 bytes for each
    /// edge and resample.
    pub fn of(scores: &Scores, resamples: usize, seed: u64) -> Option<Self> {
        let (edges, pairs) = (scores.values.len(), scores.clean.len());
        if pairs < 2 || resamples == 0 || scores.by_pair.is_empty() {
            return None;
        }
        let mut rng = kernels::random::rng(seed, "circuit scores");
        let drawn: Vec<Vec<f64>> = (0..resamples)
            .map(|_| {
                let mut times = vec![0.0; pairs];
                for _ in 0..pairs {
                    times[rng.random_range(0..pairs)] += 1.0;
                }
                times
            })
            .collect();
        let top = (edges / 100).max(1);
        let of_all = ranks(&scores.values);
        let resampled: Vec<(Vec<f32>, Vec<u32>, f64)> = drawn
            .into_par_iter()
            .map(|times| {
                let mut means = vec![0.0_f64; edges];
                for (row, times) in scores.by_pair.chunks(edges).zip(&times) {
                    if *times > 0.0 {
                        for (mean, &value) in means.iter_mut().zip(row) {
                            *mean += times * f64::from(value) / pairs as f64;
                        }
                    }
                }
                let ranks = ranks(&means);
                let both = ranks
                    .iter()
                    .zip(&of_all)
                    .filter(|(a, b)| **a <= top && **b <= top)
                    .count();
                let overlap = both as f64 / (2 * top - both) as f64;
                let narrow = means.into_iter().map(|mean| mean as f32).collect();
                (narrow, ranks.into_iter().map(|rank| rank as u32).collect(), overlap)
            })
            .collect();
        let middle = |values: &mut [f64]| -> [f64; 2] {
            values.sort_by(f64::total_cmp);
            [0.025, 0.975].map(|share| values[(share * (values.len() - 1) as f64).round() as usize])
        };
        let of_edges: Vec<([f64; 2], [usize; 2])> = (0..edges)
            .into_par_iter()
            .map(|edge| {
                let mut means: Vec<f64> = resampled.iter().map(|(means, ..)| f64::from(means[edge])).collect();
                let mut ranks: Vec<f64> = resampled.iter().map(|(_, ranks, _)| f64::from(ranks[edge])).collect();
                (middle(&mut means), middle(&mut ranks).map(|rank| rank as usize))
            })
            .collect();
        let (scores, ranks) = of_edges.into_iter().unzip();
        let overlap = resampled.iter().map(|(.., overlap)| overlap).sum::<f64>() / resamples as f64;
        Some(Self {
            scores,
            ranks,
            top,
            overlap,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::Graph;

    /// Scores of 40 pairs: edge 0 is 3 in each, edge 1 alternates between 0 and 2, all others are small.
    fn scores() -> Scores {
        let graph = Graph::of(1, 2, 2, false);
        let edges = graph.n_edges();
        let row = |pair: usize| {
            (0..edges).map(move |edge| match edge {
                0 => 3.0,
                1 => 2.0 * (pair % 2) as f32,
                _ => 0.01 * edge as f32,
            })
        };
        let by_pair: Vec<f32> = (0..40).flat_map(row).collect();
        let mean = |edge: usize| {
            by_pair
                .iter()
                .skip(edge)
                .step_by(edges)
                .map(|&x| f64::from(x))
                .sum::<f64>()
                / 40.0
        };
        Scores {
            values: (0..edges).map(mean).collect(),
            errors: vec![None; edges],
            clean: vec![0.0; 40],
            corrupted: vec![0.0; 40],
            graph,
            by_pair,
        }
    }

    #[test]
    fn intervals_are_those_of_the_mean() {
        let found = Intervals::of(&scores(), 2000, 0).unwrap();
        assert!(found.scores[0].iter().all(|end| (end - 3.0).abs() < 1e-5));
        // The mean of 40 numbers that are 0 or 2: standard error 1 / sqrt(40).
        let [low, high] = found.scores[1];
        let half = 1.96 / 40.0_f64.sqrt();
        assert!(
            (low - (1.0 - half)).abs() < 0.06 && (high - (1.0 + half)).abs() < 0.06,
            "{low} {high}"
        );
        assert_eq!((found.ranks[0], found.ranks[1]), ([1, 1], [2, 2]));
        assert_eq!((found.top, found.overlap), (1, 1.0));
    }

    #[test]
    fn one_pair_has_no_interval() {
        let mut one = scores();
        one.clean.truncate(1);
        assert_eq!(Intervals::of(&one, 100, 0), None);
        assert_eq!(Intervals::of(&scores(), 0, 0), None);
    }
}
