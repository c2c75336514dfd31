//! Which differences between dictionaries are real: intervals over seeds and prompts; Holm's correction; stability of the ranking.
//!
//! A family is what dictionaries share that differ by their seed only. An interval of the difference of two families is about the means over
//! all seeds that there could be, and about all prompts. It has two parts.
//!
//! * **Prompts**: the percentile interval of the paired bootstrap, in which resample `r` shows the same prompts to both families.
//! * **Seeds**: Student's t times the standard error of the mean over seeds. Every site has a dictionary of its own, so the sites of one
//!   seed are as independent as the seeds of one site: the variance between seeds is estimated at each site (over the mean of its
//!   attributes), the variances are added, and the degrees of freedom are those of Welch and Satterthwaite
//!   (<https://doi.org/10.2307/3002019>). Three seeds at five sites have up to ten, where three means over the sites have two.
//!
//! Where all prompts are right, all resamples are too. Of a score that has ends nothing finer is told than ln(2 / level) prompts, 3.7 of
//! them at 95 %: what happens on fewer may not have been seen (Hanley and Lippman-Hand's rule of three,
//! <https://doi.org/10.1001/jama.1983.03330370053031>).
//!
//! The two are independent, and their distances from the difference are added in squares at either end (Zou and Donner's recovery of
//! variance estimates, <https://doi.org/10.1002/sim.3095>), and no end is beyond the range of what is measured. A family of one
//! seed adds nothing, and its interval takes that seed as given. The p-value is the level whose interval just reaches zero.
//!
//! Shares of prompts that are predicted right are near 0 or 1 for most seeds and somewhere else for a few, and the best latent of a value
//! may be one that some seeds have and others lack: three seeds that agree say little of the fourth, and t between them covers too seldom.
//! To the variance between seeds of a score that has ends two seeds are added at every site that count [`UNSEEN`] of the seeds each and
//! reach the worst and the best, as Agresti and Coull add prompts (<https://doi.org/10.2307/2685469>); the mean stays that of the seeds. `saelab coverage` measures what all this comes to on real seeds.
//!
//! Many differences tested at once are held to Holm's step-down levels (<https://www.jstor.org/stable/4615733>).
//!
//! Shape legend: `R` resamples of the prompts.

use crate::bootstrap::quantiles_of_sorted;
use crate::metric::Metric;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::{BTreeMap, BTreeSet};

/// What a seed that was not seen, and reaches the worst or the best, counts for each one that was.
const UNSEEN: f64 = 0.01;

/// Seeds without which a family's spread is not known well enough to call a difference real.
pub const FEWEST_SEEDS: usize = 3;

/// Level of the whole list of tests.
pub const LEVEL: f64 = 0.05;

/// Where something is measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the site.
    pub site: String,
    /// Attribute and threshold, where there are any.
    pub of: String,
}

/// What a dictionary reaches in one metric at one place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached<'a> {
    /// The score.
    pub value: f64,
    /// The score in each resample of the prompts, `[R]`.
    pub resampled: &'a [f32],
    /// Prompts behind it.
    pub n: usize,
}

/// What one dictionary reaches in one metric, by place.
pub type Measured<'a> = BTreeMap<Place, Reached<'a>>;

/// Two families, subtracted.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Means of the two families.
    pub values: [f64; 2],
    /// The difference in each resample of the prompts, in ascending order, without those that are undefined.
    draws: Vec<f64>,
    /// Resamples of the prompts, defined or not.
    pub resamples: usize,
    /// What the seeds add; none where each family has a single one.
    seeds: Option<Spread>,
    /// What one prompt can change of the difference, where a score has ends; else 0.
    of_a_prompt: f64,
    /// The least and the most that the difference can be.
    within: (f64, f64),
    /// Whether it has the same sign for every pair of seeds.
    pub seeds_agree: bool,
    /// Places at which every seed of both families is defined.
    pub places: usize,
}

/// Variance of a mean over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    variance: f64,
    degrees: f64,
}

/// The mean of a family over its seeds and places: its difference from zero.
pub fn family_mean(family: &[Measured<'_>], metric: Metric) -> Option<Difference> {
    let resamples = family
        .iter()
        .flat_map(BTreeMap::values)
        .map(|found| found.resampled.len())
        .max()
        .unwrap_or(0);
    let zeros = vec![0.0; resamples];
    let zero: Measured<'_> = family
        .first()?
        .keys()
        .map(|place| {
            let nothing = Reached {
                value: 0.0,
                resampled: &zeros,
                n: usize::MAX,
            };
            (place.clone(), nothing)
        })
        .collect();
    let found = difference(family, &[zero], metric)?;
    Some(Difference {
        within: metric.range(),
        ..found
    })
}

/// Subtracts `right` from `left`; both hold one [`Measured`] a seed. `None` without a common place or without seeds.
pub fn difference(left: &[Measured<'_>], right: &[Measured<'_>], metric: Metric) -> Option<Difference> {
    let first = left.first()?;
    let common: Vec<&Place> = first
        .keys()
        .filter(|place| left.iter().chain(right).all(|of_seed| of_seed.contains_key(*place)))
        .collect();
    if common.is_empty() || right.is_empty() {
        return None;
    }
    let n = common.len() as f64;
    let of_seed = |measured: &Measured<'_>| common.iter().map(|place| measured[*place].value).sum::<f64>() / n;
    let sides = [left, right].map(|side| side.iter().map(of_seed).collect::<Vec<_>>());
    let values = sides
        .each_ref()
        .map(|side| side.iter().sum::<f64>() / side.len() as f64);
    let signs = sides[0]
        .iter()
        .flat_map(|l| sides[1].iter().map(move |r| (l - r).partial_cmp(&0.0)));
    let signs: Vec<_> = signs.collect();
    let [l, r] = [left, right].map(|side| resampled_mean(side, &common));
    let mut draws: Vec<f64> = l.iter().zip(&r).map(|(l, r)| l - r).collect();
    let resamples = draws.len();
    draws.retain(|difference| difference.is_finite());
    draws.sort_by(f64::total_cmp);
    let (least, most) = metric.range();
    let prompts = left
        .iter()
        .chain(right)
        .flat_map(|measured| common.iter().map(|place| measured[*place].n));
    let prompts = prompts.min().unwrap_or(0).max(1);
    let has_ends = least.is_finite() && most.is_finite();
    Some(Difference {
        of_a_prompt: if has_ends { (most - least) / prompts as f64 } else { 0.0 },
        values,
        draws,
        resamples,
        seeds: added(
            &[left, right]
                .map(|side| spread_by_site(side, &common, metric.ends()))
                .concat(),
        ),
        within: (least - most, most - least),
        seeds_agree: signs.windows(2).all(|pair| pair[0] == pair[1]) && signs[0] != Some(std::cmp::Ordering::Equal),
        places: common.len(),
    })
}

/// Mean over the seeds and places of a family in each resample of the prompts, `[R]`.
fn resampled_mean(side: &[Measured<'_>], common: &[&Place]) -> Vec<f64> {
    let parts: Vec<&[f32]> = side
        .iter()
        .flat_map(|measured| common.iter().map(|place| measured[*place].resampled))
        .collect();
    let resamples = parts.iter().map(|part| part.len()).min().unwrap_or(0);
    let mean = |r: usize| parts.iter().map(|part| f64::from(part[r])).sum::<f64>() / parts.len() as f64;
    (0..resamples).map(mean).collect() // [R]
}

/// What each site adds to the variance of a family's mean over seeds, which is a mean over all of `common`; nothing of a single seed. `ends`
/// are the worst and the best that a seed can reach.
fn spread_by_site(side: &[Measured<'_>], common: &[&Place], ends: Option<(f64, f64)>) -> Vec<Spread> {
    if side.len() < 2 {
        return Vec::new();
    }
    let sites: BTreeSet<&str> = common.iter().map(|place| place.site.as_str()).collect();
    let of_site = |site: &str| {
        let here: Vec<&&Place> = common.iter().filter(|place| place.site == site).collect();
        let of_seed = |measured: &Measured<'_>| {
            let sum: f64 = here.iter().map(|place| measured[**place].value).sum();
            sum / here.len() as f64
        };
        let of_seeds: Vec<f64> = side.iter().map(of_seed).collect();
        let weight = here.len() as f64 / common.len() as f64;
        Spread {
            variance: weight.powi(2) * variance_of_mean(&of_seeds, ends),
            degrees: of_seeds.len() as f64 - 1.0,
        }
    };
    sites.into_iter().map(of_site).collect()
}

/// Variance of the mean of several seeds at one site.
fn variance_of_mean(of_seeds: &[f64], ends: Option<(f64, f64)>) -> f64 {
    let n = of_seeds.len() as f64;
    let mean = of_seeds.iter().sum::<f64>() / n;
    let squares: f64 = of_seeds.iter().map(|value| (value - mean).powi(2)).sum();
    let (unseen, weight) = ends.map_or((0.0, n), |(worst, best)| {
        let unseen = n * UNSEEN * ((mean - worst).powi(2) + (best - mean).powi(2));
        (unseen, n * (1.0 + 2.0 * UNSEEN))
    });
    (squares + unseen) / (weight - 1.0) / weight
}

/// The sum of independent variances, with Welch and Satterthwaite's degrees of freedom.
fn added(parts: &[Spread]) -> Option<Spread> {
    let variance: f64 = parts.iter().map(|part| part.variance).sum();
    let squares: f64 = parts.iter().map(|part| part.variance.powi(2) / part.degrees).sum();
    (variance > 0.0).then(|| Spread {
        variance,
        degrees: variance.powi(2) / squares,
    })
}

impl Spread {
    /// Half the interval that leaves out `level`.
    #[expect(clippy::expect_used, reason = "degrees are at least 1: there are two seeds")]
    fn half(&self, level: f64) -> f64 {
        let t = StudentsT::new(0.0, 1.0, self.degrees).expect("degrees of freedom are positive");
        t.inverse_cdf(1.0 - level / 2.0) * self.variance.sqrt()
    }
}

impl Difference {
    /// Mean difference.
    pub fn value(&self) -> f64 {
        self.values[0] - self.values[1]
    }

    /// Whether the families are the same to the last digit in every resample.
    pub fn is_nothing(&self) -> bool {
        self.value() == 0.0 && self.draws.iter().all(|draw| *draw == 0.0)
    }

    /// The other way round.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.values.reverse();
        self.draws.reverse();
        self.draws.iter_mut().for_each(|draw| *draw = -*draw);
        self.within = (-self.within.1, -self.within.0);
        self
    }

    /// The least level whose interval excludes zero, at most 1; no less than the resamples of the prompts can tell.
    pub fn p_value(&self) -> f64 {
        let (mut low, mut high) = (least_p_value(self.resamples).min(1.0), 1.0);
        if !self.excludes_zero(high) {
            return 1.0;
        }
        if self.excludes_zero(low) {
            return low;
        }
        // An interval lies within that of any smaller level.
        while high - low > 1e-6 {
            let middle = f64::midpoint(low, high);
            match self.excludes_zero(middle) {
                true => high = middle,
                false => low = middle,
            }
        }
        high
    }

    fn excludes_zero(&self, level: f64) -> bool {
        self.interval(level).is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }

    /// The interval that leaves out `level`, half of it at either end; `None` without resamples.
    pub fn interval(&self, level: f64) -> Option<(f64, f64)> {
        let (low, high) = quantiles_of_sorted(&self.draws, level)?;
        let (value, half) = (self.value(), self.seeds.map_or(0.0, |seeds| seeds.half(level)));
        // Nothing is known of what happens on fewer than so many of `n` prompts: (1 - x)^n = level / 2 at x = ln(2 / level) / n.
        let unseen = (2.0 / level).ln() * self.of_a_prompt;
        let below = (value - low).max(unseen).hypot(half);
        let above = (high - value).max(unseen).hypot(half);
        Some((self.inside(value - below), self.inside(value + above)))
    }

    fn inside(&self, end: f64) -> f64 {
        end.clamp(self.within.0, self.within.1)
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
    let p_values: Vec<f64> = differences.iter().map(Difference::p_value).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let nothing = Verdict {
        interval: None,
        real: false,
    };
    let mut verdicts = vec![nothing; m];
    let mut open = true;
    for (rank, place) in order.into_iter().enumerate() {
        let difference = &differences[place];
        let level = LEVEL / (m - rank) as f64;
        // The p-value knows how many resamples there are: few of them cannot speak for a strict level, whatever their range.
        open &= p_values[place] <= level && difference.excludes_zero(level);
        verdicts[place] = Verdict {
            interval: difference.interval(level),
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
    use kernels::random::ChaCha8Rng;
    use rand::RngExt;

    fn place(site: usize, of: &str) -> Place {
        Place {
            site: format!("site {site}"),
            of: of.to_owned(),
        }
    }

    fn reached(value: f64, resampled: &[f32]) -> Reached<'_> {
        Reached {
            value,
            resampled,
            n: 1000,
        }
    }

    /// A family of seeds at one site: value of each, and its resamples.
    fn family<'a>(resamples: &'a [Vec<f32>], values: &[f64]) -> Vec<Measured<'a>> {
        let of =
            |(resampled, value): (&'a Vec<f32>, &f64)| Measured::from([(place(0, ""), reached(*value, resampled))]);
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
        let within = difference(&family(&ra, &a), &family(&rb, &b), Metric::Sufficiency).unwrap();
        // In pairs of prompts alone the difference would look sure: every draw shifts all values alike.
        assert!(!within.seeds_agree);
        let (low, high) = within.interval(LEVEL).unwrap();
        assert!(low < 0.0 && high > 0.0, "{low} {high}");
        let (c, d) = ([0.90, 0.91, 0.92], [0.5, 0.52, 0.51]);
        let (rc, rd) = (resampled(&c), resampled(&d));
        let beyond = difference(&family(&rc, &c), &family(&rd, &d), Metric::Sufficiency).unwrap();
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
            seeds: None,
            of_a_prompt: 0.0,
            within: (-1.0, 1.0),
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
                holm(&[difference(&l, &r, Metric::Sufficiency).unwrap()])[0].real
            });
            counts.push(alarms.count());
        }
        assert!(counts.iter().all(|&alarms| alarms <= 33), "{counts:?}");
        // Nor does it cover everything.
        assert!(counts[1] >= 7 && counts[2] >= 7, "{counts:?}");
    }

    /// What a seed's edits reach: nearly everything `often`, about `low` else.
    fn edited(often: f64, low: f64, rng: &mut ChaCha8Rng) -> f64 {
        match rng.random_range(0.0..1.0) < often {
            true => rng.random_range(0.96..1.0),
            false => low + rng.random_range(-0.03..0.03),
        }
    }

    /// Of 400 families of so many seeds and sites: how many intervals hold the mean of all seeds, and their mean width.
    fn covered(often: f64, low: f64, seeds: usize, sites: usize) -> (f64, f64) {
        let expected = often * 0.98 + (1.0 - often) * low;
        let (mut covered, mut width) = (0, 0.0);
        for trial in 0..400 {
            let mut rng = kernels::random::rng(trial, "shares");
            let values: Vec<Vec<f64>> = (0..seeds)
                .map(|_| (0..sites).map(|_| edited(often, low, &mut rng)).collect())
                .collect();
            let resamples: Vec<Vec<f32>> = values.iter().flatten().map(|value| vec![*value as f32; 10]).collect();
            let of_seed = |seed: usize| -> Measured<'_> {
                let at = |site: usize| reached(values[seed][site], &resamples[seed * sites + site]);
                (0..sites).map(|site| (place(site, ""), at(site))).collect()
            };
            let family: Vec<Measured<'_>> = (0..seeds).map(of_seed).collect();
            let (from, to) = family_mean(&family, Metric::EditAccuracy)
                .unwrap()
                .interval(LEVEL)
                .unwrap();
            assert!(from >= 0.0 && to <= 1.0, "{from} {to}");
            covered += usize::from((from..=to).contains(&expected));
            width += (to - from) / 400.0;
        }
        (covered as f64 / 400.0, width)
    }

    #[test]
    fn three_seeds_that_agree_do_not_speak_for_all() {
        // A latent that six of ten seeds have: F1 0.95 or 0.4. All three seeds are alike in more than a quarter of the draws.
        let resamples = vec![vec![0.95_f32; 500]; 3];
        for metric in [Metric::F1, Metric::Mcc, Metric::EditAccuracy] {
            let alike = family_mean(&family(&resamples, &[0.95; 3]), metric).unwrap();
            let (low, high) = alike.interval(LEVEL).unwrap();
            assert!(low < 0.73 && low > 0.5 && high == 1.0, "{metric}: {low} {high}");
        }
        let unbounded = family_mean(&family(&resamples, &[0.95; 3]), Metric::Necessity).unwrap();
        let (low, high) = unbounded.interval(LEVEL).unwrap();
        assert!((low - 0.95).abs() < 1e-6 && (high - 0.95).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn intervals_of_shares_cover_what_few_seeds_do() {
        for (often, low) in [(0.9, 0.5), (0.8, 0.6), (0.8, 0.3), (0.95, 0.5)] {
            for (seeds, sites) in [(3, 1), (3, 5), (10, 5)] {
                let (share, width) = covered(often, low, seeds, sites);
                assert!(
                    share >= 0.92,
                    "{often} {low}, {seeds} seeds at {sites} sites: {share}, width {width}"
                );
            }
        }
        // Five sites know more than one: three means of five, each t with two degrees, would have 0.26 here.
        let (_, width) = covered(0.9, 0.5, 3, 5);
        assert!(width < 0.2, "{width}");
    }

    #[test]
    fn sites_are_seeds_of_their_own_and_attributes_are_not() {
        // Two sites with the same variance between three seeds: twice the degrees of one. Welch and Satterthwaite by hand.
        let values = [[0.1, 0.4], [0.2, 0.2], [0.3, 0.3]];
        let none = [0.0_f32; 4];
        let of = |places: [Place; 2]| -> Vec<Measured<'_>> {
            let of_seed = |of_seed: &[f64; 2]| {
                let at = |(place, value): (&Place, &f64)| (place.clone(), reached(*value, &none));
                places.iter().zip(of_seed).map(at).collect()
            };
            values.iter().map(of_seed).collect()
        };
        let spread = |family: &[Measured<'_>]| {
            let common: Vec<&Place> = family[0].keys().collect();
            added(&spread_by_site(family, &common, None)).unwrap()
        };
        let two = spread(&of([place(0, ""), place(1, "")]));
        assert!(
            (two.variance - 2.0 * 0.01 / 3.0 / 4.0).abs() < 1e-12 && (two.degrees - 4.0).abs() < 1e-9,
            "{two:?}"
        );
        // One site with two attributes: the means of the seeds are 0.25, 0.2 and 0.3.
        let one = spread(&of([place(0, "IO"), place(0, "Pos")]));
        assert!(
            (one.variance - 0.0025 / 3.0).abs() < 1e-12 && one.degrees == 2.0,
            "{one:?}"
        );
        // The 97.5 % quantile of t with two degrees is 4.303.
        assert!((one.half(LEVEL) - 4.302_653 * one.variance.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn the_p_value_is_the_level_whose_interval_reaches_zero() {
        let values = [0.3, 0.5, 0.4];
        let all = resampled(&values);
        let found = family_mean(&family(&all, &values), Metric::Sufficiency).unwrap();
        let p_value = found.p_value();
        assert!(p_value > 0.001 && p_value < 0.05, "{p_value}");
        assert!(found.excludes_zero(p_value + 1e-3) && !found.excludes_zero(p_value - 2e-3));
        let back = found.clone().reversed();
        assert!((back.p_value() - p_value).abs() < 1e-3);
        assert_eq!(back.interval(0.2).map(|(low, high)| (-high, -low)), found.interval(0.2));
    }

    #[test]
    fn no_interval_leaves_the_range() {
        let (a, b) = ([1.0, 0.6, 0.9], [0.0, 0.1, 0.5]);
        let (ra, rb) = (resampled(&a), resampled(&b));
        let found = difference(&family(&ra, &a), &family(&rb, &b), Metric::F1).unwrap();
        let (low, high) = found.interval(1e-4).unwrap();
        assert_eq!((low, high), (-1.0, 1.0));
        let mean = family_mean(&family(&ra, &a), Metric::Mcc).unwrap();
        assert_eq!(mean.interval(1e-4), Some((-1.0, 1.0)));
        assert_eq!(mean.interval(1e-4), mean.clone().interval(1e-5));
    }

    #[test]
    fn where_all_prompts_are_right_an_interval_has_a_width() {
        let all = vec![vec![1.0_f32; 500]];
        let found = family_mean(&family(&all, &[1.0]), Metric::F1).unwrap();
        // One of 500 other prompts is wrong: of 1,000 prompts 3.7 may be.
        let (low, high) = found.interval(LEVEL).unwrap();
        assert!(
            (low - (1.0 - 40.0_f64.ln() / 1000.0)).abs() < 1e-9 && high == 1.0,
            "{low} {high}"
        );
        let found = family_mean(&family(&all, &[1.0]), Metric::Sufficiency).unwrap();
        assert_eq!(found.interval(LEVEL), Some((1.0, 1.0)));
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
