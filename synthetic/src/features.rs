//! Which features are active and how strongly: the law of the features, and rows drawn from it.
//!
//! Steps 2 to 7 of SynthSAEBench's generator (<https://arxiv.org/abs/2602.14687>; `sae_lens.synthetic`). A feature fires when a
//! normal number is above its threshold; the numbers of a row share [`RANK`] factors, so that features fire together.
//!
//! Shapes: `N` features, `R` factors, `B` rows.

use kernels::random::{self, ChaCha8Rng};
use kernels::{Matrix, gemm};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::hierarchy::{Entry, Hierarchy};

/// Shared factors of the normal numbers, `R`.
pub const RANK: usize = 25;
/// Standard deviation of a weight of a factor.
const FACTOR_SCALE: f32 = 0.1;
/// The least variance that is a feature's own.
const LEAST_OWN_VARIANCE: f32 = 0.01;
/// Rates of the most and the least frequent feature, and how fast they fall in between.
const MOST_FREQUENT: f64 = 0.4;
const LEAST_FREQUENT: f64 = 5e-4;
const EXPONENT: f64 = 0.5;
/// Mean activations of the most and the least frequent feature.
const FIRST_MEAN: f64 = 5.0;
const LAST_MEAN: f64 = 4.0;
/// Mean and standard deviation of the normal number whose absolute value is a feature's standard deviation.
const SPREAD: (f32, f32) = (0.5, 0.5);
/// Rows that are drawn from one stream of random numbers.
const BLOCK: usize = 1024;

/// What is drawn once for all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDraws {
    /// Standard deviation of each feature's activation, `[N]`.
    pub deviations: Vec<f32>,
    /// Weights of the shared factors, `[N, R]`.
    pub factors: Vec<f32>,
}

impl FeatureDraws {
    /// The draws of a seed.
    pub fn new(features: usize, seed: u64) -> Self {
        let spread = random::normal(&mut random::rng(seed, "synthetic/deviations"), features, SPREAD.1);
        let mut rng = random::rng(seed, "synthetic/factors");
        Self {
            deviations: spread.into_iter().map(|x| (SPREAD.0 + x).abs()).collect(),
            factors: random::normal(&mut rng, features * RANK, FACTOR_SCALE),
        }
    }
}

/// The law that activations of features follow.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureLaw {
    /// Which feature is part of which.
    pub hierarchy: Hierarchy,
    /// How often a feature would fire alone, `[N]`, falling.
    pub rates: Vec<f64>,
    /// How often it is drawn, `[N]`: [`Hierarchy::compensated`].
    pub drawn: Vec<f64>,
    /// Mean activation where it fires, `[N]`.
    pub means: Vec<f32>,
    /// Standard deviation there, `[N]`.
    pub deviations: Vec<f32>,
    /// Weights of the shared factors, `[N, R]`.
    pub factors: Vec<f32>,
    /// Weight of a feature's own normal number, `[N]`: squares with those of `factors` add up to 1.
    pub own: Vec<f32>,
    /// A feature fires above it, `[N]`.
    pub thresholds: Vec<f32>,
}

/// Rows of activations, of which few are not 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FeatureRows {
    /// Where each row begins in `entries`, and where the last one ends.
    pub starts: Vec<usize>,
    /// Active features of all rows, ascending in each.
    pub entries: Vec<Entry>,
}

impl FeatureRows {
    /// Number of rows, `B`.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The active features of a row.
    pub fn row(&self, row: usize) -> &[Entry] {
        &self.entries[self.starts[row]..self.starts[row + 1]]
    }

    /// Mean number of active features of a row.
    pub fn l0(&self) -> f64 {
        self.entries.len() as f64 / self.len().max(1) as f64
    }

    /// The same rows without the features before `first`.
    pub fn from_feature(&self, first: u32) -> Self {
        let row = |row: usize| self.row(row).iter().copied().filter(|entry| entry.0 >= first).collect();
        Self::from_rows((0..self.len()).map(row))
    }

    fn from_rows(rows: impl IntoIterator<Item = Vec<Entry>>) -> Self {
        let (mut starts, mut entries) = (vec![0], Vec::new());
        for row in rows {
            entries.extend(row);
            starts.push(entries.len());
        }
        Self { starts, entries }
    }
}

impl FeatureLaw {
    /// The law of `features` features of which `roots` begin a tree.
    pub fn new(features: usize, roots: usize, seed: u64) -> Self {
        Self::from_draws(features, roots, FeatureDraws::new(features, seed))
    }

    /// The law with draws from elsewhere.
    ///
    /// # Panics
    ///
    /// Draws of another number of features, which is an error of the caller.
    pub fn from_draws(features: usize, roots: usize, draws: FeatureDraws) -> Self {
        let FeatureDraws {
            deviations,
            mut factors,
        } = draws;
        assert_eq!(
            (deviations.len(), factors.len()),
            (features, features * RANK),
            "draws of {features} features"
        );
        let hierarchy = Hierarchy::new(features, roots);
        let rates = rates(features);
        let drawn = hierarchy.compensated(&rates);
        let own = factors.chunks_exact_mut(RANK).map(own_weight).collect();
        let last = (features.max(2) - 1) as f64;
        let mean = |feature: usize| (FIRST_MEAN + (LAST_MEAN - FIRST_MEAN) * feature as f64 / last) as f32;
        Self {
            hierarchy,
            thresholds: drawn.iter().map(|&p| upper_quantile(p) as f32).collect(),
            rates,
            drawn,
            means: (0..features).map(mean).collect(),
            deviations,
            factors,
            own,
        }
    }

    /// Number of features, `N`.
    pub fn len(&self) -> usize {
        self.rates.len()
    }

    /// Whether there are no features.
    pub fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    /// `rows` rows of the sample of this seed and name; equal arguments give equal rows, whatever the number of threads, and more rows
    /// begin with the same ones.
    pub fn sample(&self, rows: usize, seed: u64, name: &str) -> FeatureRows {
        let blocks: Vec<Vec<Vec<Entry>>> = (0..rows.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let mut rng = random::rng(seed, &format!("synthetic/{name} {block}"));
                let mut drawn = self.block(&mut rng);
                drawn.truncate(rows - block * BLOCK);
                drawn
            })
            .collect();
        FeatureRows::from_rows(blocks.into_iter().flatten())
    }

    fn block(&self, rng: &mut ChaCha8Rng) -> Vec<Vec<Entry>> {
        let shared = random::normal(rng, BLOCK * RANK, 1.0); // [B, R]
        let mut z = vec![0.0; BLOCK * self.len()];
        gemm(
            &mut z,
            Matrix::rows(&shared, RANK),
            Matrix::rows(&self.factors, RANK).transposed(),
        ); // [B, N]
        z.chunks_exact(self.len())
            .map(|shared| {
                let own = (0..self.len())
                    .map(|_| StandardNormal.sample(rng))
                    .collect::<Vec<f32>>();
                let fires = self.fires(shared, &own);
                let mut row = self.magnitudes(&fires, &mut || StandardNormal.sample(rng));
                self.hierarchy.apply(&mut row, &self.means, &mut |siblings| {
                    rng.random_range(0..siblings.len())
                });
                row
            })
            .collect()
    }

    /// Features whose normal number, from what is shared, `[N]`, and from what is their own, `[N]`, is above the threshold.
    pub fn fires(&self, shared: &[f32], own: &[f32]) -> Vec<u32> {
        let numbers = shared.iter().zip(own).zip(&self.own).zip(&self.thresholds);
        (0_u32..)
            .zip(numbers)
            .filter(|(_, (((shared, own), weight), threshold))| *shared + *own * *weight > **threshold)
            .map(|(feature, _)| feature)
            .collect()
    }

    /// Activations of features that fire, before the forest changes them; `normal` is asked once for each.
    pub fn magnitudes(&self, fires: &[u32], normal: &mut dyn FnMut() -> f32) -> Vec<Entry> {
        let of = |&feature: &u32| {
            let (mean, deviation) = (self.means[feature as usize], self.deviations[feature as usize]);
            (feature, mean + normal() * deviation)
        };
        fires
            .iter()
            .map(of)
            .filter(|(_, activation)| *activation > 0.0)
            .collect()
    }
}

/// How often each feature fires: a power law between the rates of the first and the last one.
fn rates(features: usize) -> Vec<f64> {
    let power = |rank: usize| (rank as f64).powf(-EXPONENT);
    let last = power(features);
    let share = |rank: usize| match features {
        1 => 1.0,
        _ => (power(rank) - last) / (1.0 - last),
    };
    (1..=features)
        .map(|rank| LEAST_FREQUENT + (MOST_FREQUENT - LEAST_FREQUENT) * share(rank))
        .collect()
}

/// The weight of a feature's own number; weights of factors that leave too little for it are shrunk.
fn own_weight(factors: &mut [f32]) -> f32 {
    let squares = |factors: &[f32]| factors.iter().map(|x| x * x).sum::<f32>();
    let sum = squares(factors);
    if 1.0 - sum < LEAST_OWN_VARIANCE {
        let shrink = ((1.0 - LEAST_OWN_VARIANCE) / sum).sqrt();
        factors.iter_mut().for_each(|x| *x *= shrink);
    }
    (1.0 - squares(factors)).sqrt()
}

/// What a standard normal number exceeds with probability `p`, by halving.
fn upper_quantile(p: f64) -> f64 {
    // Beyond 40 standard deviations no probability is told from 0 or 1.
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        let above = 0.5 * libm::erfc(middle / std::f64::consts::SQRT_2);
        if above > p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_16k_model() {
        let rates = rates(16_384);
        assert!(
            (rates.iter().sum::<f64>() - 59.1).abs() < 0.05,
            "{}",
            rates.iter().sum::<f64>()
        );
        assert!((rates[0] - 0.4).abs() < 1e-12 && (rates[16_383] - 5e-4).abs() < 1e-12);
    }

    #[test]
    fn quantiles() {
        for (p, expected) in [
            (0.5, 0.0),
            (0.158_655_253_931_457_05, 1.0),
            (0.975, -1.959_963_984_540_054),
        ] {
            assert!((upper_quantile(p) - expected).abs() < 1e-9, "{p}");
        }
        assert!(upper_quantile(1.0) < -8.0);
    }

    #[test]
    fn rows_do_not_depend_on_their_number() {
        let law = FeatureLaw::new(64, 2, 1);
        let (few, many) = (law.sample(1500, 3, "test"), law.sample(2100, 3, "test"));
        assert_eq!((few.len(), many.len()), (1500, 2100));
        for row in [0, 1023, 1024, 1499] {
            assert_eq!(few.row(row), many.row(row));
        }
        assert_ne!(few, law.sample(1500, 3, "other"));
    }
}
