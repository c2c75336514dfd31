//! What all dictionary sets at a site are measured against: mean ablation, the ground-truth patch of each attribute, and the
//! baselines that need no dictionary.
//!
//! Shape legend: `N` prompts, `D` width of all nodes of the site together.

use super::{Coded, Evaluation, beside};
use crate::Error;
use crate::control::{apply, supervised};
use crate::dictionary_set::DictionarySet;
use crate::interpretability::{Activity, Criterion, always_on, average_precision, choose};
use crate::ledger::Key;
use crate::metric::Metric;
use crate::report::{ALWAYS_ON, MEAN_ABLATION, NONE};
use causal::ablated;
use causal::interventions::{Outcome, Want, mean};
use causal::site::Site;
use dictionaries::Rows;
use std::collections::BTreeMap;
use tasks::Attribute;

/// The ground-truth patch of one attribute.
pub(super) struct Truth {
    /// What the model answers, with log-probabilities.
    pub(super) outcome: Outcome,
    /// The counterfactual activations, `[N, D]`.
    pub(super) patched: Rows,
    /// Divergence of the unedited run from it, in nats, `[N]`.
    unedited: Vec<f32>,
}

/// What removing all that the reference dictionary has for an attribute does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    /// Change of the mean logit difference.
    pub(super) change: f64,
    /// Mean norm of what was removed, over prompts and nodes.
    pub(super) norm: f64,
}

/// What is known of a site before its dictionaries are looked at.
pub(super) struct Ground {
    /// All nodes mean-ablated.
    pub(super) ablated: Outcome,
    /// By edited attribute.
    pub(super) truths: BTreeMap<Attribute, Truth>,
    /// The clean activations, `[N, D]`.
    pub(super) clean: Rows,
    /// By attribute; none without a reference dictionary.
    pub(super) effects: BTreeMap<Attribute, Effect>,
}

impl Ground {
    /// Share of the clean logit difference that is left when every activation is the mean one.
    pub(super) fn kept(&self, clean: &Outcome) -> f64 {
        self.ablated.mean_logit_diff() / clean.mean_logit_diff()
    }
}

impl Evaluation<'_> {
    /// Measures a site; of the dictionaries only the reference is used.
    pub(super) fn ground(&mut self, site: &Site, reference: Option<&DictionarySet>) -> Result<Ground, Error> {
        let means = site
            .nodes
            .iter()
            .map(|node| (*node, ablated(&self.samples.clean.nodes[node])));
        let ablated = self.intervene(&means.collect(), Want::Prediction)?;
        let clean = beside(site, &self.samples.clean.nodes);
        let mut truths = BTreeMap::new();
        for &attribute in &site.attributes {
            let nodes = &self.samples.targets[&attribute].nodes;
            let patch = site.nodes.iter().map(|node| (*node, nodes[node].clone())).collect();
            let patched = beside(site, &patch);
            let outcome = self.intervene(&patch, Want::LogProbs)?;
            let same = site
                .nodes
                .iter()
                .map(|node| (*node, self.samples.clean.nodes[node].clone()));
            let unedited = self.intervene(&same.collect(), outcome.divergence())?.kl;
            let truth = Truth {
                outcome,
                unedited,
                patched,
            };
            truths.insert(attribute, truth);
        }
        let effects = match reference {
            Some(set) => self.effects(site, set)?,
            None => {
                self.steps.advance(self.task.attributes().len());
                BTreeMap::new()
            }
        };
        Ok(Ground {
            effects,
            ablated,
            truths,
            clean,
        })
    }

    /// Removes what a dictionary has for each attribute: the latents whose codes change with it.
    fn effects(&mut self, site: &Site, set: &DictionarySet) -> Result<BTreeMap<Attribute, Effect>, Error> {
        let unit = self.unit(site, set)?;
        let clean = self.samples.clean.outcome.mean_logit_diff();
        let mut effects = BTreeMap::new();
        for &attribute in self.task.attributes() {
            let removed = |part: &Coded| -> Rows {
                let mut swaps = supervised(&part.codes, &part.targets[&attribute]);
                for swap in swaps.iter_mut().flatten() {
                    swap.to = 0.0;
                }
                apply(&self.samples.clean.nodes[&part.node], &swaps, &part.directions) // [N, D]
            };
            let removed: BTreeMap<_, _> = unit.coded.iter().map(|part| (part.node, removed(part))).collect();
            let norms = removed
                .iter()
                .flat_map(|(node, rows)| rows.distances(&self.samples.clean.nodes[node]));
            let norm = mean(&norms.collect::<Vec<_>>());
            let change = self.intervene(&removed, Want::Prediction)?.mean_logit_diff() - clean;
            effects.insert(attribute, Effect { change, norm });
        }
        Ok(effects)
    }

    /// Scores of mean ablation, of no edit and of a latent that is always active.
    pub(super) fn baselines(&mut self, site: &Site, ground: &Ground) {
        let (n, clean) = (
            self.samples.clean.prompts.len(),
            self.samples.clean.outcome.mean_logit_diff(),
        );
        let key = Key::new(MEAN_ABLATION, &site.name, Metric::Sufficiency);
        self.enter_sufficiency(&key, &ground.ablated, None, &[]);
        for (&attribute, truth) in &ground.truths {
            let key = |metric| Key::new(NONE, &site.name, metric).of(attribute);
            let unedited = self.samples.clean.outcome.agreement(&truth.outcome);
            let raw = [
                ("ld_clean", clean),
                ("ld_ground_truth", truth.outcome.mean_logit_diff()),
            ];
            let resampled = self.bootstrap.means(&unedited);
            self.ledger
                .enter(&key(Metric::EditAccuracy), Some(mean(&unedited)), resampled, n, &raw);
            self.enter_mean(&key(Metric::EditKl), &truth.unedited);
        }
        let constant = [always_on(self.samples.sample.labels.len())];
        for &attribute in &site.attributes {
            let (values, n_values) = (self.samples.sample.values(attribute), self.task.n_values(attribute));
            let chosen = choose(&constant, &values, n_values, Criterion::F1);
            let activity = Activity::of_latents(&constant, &values, n_values, &chosen);
            let counts = self.bootstrap_f1.counts();
            let precision = average_precision(&constant, &values, &chosen, counts);
            self.enter_agreement(
                (&site.name, ALWAYS_ON),
                attribute,
                [&activity, &activity],
                precision,
                &Default::default(),
            );
        }
    }
}
