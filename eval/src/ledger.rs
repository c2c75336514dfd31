//! Scores together with their resamples, so that any two can be compared in pairs afterwards.
//!
//! Every number of the report comes through here: value, 95 % bootstrap interval and the raw means behind it
//! (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366), report ratios only; raw means show
//! where a small denominator makes a ratio meaningless). Numbers are rounded to six significant digits, which makes
//! their printed form stable.
//!
//! Shape legend: `R` resamples.

use crate::best_latent::BestLatent;
use crate::bootstrap::{interval, wilson};
use crate::config::Compare;
use crate::metric::{EditMethod, Metric};
use crate::report::{Comparison, DictionaryFacts, FamilyMean, Score};
use crate::statistics::{self, Difference, FEWEST_SEEDS, LEVEL, Measured, Place, Reached, holm};
use artifacts::rounded;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use tasks::Attribute;

/// Prompts below which a number has no interval.
pub const FEWEST: usize = 20;

/// What a number is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key<'a> {
    /// Name of the dictionary set or baseline.
    pub dictionary: &'a str,
    /// Name of the site.
    pub site: &'a str,
    /// The attribute that is edited or described.
    pub attribute: Option<Attribute>,
    /// What is measured.
    pub metric: Metric,
    /// How the latents of an edit were found.
    pub method: Option<EditMethod>,
    /// Number of latents an edit may exchange.
    pub k: Option<usize>,
    /// From where on a latent counts as interpreted.
    pub threshold: Option<f64>,
}

impl<'a> Key<'a> {
    /// A number about a site, of no attribute, edit or threshold.
    pub fn new(dictionary: &'a str, site: &'a str, metric: Metric) -> Self {
        Self {
            dictionary,
            site,
            attribute: None,
            metric,
            method: None,
            k: None,
            threshold: None,
        }
    }

    /// The same about an attribute.
    pub fn of(self, attribute: Attribute) -> Self {
        Self {
            attribute: Some(attribute),
            ..self
        }
    }

    /// The same about an edit.
    pub fn by(self, method: EditMethod, k: Option<usize>) -> Self {
        Self {
            method: Some(method),
            k,
            ..self
        }
    }

    /// The same at a threshold.
    pub fn at(self, threshold: f64) -> Self {
        Self {
            threshold: Some(threshold),
            ..self
        }
    }
}

/// One score with its resamples, `[R]`, NaN where undefined; without any where a number has no interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The score.
    pub score: Score,
    /// The same number in each resample.
    pub resampled: Vec<f32>,
}

/// Which scores are compared: a metric, and for edits how they were made. Supervised edits and those of no `k` fit any.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// The metric.
    pub metric: Metric,
    /// The search of an edit.
    pub method: Option<EditMethod>,
    /// The number of latents of an edit.
    pub k: Option<usize>,
}

impl Selection {
    /// Whether a score belongs to the selection.
    pub fn takes(&self, score: &Score) -> bool {
        score.metric == self.metric
            && (score.k.is_none() || score.k == self.k)
            && (score.method.is_none_or(|method| method == EditMethod::Supervised) || score.method == self.method)
    }

    /// What each dictionary of a family reaches, by place.
    pub fn of_family<'e>(&self, entries: &'e [Entry], members: &[&str]) -> Vec<Measured<'e>> {
        let of = |name: &&str| {
            let taken = entries
                .iter()
                .filter(|entry| entry.score.dictionary == *name && self.takes(&entry.score));
            let place = |entry: &'e Entry| {
                let score = &entry.score;
                let attribute = score.attribute.map(|attribute| attribute.to_string());
                let threshold = score.threshold.map(|threshold| threshold.to_string());
                let place = Place {
                    site: score.site.clone(),
                    of: attribute.into_iter().chain(threshold).collect::<Vec<_>>().join(" "),
                };
                // What has too few prompts for an interval has none in a difference either.
                let enough = if score.n < FEWEST {
                    &[]
                } else {
                    entry.resampled.as_slice()
                };
                let reached = Reached {
                    value: score.value?,
                    resampled: enough,
                    n: score.n,
                };
                Some((place, reached))
            };
            taken.filter_map(place).collect::<Measured<'e>>()
        };
        members.iter().map(of).collect()
    }
}

/// All scores of an evaluation, in the order of measurement.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Enters one score.
    ///
    /// `value`: `None` when undefined; `resampled`: the same number in each resample, `[R]`, NaN where undefined, none at
    /// all for a number without an interval; `n`: prompts behind it; `raw`: the means behind it by name. Undefined resamples
    /// are left out of the interval, and counted in `raw`.
    pub fn enter(&mut self, key: &Key<'_>, value: Option<f64>, resampled: Vec<f64>, n: usize, raw: &[(&str, f64)]) {
        let value = value.filter(|value| value.is_finite());
        let resampled: Vec<f32> = resampled.into_iter().map(|value| value as f32).collect();
        let in_f64: Vec<f64> = resampled.iter().map(|&value| f64::from(value)).collect();
        let with_interval = value.filter(|_| n >= FEWEST && !in_f64.is_empty());
        let ends = match key.metric {
            // Where all prompts or none are right, all resamples are alike.
            Metric::EditAccuracy | Metric::EditHalf | Metric::Interchange | Metric::InterchangeRest => {
                with_interval.map(|share| wilson(share, n))
            }
            _ => with_interval.and_then(|_| interval(&in_f64)),
        };
        let undefined = in_f64.iter().filter(|value| !value.is_finite()).count();
        let undefined = (value.is_some() && undefined > 0).then_some(("resamples_undefined", undefined as f64));
        let raw = raw.iter().chain(&undefined).filter(|(_, mean)| mean.is_finite());
        let score = Score {
            dictionary: key.dictionary.to_owned(),
            site: key.site.to_owned(),
            attribute: key.attribute,
            test: key.metric.test(),
            metric: key.metric,
            method: key.method,
            k: key.k,
            threshold: key.threshold,
            verdict: None,
            sensitivity: BTreeMap::new(),
            value: value.map(rounded),
            low: ends.map(|(low, _)| rounded(low)),
            high: ends.map(|(_, high)| rounded(high)),
            n,
            raw: raw
                .map(|&(name, mean)| (name.to_owned(), rounded(mean)))
                .collect::<BTreeMap<_, _>>(),
            latents: Vec::new(),
        };
        self.entries.push(Entry { score, resampled });
    }

    /// Says of which latents the score is that was entered last.
    pub fn name_latents(&mut self, latents: Vec<BestLatent>) {
        if let Some(entry) = self.entries.last_mut() {
            entry.score.latents = latents;
        }
    }

    /// Enters the score of a check with what the check says, and what it would say with other thresholds.
    #[expect(clippy::too_many_arguments, reason = "a score and what stands beside it")]
    pub fn enter_verdict(
        &mut self,
        key: &Key<'_>,
        verdict: &impl Display,
        sensitivity: BTreeMap<String, String>,
        value: Option<f64>,
        resampled: Vec<f64>,
        n: usize,
        raw: &[(&str, f64)],
    ) {
        self.enter(key, value, resampled, n, raw);
        if let Some(entry) = self.entries.last_mut() {
            entry.score.verdict = Some(verdict.to_string());
            entry.score.sensitivity = sensitivity;
        }
    }

    /// Adds what was measured before.
    pub fn extend(&mut self, entries: Vec<Entry>) {
        self.entries.extend(entries);
    }

    /// The scores, in the order they were entered.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All of them.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The means of families subtracted from each other, over sites and attributes, with paired intervals; which are real by Holm's
    /// procedure over all of them.
    ///
    /// Takes every place at which all seeds of both are defined; resample `r` shows the same prompts to all.
    pub fn compare(&self, dictionaries: &[DictionaryFacts], pairs: &[(&Compare, Selection)]) -> Vec<Comparison> {
        let of =
            |family: &str, selection: Selection| selection.of_family(&self.entries, &members(dictionaries, family));
        let found: Vec<Option<Difference>> = pairs
            .iter()
            .map(|(pair, selection)| {
                let [left, right] = [&pair.left, &pair.right].map(|family| of(family, *selection));
                statistics::difference(&left, &right, selection.metric)
            })
            .collect();
        let defined: Vec<Difference> = found.iter().flatten().cloned().collect();
        let mut verdicts = holm(&defined).into_iter();
        let few_seeds = |family: &str| {
            let of: Vec<_> = dictionaries.iter().filter(|facts| facts.family == family).collect();
            of.len() < FEWEST_SEEDS && of.iter().any(|facts| facts.seeded)
        };
        let one = |((pair, selection), found): (&(&Compare, Selection), &Option<Difference>)| {
            let verdict = found.as_ref().and_then(|_| verdicts.next());
            let ends = found.as_ref().and_then(|found| found.interval(LEVEL));
            let at_holm = verdict.and_then(|verdict| verdict.interval);
            let too_few = few_seeds(&pair.left) || few_seeds(&pair.right);
            Comparison {
                left: pair.left.clone(),
                right: pair.right.clone(),
                metric: selection.metric,
                k: selection.k,
                left_value: found.as_ref().map(|found| rounded(found.values[0])),
                right_value: found.as_ref().map(|found| rounded(found.values[1])),
                difference: found.as_ref().map(|found| rounded(found.value())),
                low: ends.map(|(low, _)| rounded(low)),
                high: ends.map(|(_, high)| rounded(high)),
                holm_low: at_holm.map(|(low, _)| rounded(low)),
                holm_high: at_holm.map(|(_, high)| rounded(high)),
                real: verdict.is_some_and(|verdict| verdict.real) && !too_few,
                seeds_agree: found.as_ref().is_some_and(|found| found.seeds_agree),
                seeds: [&pair.left, &pair.right].map(|family| members(dictionaries, family).len()),
                pairs: found.as_ref().map_or(0, |found| found.places),
            }
        };
        pairs.iter().zip(&found).map(one).collect()
    }

    /// The mean of every family in each selection, over seeds and places, with an interval.
    pub fn means(&self, dictionaries: &[DictionaryFacts], selections: &[Selection]) -> Vec<FamilyMean> {
        let families: BTreeSet<&str> = dictionaries.iter().map(|facts| facts.family.as_str()).collect();
        let all = families
            .iter()
            .flat_map(|family| selections.iter().map(move |selection| (*family, *selection)));
        let mean = |(family, selection): (&str, Selection)| {
            let members = members(dictionaries, family);
            let measured = selection.of_family(&self.entries, &members);
            let metric = selection.metric;
            let found = statistics::family_mean(&measured, metric)?;
            let (low, high) = found.interval(LEVEL).unzip();
            Some(FamilyMean {
                family: family.to_owned(),
                metric,
                k: selection.k,
                value: rounded(found.value()),
                low: low.map(rounded),
                high: high.map(rounded),
                seeds: members.len(),
                places: found.places,
            })
        };
        all.filter_map(mean).collect()
    }
}

/// Names of the dictionaries of a family.
pub fn members<'d>(dictionaries: &'d [DictionaryFacts], family: &str) -> Vec<&'d str> {
    let of = dictionaries.iter().filter(|facts| facts.family == family);
    of.map(|facts| facts.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            for (name, value) in [("left", left), ("right", right)] {
                let key = Key::new(name, site, Metric::Sufficiency);
                ledger.enter(&key, value, vec![value.unwrap_or(f64::NAN); 10], FEWEST, &[]);
            }
        }
        // Too few prompts: the difference has no interval, however well the resamples agree.
        for (name, value) in [("few", 0.9), ("fewer", 0.5)] {
            let key = Key::new(name, "a", Metric::Sufficiency);
            ledger.enter(&key, Some(value), vec![value; 10], FEWEST - 1, &[]);
        }
        let facts = |name: &str| DictionaryFacts {
            name: name.to_owned(),
            family: name.to_owned(),
            identity: String::new(),
            folders: BTreeMap::new(),
            reads: std::collections::BTreeMap::new(),
            seeded: false,
        };
        let facts = ["left", "right", "few", "fewer"].map(facts);
        let selection = Selection {
            metric: Metric::Sufficiency,
            method: None,
            k: None,
        };
        let compare = |left: &str, right: &str| {
            let pair = Compare {
                left: left.to_owned(),
                right: right.to_owned(),
            };
            ledger.compare(&facts, &[(&pair, selection)]).remove(0)
        };
        let comparison = compare("left", "right");
        assert_eq!((comparison.pairs, comparison.difference), (2, Some(0.3)));
        assert_eq!((comparison.left_value, comparison.right_value), (Some(0.8), Some(0.5)));
        assert!((comparison.low.unwrap() - 0.3).abs() < 1e-6);
        assert_eq!(compare("left", "nobody").difference, None);
        let few = compare("few", "fewer");
        assert_eq!((few.difference, few.low, few.high), (Some(0.4), None, None));
    }
}
