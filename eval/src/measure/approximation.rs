//! Sufficiency, necessity, error and the number of active latents at one site (Makelov, Lange, Nanda ([arXiv
//! 2405.08366](https://arxiv.org/abs/2405.08366)), section 4.1; formulas in [`crate::approximation`]).
//!
//! Shape legend: `N` prompts, `R` resamples.

use causal::{ablated, without};
use dictionaries::Rows;

use super::ground::Ground;
use super::{Coded, Evaluation, Unit, per_prompt};
use crate::Error;
use crate::approximation::{necessity, sufficiency};
use crate::bootstrap::paired;
use crate::ledger::Key;
use crate::metric::Metric;
use causal::interventions::{Outcome, Want, mean};

impl Evaluation<'_> {
    /// Sufficiency, necessity, error and L0.
    pub(super) fn approximation(&mut self, unit: &Unit<'_>, ground: &Ground) -> Result<(), Error> {
        let n = self.samples.clean.prompts.len();
        let key = |metric| Key::new(&unit.set.name, &unit.site.name, metric);
        let rebuilt = unit.coded.iter().map(|part| (part.node, part.rebuilt.clone()));
        let with = self.intervene(&rebuilt.collect(), Want::Prediction)?;
        self.enter_sufficiency(&key(Metric::Sufficiency), &with, Some(ground), &[]);
        self.enter_gap(&key(Metric::SufficiencyGap));

        let left = unit
            .coded
            .iter()
            .map(|part| (part.node, without(&self.samples.clean.nodes[&part.node], &part.rebuilt)));
        let left = left.collect();
        let without_dictionary = self.intervene(&left, Want::Prediction)?;
        self.enter_necessity(&key(Metric::Necessity), &without_dictionary, ground, &[]);

        // Sums over nodes (as means), then over prompts: a ratio of totals.
        let squares = |part: &Coded, other: &Rows| -> Vec<f32> {
            let distances = self.samples.clean.nodes[&part.node].distances(other);
            distances.into_iter().map(|d| d * d).collect()
        };
        let errors = per_prompt(unit.coded.iter().map(|part| squares(part, &part.rebuilt)));
        let spreads = per_prompt(
            unit.coded
                .iter()
                .map(|part| squares(part, &ablated(&self.samples.clean.nodes[&part.node]))),
        );
        let ratio = |error: f64, spread: f64| (spread > 0.0).then(|| error / spread);
        let resampled = paired(&self.bootstrap.means(&errors), &self.bootstrap.means(&spreads), ratio);
        let raw = [("squared_error", mean(&errors)), ("squared_spread", mean(&spreads))];
        let value = ratio(mean(&errors), mean(&spreads));
        self.ledger.enter(&key(Metric::Fvu), value, resampled, n, &raw);

        let active = per_prompt(
            unit.coded
                .iter()
                .map(|part| part.codes.rows.iter().map(|row| row.len() as f32).collect()),
        );
        let raw = [("nodes", unit.coded.len() as f64)];
        let resampled = self.bootstrap.means(&active);
        self.ledger
            .enter(&key(Metric::L0), Some(mean(&active)), resampled, n, &raw);
        Ok(())
    }

    /// Whether what mean ablation takes away is enough to rate by: with it most of the logit difference would still be there.
    fn is_rated(&self, ground: &Ground) -> bool {
        ground.kept(&self.samples.clean.outcome) <= self.config.max_kept
    }

    /// Enters the logit difference of a run over the clean one; without a ground whatever mean ablation leaves.
    pub(super) fn enter_sufficiency(
        &mut self,
        key: &Key<'_>,
        run: &Outcome,
        ground: Option<&Ground>,
        more: &[(&str, f64)],
    ) {
        let (n, floor) = (self.samples.clean.prompts.len(), self.config.min_denominator);
        let (clean, int) = (self.samples.clean.outcome.mean_logit_diff(), run.mean_logit_diff());
        let mut raw = vec![("ld_clean", clean), ("ld_intervened", int)];
        raw.extend(more);
        if ground.is_some_and(|ground| !self.is_rated(ground)) {
            return self.ledger.enter(key, None, Vec::new(), n, &raw);
        }
        let cleans = self.bootstrap.means(&self.samples.clean.outcome.logit_diff); // [R]
        let ints = self.bootstrap.means(&run.logit_diff); // [R]
        let ratios = paired(&cleans, &ints, |clean, int| sufficiency(clean, int, floor));
        self.ledger.enter(key, sufficiency(clean, int, floor), ratios, n, &raw);
    }

    /// Enters the distance from 1 of the sufficiency that was entered last.
    fn enter_gap(&mut self, key: &Key<'_>) {
        let Some(entry) = self.ledger.entries().last() else {
            return;
        };
        let value = entry.score.value.map(|value| (1.0 - value).abs());
        let resampled = entry.resampled.iter().map(|&value| (1.0 - f64::from(value)).abs());
        let (resampled, n) = (resampled.collect(), entry.score.n);
        self.ledger.enter(key, value, resampled, n, &[]);
    }

    /// Enters how near the harm done in a run comes to that of mean ablation.
    pub(super) fn enter_necessity(&mut self, key: &Key<'_>, run: &Outcome, ground: &Ground, more: &[(&str, f64)]) {
        let (n, floor) = (self.samples.clean.prompts.len(), self.config.min_denominator);
        let runs = [&self.samples.clean.outcome, &ground.ablated, run];
        let [clean, abl, int] = runs.map(Outcome::mean_logit_diff);
        let mut raw = vec![("ld_clean", clean), ("ld_ablated", abl), ("ld_intervened", int)];
        raw.extend(more);
        if !self.is_rated(ground) {
            return self.ledger.enter(key, None, Vec::new(), n, &raw);
        }
        let [cleans, abls, ints] = runs.map(|run| self.bootstrap.means(&run.logit_diff)); // [R]
        let triples = cleans.iter().zip(&abls).zip(&ints);
        let ratios = triples
            .map(|((&c, &a), &i)| necessity(c, a, i, floor).unwrap_or(f64::NAN))
            .collect();
        self.ledger
            .enter(key, necessity(clean, abl, int, floor), ratios, n, &raw);
    }
}
