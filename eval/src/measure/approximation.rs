//! Sufficiency, necessity and the number of active latents at one site (Makelov, Lange, Nanda ([arXiv
//! 2405.08366](https://arxiv.org/abs/2405.08366)), section 4.1; formulas in [`crate::approximation`]).
//!
//! Shape legend: `N` prompts, `R` resamples.

use super::{Coded, Evaluation, per_prompt};
use crate::Error;
use crate::approximation::{ablated, necessity, sufficiency, without};
use crate::bootstrap::paired;
use crate::dictionaries::DictionarySet;
use crate::interventions::mean;
use crate::ledger::Key;
use crate::report::{MEAN_ABLATION, Metric};
use crate::site::Site;

impl Evaluation<'_> {
    /// Sufficiency, necessity and L0.
    pub(super) fn approximation(&mut self, site: &Site, coded: &[(&DictionarySet, Vec<Coded>)]) -> Result<(), Error> {
        let (n, floor) = (self.clean.prompts.len(), self.config.min_denominator);
        let means: Vec<_> = site
            .nodes
            .iter()
            .map(|node| (*node, ablated(&self.clean.nodes[node])))
            .collect();
        let without_site = self.intervene(means)?;
        let (clean, abl) = (self.clean.outcome.mean_logit_diff(), without_site.mean_logit_diff());
        let cleans = self.bootstrap.means(&self.clean.outcome.logit_diff); // [R]
        let abls = self.bootstrap.means(&without_site.logit_diff); // [R]
        let key = |dictionary, metric| Key {
            dictionary,
            site: &site.name,
            attribute: None,
            metric,
            k: None,
        };

        let ratios = paired(&cleans, &abls, |clean, abl| sufficiency(clean, abl, floor));
        let raw = [("ld_clean", clean), ("ld_intervened", abl)];
        self.ledger.enter(
            &key(MEAN_ABLATION, Metric::Sufficiency),
            sufficiency(clean, abl, floor),
            ratios,
            n,
            &raw,
        );
        for (set, coded) in coded {
            let with = self.intervene(coded.iter().map(|part| (part.node, part.rebuilt.clone())))?;
            let int = with.mean_logit_diff();
            let ratios = paired(&cleans, &self.bootstrap.means(&with.logit_diff), |clean, int| {
                sufficiency(clean, int, floor)
            });
            let raw = [("ld_clean", clean), ("ld_intervened", int)];
            let value = sufficiency(clean, int, floor);
            self.ledger
                .enter(&key(&set.name, Metric::Sufficiency), value, ratios, n, &raw);

            let left: Vec<_> = coded
                .iter()
                .map(|part| (part.node, without(&self.clean.nodes[&part.node], &part.rebuilt)))
                .collect();
            let without_dictionary = self.intervene(left)?;
            let int = without_dictionary.mean_logit_diff();
            let ints = self.bootstrap.means(&without_dictionary.logit_diff); // [R]
            let triples = cleans.iter().zip(&abls).zip(&ints);
            let ratios = triples
                .map(|((&c, &a), &i)| necessity(c, a, i, floor).unwrap_or(f64::NAN))
                .collect();
            let raw = [("ld_clean", clean), ("ld_ablated", abl), ("ld_intervened", int)];
            let value = necessity(clean, abl, int, floor);
            self.ledger
                .enter(&key(&set.name, Metric::Necessity), value, ratios, n, &raw);

            let active = per_prompt(
                coded
                    .iter()
                    .map(|part| part.codes.rows.iter().map(|row| row.len() as f32).collect()),
            );
            let raw = [("nodes", coded.len() as f64)];
            self.ledger.enter(
                &key(&set.name, Metric::L0),
                Some(mean(&active)),
                self.bootstrap.means(&active),
                n,
                &raw,
            );
        }
        Ok(())
    }
}
