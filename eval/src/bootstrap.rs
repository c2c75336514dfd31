//! Seeded percentile bootstrap over prompts.
//!
//! One set of resamples serves every number measured on the same prompts, so that ratios of means and differences
//! between dictionaries are resampled in pairs: resample `r` shows the same prompts to both. (The paper, Makelov,
//! Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366), gives 95 % bootstrap intervals in its figures.)
//!
//! Shape legend: `N` prompts, `R` resamples.

use rand::RngExt;
use rayon::prelude::*;

/// Share of the resamples that a 95 % interval leaves out.
const LEVEL: f64 = 0.05;

/// `R` resamples of `N` prompts with replacement, as multiplicities.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    n: usize,
    counts: Vec<Vec<u32>>, // R rows of N
}

impl Bootstrap {
    /// Draws `resamples` resamples of `n` prompts from the random stream `bootstrap/{stream}` of `seed`.
    pub fn new(n: usize, resamples: usize, seed: u64, stream: &str) -> Self {
        let mut rng = kernels::random::rng(seed, &format!("bootstrap/{stream}"));
        let mut draw = || {
            let mut counts = vec![0u32; n];
            for _ in 0..n {
                counts[rng.random_range(0..n)] += 1;
            }
            counts
        };
        let counts = (0..resamples).map(|_| draw()).collect();
        Self { n, counts }
    }

    /// How often each prompt occurs in each resample, `R` rows of `N`.
    pub fn counts(&self) -> &[Vec<u32>] {
        &self.counts
    }

    /// The mean of `values` (`[N]`) in each resample, `[R]`.
    pub fn means(&self, values: &[f32]) -> Vec<f64> {
        let mean = |counts: &Vec<u32>| {
            let sum: f64 = counts
                .iter()
                .zip(values)
                .map(|(&count, &value)| f64::from(count) * f64::from(value))
                .sum();
            sum / self.n.max(1) as f64
        };
        self.counts.par_iter().map(mean).collect()
    }
}

/// The 95 % percentile interval of resampled values; undefined (non-finite) resamples are left out.
///
/// `None` when no resample is defined.
pub fn interval(resampled: &[f64]) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = resampled.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    quantiles_of_sorted(&sorted, LEVEL)
}

/// Wilson's 95 % interval of a share of `n` prompts (<https://doi.org/10.2307/2276774>): where all are alike, resamples are too, and
/// the percentile interval has no width.
pub fn wilson(share: f64, n: usize) -> (f64, f64) {
    let (n, z) = (n as f64, 1.959_964);
    let scale = 1.0 + z * z / n;
    let middle = (share + z * z / (2.0 * n)) / scale;
    let half = z * ((share * (1.0 - share)).max(0.0) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    ((middle - half).min(share).max(0.0), (middle + half).max(share).min(1.0))
}

/// The percentile interval that leaves out `level` of resampled values in ascending order, half at either end.
pub(crate) fn quantiles_of_sorted(sorted: &[f64], level: f64) -> Option<(f64, f64)> {
    let last = sorted.len().checked_sub(1)?;
    let at = |share: f64| sorted[(share * last as f64).round() as usize];
    Some((at(level / 2.0), at(1.0 - level / 2.0)))
}

/// Combines resampled values in pairs: `combine(a[r], b[r])` for each resample, NaN where it is undefined.
pub fn paired(a: &[f64], b: &[f64], combine: impl Fn(f64, f64) -> Option<f64>) -> Vec<f64> {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| combine(a, b).unwrap_or(f64::NAN))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn same_seed_same_resamples() {
        let (a, b) = (Bootstrap::new(50, 20, 7, "x"), Bootstrap::new(50, 20, 7, "x"));
        assert_eq!(a.counts(), b.counts());
        assert_ne!(a.counts(), Bootstrap::new(50, 20, 7, "y").counts());
        assert!(a.counts().iter().all(|counts| counts.iter().sum::<u32>() == 50));
    }

    #[test]
    fn degenerate_input() {
        assert_eq!(interval(&[]), None);
        assert_eq!(interval(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(interval(&[2.0]), Some((2.0, 2.0)));
        assert_eq!(Bootstrap::new(0, 3, 1, "x").means(&[]), [0.0; 3]);
        let one = Bootstrap::new(1, 5, 1, "x").means(&[4.0]);
        assert_eq!(one, [4.0; 5]);
    }

    #[test]
    fn covers_the_planted_mean() {
        let trials = 200;
        let covered = (0..trials).filter(|&trial| {
            let mut rng = kernels::random::rng(trial, "planted");
            let values: Vec<f32> = kernels::random::normal(&mut rng, 80, 1.0)
                .iter()
                .map(|x| x + 3.0)
                .collect();
            let (low, high) = interval(&Bootstrap::new(80, 400, trial, "cover").means(&values)).unwrap();
            (low..=high).contains(&3.0)
        });
        let covered = covered.count();
        assert!(
            (178..=198).contains(&covered),
            "{covered} of {trials}, about 190 expected"
        );
    }

    #[test]
    fn wilson_covers_shares_near_their_ends() {
        let (low, high) = wilson(1.0, 1000);
        assert!(low > 0.996 && low < 0.9964 && high == 1.0, "{low} {high}");
        for share in [0.5, 0.9, 0.99, 0.997] {
            let covered = (0..400_u64).filter(|&trial| {
                let mut rng = kernels::random::rng(trial, "wilson");
                let right = (0..1000).filter(|_| rng.random_range(0.0..1.0) < share).count();
                let (low, high) = wilson(right as f64 / 1000.0, 1000);
                (low..=high).contains(&share)
            });
            let covered = covered.count();
            assert!(covered >= 368, "{share}: {covered} of 400");
        }
    }

    #[test]
    fn pairs_share_their_prompts() {
        let a: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let b: Vec<f32> = a.iter().map(|x| x - 1.0).collect();
        let bootstrap = Bootstrap::new(40, 100, 3, "pairs");
        let difference = paired(&bootstrap.means(&a), &bootstrap.means(&b), |a, b| Some(a - b));
        let (low, high) = interval(&difference).unwrap();
        assert!((low - 1.0).abs() < 1e-9 && (high - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn intervals_stay_inside_the_data(values in prop::collection::vec(-50f32..50.0, 1..60), seed in 0u64..1000) {
            let means = Bootstrap::new(values.len(), 60, seed, "inside").means(&values);
            let (low, high) = interval(&means).unwrap();
            let smallest = f64::from(values.iter().copied().fold(f32::INFINITY, f32::min));
            let largest = f64::from(values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            prop_assert!(low <= high && low >= smallest - 1e-3 && high <= largest + 1e-3);
        }

        #[test]
        fn a_constant_has_no_width(value in -50f32..50.0, n in 1usize..40) {
            let (low, high) = interval(&Bootstrap::new(n, 30, 1, "constant").means(&vec![value; n])).unwrap();
            prop_assert!((low - f64::from(value)).abs() < 1e-4 && (high - low).abs() < 1e-4);
        }
    }
}
