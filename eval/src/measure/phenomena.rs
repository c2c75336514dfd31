//! Occlusion and over-splitting of a dictionary at one site, as scores with a verdict (methods in [`crate::phenomena`]).
//!
//! Occlusion is judged between the two attributes of as many values whose removal, with the reference dictionary, changes the
//! logit difference most: a latent that is always on has an F1 of 2/3 for a value that half of the prompts hold, and of next to
//! nothing for one of a hundred names. Where it reaches the F1 that counts as covered nothing is judged. A finished dictionary is
//! its own only checkpoint, so `late` cannot be told from `occludes` here.
//!
//! Both are judged only where the attribute is edited: of occlusion the strong one, of over-splitting the one that may be split. What a
//! dictionary of random directions gets on the same activations says whether a verdict is about the dictionary.
//!
//! Shape legend: `N` prompts.

use super::ground::Ground;
use super::{Evaluation, Unit, largest_share};
use crate::Error;
use crate::agreement::Agreement;
use crate::dictionary_set::DictionarySet;
use crate::ledger::Key;
use crate::metric::Metric;
use crate::phenomena::occlusion::{self, Carried, THETA, Verdict};
use crate::phenomena::splitting::{self, Question};
use causal::site::Site;
use dictionaries::Codes;
use std::collections::BTreeMap;
use std::fmt::Display;
use tasks::Attribute;

/// Permutations behind the chance that two seeds split alike: the 99th percentile is the largest but one.
const PERMUTATIONS: usize = 100;

impl Evaluation<'_> {
    /// Both checks.
    pub(super) fn phenomena(&mut self, unit: &Unit<'_>, ground: &Ground) -> Result<(), Error> {
        let codes = unit.sample.as_slice();
        let n = self.samples.sample.labels.len();
        let key = |metric| Key::new(&unit.set.name, &unit.site.name, metric);

        let mut carried: Vec<_> = ground.effects.iter().collect();
        carried.sort_by(|a, b| b.1.change.abs().total_cmp(&a.1.change.abs()));
        let n_values = |attribute: &Attribute| self.task.n_values(*attribute);
        let pairs = (0..carried.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        let mut comparable = pairs.map(|(i, j)| [carried[i], carried[j]]);
        let always_on = |attribute: &Attribute| always_on(&self.samples.sample.values(*attribute), n_values(attribute));
        let judged = |[a, b]: &[(&Attribute, _); 2]| {
            n_values(a.0) == n_values(b.0) && always_on(a.0) < THETA && always_on(b.0) < THETA
        };
        if let Some([first, second]) = comparable.find(judged) {
            let values = [first, second].map(|(attribute, _)| self.samples.sample.values(*attribute));
            let of = |(attribute, effect): (&Attribute, &super::ground::Effect), values| Carried {
                attribute: *attribute,
                values,
                n_values: n_values(attribute),
                effect: effect.change,
                norm: Some(effect.norm),
            };
            let pair = [of(first, &values[0]), of(second, &values[1])];
            let check = |thresholds: &_| occlusion::check(&[codes], pair, thresholds, &self.bootstrap_sample);
            let found = check(&occlusion::Thresholds::default())?;
            if !unit.site.attributes.contains(&found.strong) {
                return self.splitting(unit);
            }
            let mut sensitivity = BTreeMap::new();
            if found.verdict != Verdict::NotApplicable {
                for (changed, thresholds) in occlusion::Thresholds::variations() {
                    note(&mut sensitivity, changed, &check(&thresholds)?.verdict, &found.verdict);
                }
            }
            let names = [format!("strong {}", found.strong), format!("weak {}", found.weak)];
            let coverage = |value: Option<f64>| value.unwrap_or(f64::NAN);
            let end = found.coverages.last();
            let raw = [
                (names[0].as_str(), coverage(end.and_then(|end| end.strong))),
                (names[1].as_str(), coverage(end.and_then(|end| end.weak))),
                ("effect_first", first.1.change),
                ("effect_second", second.1.change),
            ];
            // Where there is nothing to judge the index is no score; coverages stand beside it.
            let judged = !matches!(found.verdict, Verdict::NotApplicable | Verdict::Undefined);
            let (value, resampled) = match judged {
                true => (found.end.value, found.end.resampled),
                false => (None, Vec::new()),
            };
            let key = key(Metric::Occlusion);
            self.ledger
                .enter_verdict(&key, &found.verdict, sensitivity, value, resampled, n, &raw);
        }
        self.splitting(unit)
    }

    /// Over-splitting, where its attribute is edited.
    fn splitting(&mut self, unit: &Unit<'_>) -> Result<(), Error> {
        let (codes, n) = (unit.sample.as_slice(), self.samples.sample.labels.len());
        let key = |metric| Key::new(&unit.set.name, &unit.site.name, metric);
        let edited = |question: &Question<'_>| unit.site.attributes.contains(&question.attribute);
        let Some(question) = self.question().filter(edited) else {
            return Ok(());
        };
        let found = splitting::check(codes, &question, &splitting::Thresholds::default())?;
        let mut sensitivity = BTreeMap::new();
        for (changed, thresholds) in splitting::Thresholds::variations() {
            let other = splitting::check(codes, &question, &thresholds)?;
            note(&mut sensitivity, changed, &other.verdict, &found.verdict);
        }
        let recall = found.by_value.iter().map(|of| of.union_recall).sum::<f64>() / found.by_value.len().max(1) as f64;
        let raw = [
            ("fragments", found.fragments as f64),
            ("jaccard", found.jaccard.unwrap_or(f64::NAN)),
            ("union_recall", recall),
        ];
        let key = key(Metric::OverSplitting);
        self.ledger
            .enter_verdict(&key, &found.verdict, sensitivity, found.score, Vec::new(), n, &raw);
        Ok(())
    }

    /// What is asked of over-splitting; nothing where the task has no binary attribute.
    fn question(&self) -> Option<Question<'_>> {
        Some(Question {
            labels: &self.samples.sample.labels,
            n_values: self.task.labelled(),
            attribute: self.task.binary_attribute()?,
        })
    }

    /// Whether the seeds of a family split alike (P2), each against the first; and whether families do that the config pairs
    /// (P3), the first seed of one against each of the other.
    pub(super) fn agreements(&mut self, site: &Site, sets: &[DictionarySet]) -> Result<(), Error> {
        let config = self.config;
        if !self
            .question()
            .is_some_and(|question| site.attributes.contains(&question.attribute))
        {
            return Ok(());
        }
        let here: Vec<&DictionarySet> = sets.iter().filter(|set| set.seeded && set.covers(site)).collect();
        let paired = |family: &str| {
            config
                .split_alike
                .iter()
                .any(|pair| pair.left == family || pair.right == family)
        };
        let seeds = |family: &str| here.iter().filter(|set| set.family == family).count();
        let mut families: BTreeMap<&str, Vec<(&str, Vec<Codes>)>> = BTreeMap::new();
        // A family of one seed that is paired with none has nothing to agree with.
        for set in here.iter().filter(|set| seeds(&set.family) > 1 || paired(&set.family)) {
            let codes = self.sample_codes(site, set);
            families.entry(&set.family).or_default().push((&set.name, codes));
        }
        for members in families.values() {
            for other in members.iter().skip(1) {
                self.enter_splitting(site, Metric::SplittingAgreement, &members[0].1, other)?;
            }
        }
        for pair in &config.split_alike {
            let members = |family: &str| families.get(family).map_or(&[][..], Vec::as_slice);
            for other in members(&pair.right) {
                for first in members(&pair.left).iter().take(1) {
                    self.enter_splitting(site, Metric::SplittingAcross, &first.1, other)?;
                }
            }
        }
        Ok(())
    }

    /// Enters under the second dictionary's name whether it splits as the first does.
    fn enter_splitting(
        &mut self,
        site: &Site,
        metric: Metric,
        first: &[Codes],
        (name, codes): &(&str, Vec<Codes>),
    ) -> Result<(), Error> {
        let Some(question) = self.question() else {
            return Ok(());
        };
        let found = splitting::agreement(first, codes, &question, PERMUTATIONS, self.config.seed)?;
        let raw = [
            ("fragments_first", found.fragments[0] as f64),
            ("fragments", found.fragments[1] as f64),
            ("pairs", found.pairs as f64),
            ("chance", found.chance.unwrap_or(f64::NAN)),
        ];
        let verdict = match found.above_chance {
            Some(true) => "agrees",
            Some(false) => "by_chance",
            None => "undefined",
        };
        let (key, n) = (Key::new(name, &site.name, metric), self.samples.sample.labels.len());
        self.ledger
            .enter_verdict(&key, &verdict, BTreeMap::new(), found.jaccard, Vec::new(), n, &raw);
        Ok(())
    }
}

/// Notes what a check says with another threshold, where it is something else.
fn note<V: Display + PartialEq>(sensitivity: &mut BTreeMap<String, String>, changed: String, other: &V, verdict: &V) {
    if other != verdict {
        sensitivity.insert(changed, other.to_string());
    }
}

/// F1 of a latent that is always on, for the most frequent value.
fn always_on(values: &[usize], n_values: usize) -> f64 {
    let share = largest_share(values, n_values);
    let rows = Agreement {
        both: share,
        active: 1.0,
        holds: share,
        n: 1.0,
    };
    rows.f1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latent_that_is_always_on_covers_a_bit_and_no_name() {
        assert!((always_on(&[0, 1, 0, 1], 2) - 2.0 / 3.0).abs() < 1e-12);
        assert!(always_on(&[0, 1, 0, 1], 2) >= THETA);
        let names: Vec<usize> = (0..1000).map(|i| i % 100).collect();
        assert!(always_on(&names, 100) < 0.02);
    }
}
