//! Occlusion against the norm ratio: runs of the occlusion toy that differ in nothing but ratio and seed, seeds taken
//! together.
//!
//! Beside the index stands what figure 13 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366))
//! shows: the weak coverage at checkpoints where the strong one lies between 0.8 and 0.9, and from 0.9 on. The paper's
//! means are 0.28 and 0.33, at a ratio of 1.319 and over its whole grid.

use crate::occlusion::{Outcome, Settings, THETA};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Strong coverages at which the weak one is averaged; the first is without its end.
const BINS: [RangeInclusive<f64>; 2] = [0.8..=0.9 - f64::EPSILON, 0.9..=1.0];

/// Runs of one ratio; each mean is over the runs in which the number is defined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dose {
    /// Mean norm of the strong over that of the weak vectors.
    pub ratio: f64,
    /// Latents of the autoencoders.
    pub latents: usize,
    /// Weight of the penalty.
    pub lambda: f64,
    /// Runs, one a seed.
    pub runs: usize,
    /// Epoch of the first checkpoint where the strong coverage is at least 0.6.
    pub first_epoch: Option<f64>,
    /// Occlusion index there.
    pub first_index: Option<f64>,
    /// Occlusion index at the end.
    pub final_index: Option<f64>,
    /// Weak coverage at checkpoints where the strong one lies between 0.8 and 0.9, and from 0.9 on.
    pub weak_given_strong: [Option<f64>; 2],
}

/// The doses of every group of runs that holds more than one ratio, by rising ratio.
pub(crate) fn doses(runs: &[(&Settings, &Outcome)]) -> Vec<Dose> {
    let same = |a: &Settings, b: &Settings| {
        let (ratio, seed) = (b.ratio, b.seed);
        *b == Settings {
            ratio,
            seed,
            ..a.clone()
        }
    };
    let mut groups: Vec<Vec<(&Settings, &Outcome)>> = Vec::new();
    for &run in runs {
        match groups.iter_mut().find(|group| same(group[0].0, run.0)) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    let mut doses = Vec::new();
    for group in groups {
        let mut ratios: Vec<f64> = group.iter().map(|(settings, _)| settings.ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.dedup();
        if ratios.len() > 1 {
            doses.extend(ratios.into_iter().map(|ratio| dose(ratio, &group)));
        }
    }
    doses
}

/// The runs of `group` at one ratio.
fn dose(ratio: f64, group: &[(&Settings, &Outcome)]) -> Dose {
    let at_ratio = || group.iter().filter(|(settings, _)| settings.ratio == ratio);
    let mean_of = |of: fn(&Outcome) -> Option<f64>| mean(at_ratio().filter_map(|(_, outcome)| of(outcome)));
    let weak = |bin: RangeInclusive<f64>| {
        let points = at_ratio().flat_map(|(_, outcome)| &outcome.checkpoints);
        let coverages = points.filter_map(|point| point.at(THETA));
        mean(coverages.filter(|c| bin.contains(&c.strong)).map(|c| c.weak))
    };
    Dose {
        ratio,
        latents: group[0].0.latents,
        lambda: group[0].0.lambda,
        runs: at_ratio().count(),
        first_epoch: mean_of(|outcome| outcome.first_epoch),
        first_index: mean_of(|outcome| outcome.first_index),
        final_index: mean_of(|outcome| outcome.final_index),
        weak_given_strong: BINS.map(weak),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occlusion::{Checkpoint, Coverage};

    fn run(ratio: f64, seed: u64, latents: usize, strong: f64, weak: f64) -> (Settings, Outcome) {
        let settings = Settings {
            ratio,
            latents,
            lambda: 1.0,
            epochs: 1,
            samples: 8,
            batch: 8,
            learning_rate: 1.0,
            seed,
        };
        let coverage = vec![Coverage {
            theta: THETA,
            strong,
            weak,
        }];
        let outcome = Outcome {
            checkpoints: vec![Checkpoint {
                step: 1,
                epoch: 1.0,
                l0: 3.0,
                coverage,
            }],
            first_index: Some(1.0 - weak / strong),
            first_epoch: (seed == 0).then_some(4.0),
            final_index: None,
            worst_order: None,
            gaps: None,
        };
        (settings, outcome)
    }

    #[test]
    fn seeds_are_averaged_and_other_settings_kept_apart() {
        let runs = [
            run(1.5, 0, 8, 0.8, 0.2),
            run(1.5, 1, 8, 0.9, 0.45),
            run(1.2, 0, 8, 1.0, 0.5),
            run(1.5, 0, 16, 0.7, 0.5),
        ];
        let pairs: Vec<(&Settings, &Outcome)> = runs.iter().map(|(settings, outcome)| (settings, outcome)).collect();
        let found = doses(&pairs);
        let ratios: Vec<(f64, usize)> = found.iter().map(|dose| (dose.ratio, dose.runs)).collect();
        assert_eq!(ratios, [(1.2, 1), (1.5, 2)], "16 latents have one ratio only");
        assert!((found[1].first_index.unwrap() - 0.625).abs() < 1e-12);
        assert_eq!((found[1].first_epoch, found[1].final_index), (Some(4.0), None));
        assert_eq!(found[1].weak_given_strong, [Some(0.2), Some(0.45)]);
        assert_eq!(found[0].weak_given_strong, [None, Some(0.5)]);
    }
}
