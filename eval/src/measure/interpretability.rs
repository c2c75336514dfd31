//! F1 of latents against attribute values at one site (Makelov, Lange, Nanda ([arXiv
//! 2405.08366](https://arxiv.org/abs/2405.08366)), section 4.3; method in [`crate::interpretability`]).
//!
//! Shape legend: `R` resamples.

use super::Evaluation;
use crate::dictionaries::{Codes, DictionarySet, encode};
use crate::interpretability::{Activity, F1, choose};
use crate::ledger::Key;
use crate::report::{ALWAYS_ON, Metric};
use crate::site::Site;
use tasks::Attribute;

impl Evaluation<'_> {
    /// F1, precision and recall against each attribute of the site.
    pub(super) fn interpretability(&mut self, site: &Site, sets: &[DictionarySet]) {
        let codes: Vec<(&str, Vec<Codes>)> = sets
            .iter()
            .map(|set| {
                let code = |node| {
                    encode(
                        set.by_node[node].as_ref(),
                        &self.sample.nodes[node],
                        &self.sample.labels,
                    )
                };
                (set.name.as_str(), site.nodes.iter().map(code).collect())
            })
            .collect();
        for &attribute in &site.attributes {
            let values: Vec<usize> = self
                .sample
                .labels
                .iter()
                .map(|labels| labels[attribute.index()])
                .collect();
            let n_values = self.task.n_values(attribute);
            self.enter_f1(site, attribute, ALWAYS_ON, &Activity::always_on(&values, n_values));
            for (name, codes) in &codes {
                let chosen = choose(codes, &values, n_values);
                let activity = Activity::of_latents(codes, &values, n_values, &chosen);
                self.enter_f1(site, attribute, name, &activity);
            }
        }
    }

    /// Enters the three interpretability scores of one dictionary set or baseline.
    fn enter_f1(&mut self, site: &Site, attribute: Attribute, dictionary: &str, activity: &Activity) {
        type Part = fn(F1) -> f64;
        let score = activity.score();
        let resampled = activity.resampled(self.bootstrap_f1.counts()); // [R]
        let raw = [("predicates", activity.n_predicates() as f64)];
        let metrics: [(Metric, Part); 3] = [
            (Metric::F1, |s| s.f1),
            (Metric::Precision, |s| s.precision),
            (Metric::Recall, |s| s.recall),
        ];
        for (metric, get) in metrics {
            let key = Key {
                dictionary,
                site: &site.name,
                attribute: Some(attribute),
                metric,
                k: None,
            };
            let values = resampled.iter().map(|score| score.map_or(f64::NAN, get)).collect();
            self.ledger.enter(&key, score.map(get), values, activity.n_rows(), &raw);
        }
    }
}
