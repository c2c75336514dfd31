//! What latents at one site stand for (Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)),
//! section 4.3; methods in [`crate::interpretability`] and [`crate::interpretation`]).
//!
//! Shape legend: `F` latents, `R` resamples.

use super::ground::Ground;
use super::{Evaluation, Unit};
use crate::Error;
use crate::best_latent::BestLatent;
use crate::dictionary_set::Edit;
use crate::interpretability::{Activity, Chosen, Criterion, Means, average_precision, choose};
use crate::interpretation::{Interpretation, interpret};
use crate::ledger::Key;
use crate::metric::Metric;
use dictionaries::Codes;
use std::collections::BTreeMap;
use tasks::Attribute;

impl Evaluation<'_> {
    /// Agreement with each attribute of the site, descriptions of all latents, and what interpreted latents do.
    pub(super) fn interpretability(&mut self, unit: &Unit<'_>, ground: &Ground) -> Result<(), Error> {
        let codes = unit.sample.as_slice();
        for &attribute in &unit.site.attributes {
            let (values, n_values) = (self.samples.sample.values(attribute), self.task.n_values(attribute));
            let by = |criterion| choose(codes, &values, n_values, criterion);
            let chosen = [Criterion::F1, Criterion::Mcc, Criterion::AveragePrecision].map(by);
            let activity = |chosen: &[Chosen]| Activity::of_latents(codes, &values, n_values, chosen);
            let (f1, mcc) = (activity(&chosen[0]), activity(&chosen[1]));
            let precision = average_precision(codes, &values, &chosen[2], self.bootstrap_f1.counts());
            let latents = chosen.map(|chosen| BestLatent::all(&chosen, &unit.site.nodes));
            let names = (unit.site.name.as_str(), unit.set.name.as_str());
            self.enter_agreement(names, attribute, [&f1, &mcc], precision, &latents);
        }
        let described: Vec<Vec<Option<Interpretation>>> = codes
            .iter()
            .map(|codes| interpret(codes, &self.samples.sample.labels, &self.families))
            .collect();
        self.enter_descriptions(unit, &described);
        if unit.set.edit == Edit::Greedy {
            self.causal(unit, ground, &described)?;
        }
        Ok(())
    }

    /// Enters the scores of one dictionary set or baseline against one attribute: latents chosen by F1, by correlation, and
    /// by average precision with its resamples; `latents` are those of each, in this order.
    pub(super) fn enter_agreement(
        &mut self,
        (site, dictionary): (&str, &str),
        attribute: Attribute,
        [f1, mcc]: [&Activity; 2],
        (precision, precisions): (Option<f64>, Vec<f64>),
        [of_f1, of_mcc, of_precision]: &[Vec<BestLatent>; 3],
    ) {
        type Part = fn(Means) -> f64;
        let n = f1.n_rows();
        let raw = [("predicates", f1.n_predicates() as f64)];
        let key = |metric| Key::new(dictionary, site, metric).of(attribute);
        let by_f1: [(Metric, Part); 3] = [
            (Metric::F1, |s| s.f1),
            (Metric::Precision, |s| s.precision),
            (Metric::Recall, |s| s.recall),
        ];
        let by_mcc: [(Metric, Part); 1] = [(Metric::Mcc, |s| s.mcc)];
        for (activity, metrics, latents) in [(f1, by_f1.as_slice(), of_f1), (mcc, by_mcc.as_slice(), of_mcc)] {
            let score = activity.score();
            let resampled = activity.resampled(self.bootstrap_f1.counts()); // [R]
            for (metric, get) in metrics {
                let values = resampled.iter().map(|score| score.map_or(f64::NAN, get)).collect();
                self.ledger.enter(&key(*metric), score.map(get), values, n, &raw);
                self.ledger.name_latents(latents.clone());
            }
        }
        self.ledger
            .enter(&key(Metric::AveragePrecision), precision, precisions, n, &raw);
        self.ledger.name_latents(of_precision.clone());
    }

    /// Shares of interpreted and silent latents.
    fn enter_descriptions(&mut self, unit: &Unit<'_>, described: &[Vec<Option<Interpretation>>]) {
        let codes = &unit.sample;
        let n = self.samples.sample.labels.len() / 2;
        let latents: usize = codes.iter().map(|codes| codes.n_latents).sum();
        let alive: usize = codes.iter().map(Codes::n_alive).sum();
        let key = |metric| Key::new(&unit.set.name, &unit.site.name, metric);
        let raw = [("latents", latents as f64), ("alive", alive as f64)];
        let silent = (latents > 0).then(|| 1.0 - alive as f64 / latents as f64);
        self.ledger.enter(&key(Metric::Silent), silent, Vec::new(), n, &raw);
        for (metric, count) in [(Metric::Width, latents), (Metric::Alive, alive)] {
            self.ledger.enter(&key(metric), Some(count as f64), Vec::new(), n, &raw);
        }
        let descriptions = || described.iter().flatten().flatten();
        for &threshold in &self.config.thresholds {
            type Score = fn(&Interpretation) -> f64;
            let metrics: [(Metric, Score); 2] = [(Metric::Interpreted, |d| d.f1), (Metric::InterpretedMcc, |d| d.mcc)];
            for (metric, score) in metrics {
                let mut by_family: BTreeMap<&str, f64> = BTreeMap::new();
                let interpreted = descriptions().filter(|description| score(description) >= threshold);
                interpreted.for_each(|d| *by_family.entry(self.families[d.family].name.as_str()).or_default() += 1.0);
                let share = (alive > 0).then(|| by_family.values().sum::<f64>() / alive as f64);
                let raw: Vec<(&str, f64)> = raw.into_iter().chain(by_family).collect();
                self.ledger
                    .enter(&key(metric).at(threshold), share, Vec::new(), n, &raw);
            }
        }
    }
}
