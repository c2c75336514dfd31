//! Occlusion and over-splitting of a dictionary at one site, as scores with a verdict (methods in [`crate::phenomena`]).
//!
//! Occlusion is judged between the two attributes whose removal, with the reference dictionary, changes the logit difference
//! most. A finished dictionary is its own only checkpoint, so `late` cannot be told from `occludes` here.
//!
//! Shape legend: `N` prompts.

use super::ground::Ground;
use super::{Evaluation, Unit};
use crate::Error;
use crate::dictionaries::{Codes, DictionarySet};
use crate::ledger::Key;
use crate::metric::Metric;
use crate::phenomena::occlusion::{self, Carried, THETA, Verdict};
use crate::phenomena::splitting::{self, Question};
use crate::site::Site;
use std::collections::BTreeMap;
use tasks::Attribute;

/// Permutations behind the chance that two seeds split alike: the 99th percentile is the largest but one.
const PERMUTATIONS: usize = 100;

impl Evaluation<'_> {
    /// Both checks.
    pub(super) fn phenomena(&mut self, unit: &Unit<'_>, ground: &Ground) -> Result<(), Error> {
        let codes = unit.sample.as_slice();
        let n = self.sample.labels.len();
        let key = |metric| Key::new(&unit.set.name, &unit.site.name, metric);

        let mut carried: Vec<_> = ground.effects.iter().collect();
        carried.sort_by(|a, b| b.1.change.abs().total_cmp(&a.1.change.abs()));
        if let [first, second, ..] = carried[..] {
            let values = [first, second].map(|(attribute, _)| self.sample.values(*attribute));
            let of = |(attribute, effect): (&Attribute, &super::ground::Effect), values| Carried {
                attribute: *attribute,
                values,
                n_values: self.task.n_values(*attribute),
                effect: effect.change,
                norm: Some(effect.norm),
            };
            let pair = [of(first, &values[0]), of(second, &values[1])];
            let found = occlusion::check(&[codes], pair, THETA, &self.bootstrap_sample)?;
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
                .enter_verdict(&key, &found.verdict, value, resampled, n, &raw);
        }

        let found = splitting::check(codes, self.question())?;
        let recall = found.by_value.iter().map(|of| of.union_recall).sum::<f64>() / found.by_value.len().max(1) as f64;
        let raw = [
            ("fragments", found.fragments as f64),
            ("jaccard", found.jaccard.unwrap_or(f64::NAN)),
            ("union_recall", recall),
        ];
        let key = key(Metric::OverSplitting);
        self.ledger
            .enter_verdict(&key, &found.verdict, found.score, Vec::new(), n, &raw);
        Ok(())
    }

    fn question(&self) -> Question<'_> {
        Question {
            labels: &self.sample.labels,
            n_values: self.task.sizes(),
            attribute: self.task.binary_attribute(),
        }
    }

    /// Whether the seeds of a family split alike (P2): each against the first.
    pub(super) fn agreements(&mut self, site: &Site, sets: &[DictionarySet]) -> Result<(), Error> {
        let n = self.sample.labels.len();
        let mut firsts: BTreeMap<&str, Vec<Codes>> = BTreeMap::new();
        for set in sets.iter().filter(|set| set.seeded && set.covers(site)) {
            let codes = self.sample_codes(site, set);
            let Some(first) = firsts.get(set.family.as_str()) else {
                firsts.insert(&set.family, codes);
                continue;
            };
            let found = splitting::agreement(first, &codes, self.question(), PERMUTATIONS, self.config.seed)?;
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
            let key = Key::new(&set.name, &site.name, Metric::SplittingAgreement);
            self.ledger
                .enter_verdict(&key, &verdict, found.jaccard, Vec::new(), n, &raw);
        }
        Ok(())
    }
}
