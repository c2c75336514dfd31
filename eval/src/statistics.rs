//! Which differences between dictionaries are real: seeds, bootstrap over prompts; Holm's correction; stability of the ranking.
//!
//! A family is what dictionaries share that differ by their seed only. A draw is one resample of the prompts, the same for
//! both families, so that they are paired by prompt, and for each family a mean over all seeds that there could be: the mean
//! of its `n` seeds plus `s / sqrt(n)` times a draw from Student's t with `n - 1` degrees of freedom, `s` being the standard
//! deviation between its seeds (two such families: Behrens and Fisher's distribution). Seeds drawn with replacement, as the
//! prompts are, would not do: three of them never leave the range of the three, and such an interval of "95 %" covers 70 %.
//! A family of one seed adds nothing, and its interval takes that seed as given.
//!
//! Shares of prompts that are predicted right are near 0 or 1 for most seeds and somewhere else for a few: three seeds that all reach 1
//! say little of the fourth, and t between them covers too seldom. To the variance between seeds of a share two seeds are added that
//! count [`UNSEEN`] of the seeds each and reach 0 and 1, as Agresti and Coull add prompts (<https://doi.org/10.2307/2685469>); the mean stays that of
//! the seeds. `saelab coverage` measures what that comes to on real seeds.
//!
//! Many differences tested at once are held to Holm's step-down levels (<https://www.jstor.org/stable/4615733>).
//!
//! Shape legend: `R` draws.

use crate::bootstrap::quantiles;
use kernels::random::ChaCha8Rng;
use std::collections::BTreeMap;

/// Draws of a difference between families of several seeds: the end of an interval of 95 % for three seeds then comes out within
/// a hundredth of what it is.
const DRAWS: usize = 40_000;

/// What a seed that was not seen, and reaches nothing or everything, counts for each one that was.
const UNSEEN: f64 = 0.05;

/// Seeds without which a family's spread is not known well enough to call a difference real.
pub const FEWEST_SEEDS: usize = 3;

/// Level of the whole list of tests.
pub const LEVEL: f64 = 0.05;

/// What one dictionary reaches in one metric, by place (a site, or a site and an attribute).
pub type Measured<'a> = BTreeMap<String, (f64, &'a [f32])>;

/// Two families, subtracted.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Means of the two families.
    pub values: [f64; 2],
    /// The difference in each draw, `[R]`, without those that are undefined.
    pub draws: Vec<f64>,
    /// Resamples of the prompts that the draws go round.
    pub resamples: usize,
    /// Whether it has the same sign for every pair of seeds.
    pub seeds_agree: bool,
    /// Places at which every seed of both families is defined.
    pub places: usize,
}

/// The mean of a family over its seeds and places: its difference from zero.
pub fn family_mean(family: &[Measured<'_>], is_share: bool, seed: u64) -> Option<Difference> {
    let resamples = family
        .iter()
        .flat_map(BTreeMap::values)
        .map(|found| found.1.len())
        .max()
        .unwrap_or(0);
    let zeros = vec![0.0; resamples];
    let zero: Measured<'_> = family
        .first()?
        .keys()
        .map(|place| (place.clone(), (0.0, zeros.as_slice())))
        .collect();
    difference(family, &[zero], is_share, seed)
}

/// Subtracts `right` from `left`; both hold one [`Measured`] a seed. `None` without a common place or without seeds. `is_share`: what
/// is measured is a share of prompts ([`crate::Metric::is_share`]).
pub fn difference(left: &[Measured<'_>], right: &[Measured<'_>], is_share: bool, seed: u64) -> Option<Difference> {
    let first = left.first()?;
    let common: Vec<&String> = first
        .keys()
        .filter(|place| left.iter().chain(right).all(|of_seed| of_seed.contains_key(*place)))
        .collect();
    if common.is_empty() || right.is_empty() {
        return None;
    }
    let n = common.len() as f64;
    let of_seed = |measured: &Measured<'_>| -> (f64, Vec<f64>) {
        let parts: Vec<&(f64, &[f32])> = common.iter().map(|place| &measured[*place]).collect();
        let draws = parts.iter().map(|part| part.1.len()).min().unwrap_or(0);
        let draw = |r: usize| parts.iter().map(|part| f64::from(part.1[r])).sum::<f64>() / n;
        (
            parts.iter().map(|part| part.0).sum::<f64>() / n,
            (0..draws).map(draw).collect(),
        )
    };
    let sides = [left, right].map(|side| side.iter().map(of_seed).collect::<Vec<_>>());
    let mean = |side: &[(f64, Vec<f64>)]| side.iter().map(|of| of.0).sum::<f64>() / side.len() as f64;
    let values = [mean(&sides[0]), mean(&sides[1])];
    let signs = sides[0]
        .iter()
        .flat_map(|l| sides[1].iter().map(|r| (l.0 - r.0).partial_cmp(&0.0)));
    let signs: Vec<_> = signs.collect();
    let mut rng = kernels::random::rng(seed, "statistics/seeds");
    let resamples = sides.iter().flatten().map(|of| of.1.len()).min().unwrap_or(0);
    let errors = [0, 1].map(|side: usize| {
        let of_seeds: Vec<f64> = sides[side].iter().map(|of| of.0).collect();
        standard_error(&of_seeds, values[side], is_share.then_some(common.len()))
    });
    // The tails of t are long, and few draws know little of them: the resamples are gone round several times.
    let draws = match errors.iter().any(Option::is_some) && resamples > 0 {
        true => DRAWS.next_multiple_of(resamples),
        false => resamples,
    };
    let mut means = [0, 1].map(|side: usize| {
        let of = &sides[side];
        let mean = |r: usize| of.iter().map(|of| of.1[r]).sum::<f64>() / of.len() as f64;
        let means: Vec<f64> = (0..resamples).map(mean).collect(); // [R of the prompts]
        (0..draws).map(|draw| means[draw % resamples]).collect::<Vec<f64>>()
    });
    for ((means, error), of) in means.iter_mut().zip(errors).zip(&sides) {
        if let Some(error) = error {
            let t = student_t(of.len() - 1, draws, &mut rng);
            means.iter_mut().zip(t).for_each(|(mean, t)| *mean += error * t);
        }
    }
    let [l, r] = &means;
    let draws = l.iter().zip(r).map(|(l, r)| l - r);
    Some(Difference {
        values,
        draws: draws.filter(|difference| difference.is_finite()).collect(),
        resamples,
        seeds_agree: signs.windows(2).all(|pair| pair[0] == pair[1]) && signs[0] != Some(std::cmp::Ordering::Equal),
        places: common.len(),
    })
}

/// Standard deviation of the mean of several seeds; none of a single one. `places`: of a share, over how many places it is a mean.
fn standard_error(of_seeds: &[f64], mean: f64, places: Option<usize>) -> Option<f64> {
    let n = of_seeds.len() as f64;
    let squares: f64 = of_seeds.iter().map(|value| (value - mean).powi(2)).sum();
    let unseen = places.map_or(0.0, |places| {
        n * UNSEEN * (mean.powi(2) + (1.0 - mean).powi(2)) / places as f64
    });
    let weight = n * places.map_or(1.0, |_| 1.0 + 2.0 * UNSEEN);
    (n > 1.0).then(|| ((squares + unseen) / (weight - 1.0) / weight).sqrt())
}

/// `n` draws from Student's t: a normal number over the root mean square of `degrees` others.
fn student_t(degrees: usize, n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let of = |normal: &[f32]| {
        let squares: f64 = normal[1..].iter().map(|x| f64::from(*x).powi(2)).sum();
        f64::from(normal[0]) / (squares / degrees as f64).sqrt()
    };
    let normal = kernels::random::normal(rng, n * (degrees + 1), 1.0);
    normal.chunks_exact(degrees + 1).map(of).collect()
}

impl Difference {
    /// Mean difference.
    pub fn value(&self) -> f64 {
        self.values[0] - self.values[1]
    }

    /// The other way round.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.values.reverse();
        self.draws.iter_mut().for_each(|draw| *draw = -*draw);
        self
    }

    /// Twice the smaller share of draws on one side of zero, at most 1; no less than the resamples of the prompts can tell.
    pub fn p_value(&self) -> f64 {
        let n = self.draws.len() as f64 + 1.0;
        let beyond = |test: fn(&f64) -> bool| (self.draws.iter().filter(|d| test(d)).count() as f64 + 1.0) / n;
        let p_value = 2.0 * beyond(|d| *d <= 0.0).min(beyond(|d| *d >= 0.0));
        p_value.max(least_p_value(self.resamples)).min(1.0)
    }

    /// The interval that leaves out `level` of the draws, half at either end.
    pub fn interval(&self, level: f64) -> Option<(f64, f64)> {
        quantiles(&self.draws, level)
    }
}

/// The least that so many resamples of prompts can tell from 0: twice the share of one beyond them.
fn least_p_value(resamples: usize) -> f64 {
    2.0 / (resamples as f64 + 1.0)
}

/// Whether so many resamples of prompts can tell one of `m` differences from none at [`LEVEL`].
pub fn enough(resamples: usize, m: usize) -> bool {
    least_p_value(resamples) <= LEVEL / m as f64
}

/// What Holm's procedure says of one of several differences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Interval at the level that the procedure allows it.
    pub interval: Option<(f64, f64)>,
    /// Whether that interval, and those of all stronger differences, exclude zero, and all pairs of seeds agree in sign.
    pub real: bool,
}

/// Holm's step-down procedure at [`LEVEL`]: the difference with the `i`-th smallest p-value of `m` (from 0) is held to
/// `LEVEL / (m - i)`, and the first that fails ends it.
pub fn holm(differences: &[Difference]) -> Vec<Verdict> {
    let m = differences.len();
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&a, &b| differences[a].p_value().total_cmp(&differences[b].p_value()));
    let nothing = Verdict {
        interval: None,
        real: false,
    };
    let mut verdicts = vec![nothing; m];
    let mut open = true;
    for (rank, place) in order.into_iter().enumerate() {
        let difference = &differences[place];
        let level = LEVEL / (m - rank) as f64;
        let interval = difference.interval(level);
        // The p-value knows how many draws there are: few of them cannot speak for a strict level, whatever their range.
        open &= difference.p_value() <= level && interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0);
        verdicts[place] = Verdict {
            interval,
            real: open && difference.seeds_agree,
        };
    }
    verdicts
}

/// Kendall's tau-b of two lists of scores: 1 for the same ranking, -1 for the reverse. `None` where a list is constant.
pub fn kendall_tau(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mut sum, mut untied) = (0.0, [0.0_f64; 2]);
    for i in 0..a.len().min(b.len()) {
        for j in 0..i {
            let sign = |x: f64| if x == 0.0 { 0.0 } else { x.signum() };
            let signs = [sign(a[i] - a[j]), sign(b[i] - b[j])];
            sum += signs[0] * signs[1];
            untied.iter_mut().zip(signs).for_each(|(n, sign)| *n += sign.abs());
        }
    }
    let scale = (untied[0] * untied[1]).sqrt();
    (scale > 0.0).then(|| sum / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    /// A family of seeds: value of each, and its resamples by shifting `noise`.
    fn family<'a>(resamples: &'a [Vec<f32>], values: &[f64]) -> Vec<Measured<'a>> {
        let of = |(resampled, value): (&'a Vec<f32>, &f64)| {
            Measured::from([("site".to_owned(), (*value, resampled.as_slice()))])
        };
        resamples.iter().zip(values).map(of).collect()
    }

    /// `values` as the means of prompts that all dictionaries share.
    fn resampled(values: &[f64]) -> Vec<Vec<f32>> {
        let noise = kernels::random::normal(&mut kernels::random::rng(4, "noise"), 2000, 0.05);
        let shifted = |value: &f64| noise.iter().map(|x| x + *value as f32).collect();
        values.iter().map(shifted).collect()
    }

    #[test]
    fn a_difference_within_the_spread_of_seeds_is_not_real() {
        let (a, b) = ([0.5, 0.7, 0.9], [0.4, 0.65, 0.8]);
        let (ra, rb) = (resampled(&a), resampled(&b));
        let within = difference(&family(&ra, &a), &family(&rb, &b), false, 0).unwrap();
        // In pairs of prompts alone the difference would look sure: every draw shifts all values alike.
        assert!(!within.seeds_agree);
        let (low, high) = within.interval(LEVEL).unwrap();
        assert!(low < 0.0 && high > 0.0, "{low} {high}");
        let (c, d) = ([0.90, 0.91, 0.92], [0.5, 0.52, 0.51]);
        let (rc, rd) = (resampled(&c), resampled(&d));
        let beyond = difference(&family(&rc, &c), &family(&rd, &d), false, 0).unwrap();
        assert!(beyond.seeds_agree && (beyond.value() - 0.4).abs() < 1e-9);
        let verdicts = holm(&[within, beyond]);
        assert_eq!(verdicts.map_real(), [false, true]);
    }

    trait Reals {
        fn map_real(&self) -> Vec<bool>;
    }

    impl Reals for Vec<Verdict> {
        fn map_real(&self) -> Vec<bool> {
            self.iter().map(|verdict| verdict.real).collect()
        }
    }

    #[test]
    fn holm_holds_many_tests_to_stricter_levels() {
        // A difference whose draws are above zero in 98.5 %: real alone, not among four of its like.
        let draws: Vec<f64> = (0..2000).map(|i| if i < 20 { -0.1 } else { 0.1 }).collect();
        let one = Difference {
            values: [0.1, 0.0],
            draws,
            resamples: 2000,
            seeds_agree: true,
            places: 1,
        };
        assert_eq!(holm(std::slice::from_ref(&one)).map_real(), [true]);
        assert_eq!(holm(&vec![one.clone(); 4]).map_real(), [false; 4]);
        // However sure, one of more than fifty is not told by 2,000 resamples.
        let sure = Difference {
            draws: vec![0.1; 2000],
            ..one
        };
        for (m, real) in [(50, true), (51, false)] {
            assert_eq!((enough(2000, m), holm(&vec![sure.clone(); m])[0].real), (real, real));
        }
    }

    #[test]
    fn false_alarms_are_as_rare_as_the_level_says() {
        // Families from one distribution whose seeds differ much more than their prompts; a side without seeds is the mean of
        // that distribution. 5 % of 400 are 20, with a standard deviation of 4.4.
        let mut counts = Vec::new();
        for (left, right) in [(3, 3), (3, 0), (5, 0), (5, 3)] {
            let alarms = (0..400_u64).filter(|&trial| {
                let mut draws = kernels::random::normal(&mut kernels::random::rng(trial, "alarm"), left + right, 1.0);
                if right == 0 {
                    draws.push(0.0);
                }
                let values: Vec<f64> = draws.iter().map(|x| f64::from(*x)).collect();
                let all = resampled(&values);
                let (l, r) = (
                    family(&all[..left], &values[..left]),
                    family(&all[left..], &values[left..]),
                );
                holm(&[difference(&l, &r, false, trial).unwrap()])[0].real
            });
            counts.push(alarms.count());
        }
        assert!(counts.iter().all(|&alarms| alarms <= 33), "{counts:?}");
        // Nor does it cover everything.
        assert!(counts[1] >= 7 && counts[2] >= 7, "{counts:?}");
    }

    /// Seeds whose edits nearly all work at most seeds and hardly at a few: intervals of three and of ten cover the mean of all.
    #[test]
    fn intervals_of_shares_cover_what_few_seeds_do() {
        for (often, low, seeds) in [(0.8, 0.3, 3), (0.5, 0.1, 3), (0.9, 0.5, 3), (0.8, 0.3, 10)] {
            let expected = often * 0.98 + (1.0 - often) * low;
            let covered = (0..400_u64).filter(|&trial| {
                let mut rng = kernels::random::rng(trial, "shares");
                let values: Vec<f64> = (0..seeds)
                    .map(|_| {
                        if rng.random_range(0.0..1.0) < often {
                            rng.random_range(0.96..1.0)
                        } else {
                            low
                        }
                    })
                    .collect();
                let all = resampled(&values);
                let found = family_mean(&family(&all, &values), true, trial).unwrap();
                let (from, to) = found.interval(LEVEL).unwrap();
                (from..=to).contains(&expected)
            });
            let share = covered.count() as f64 / 400.0;
            assert!(share >= 0.92, "{often} {low} {seeds}: {share}");
        }
    }

    #[test]
    fn draws_of_t_have_its_quantiles() {
        // The 97.5 % quantiles of t with 2 and 4 degrees of freedom are 4.303 and 2.776.
        for (degrees, quantile) in [(2, 4.303), (4, 2.776)] {
            let draws = student_t(degrees, 20_000, &mut kernels::random::rng(3, "t"));
            let beyond = draws.iter().filter(|t| t.abs() > quantile);
            let share = beyond.count() as f64 / 20_000.0;
            assert!((share - 0.05).abs() < 0.006, "{degrees}: {share}");
        }
    }

    #[test]
    fn tau_counts_pairs() {
        assert_eq!(kendall_tau(&[1.0, 2.0, 3.0], &[0.1, 0.2, 0.3]), Some(1.0));
        assert_eq!(kendall_tau(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));
        assert_eq!(kendall_tau(&[1.0, 1.0], &[3.0, 2.0]), None);
        let tau = kendall_tau(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 4.0, 3.0]).unwrap();
        assert!((tau - 4.0 / 6.0).abs() < 1e-12);
    }
}
