//! What all dictionary sets at a site are measured against: mean ablation, the ground-truth patch of each attribute, and the
//! baselines that need no dictionary.
//!
//! Shape legend: `N` prompts, `D` width of all nodes of the site together.

use super::{Coded, Evaluation, beside, largest_share, values};
use crate::Error;
use crate::control::{apply, supervised};
use crate::dictionary_set::DictionarySet;
use crate::interpretability::{Activity, Criterion, always_on, average_precision, choose};
use crate::ledger::Key;
use crate::metric::Metric;
use crate::readout::Readout;
use crate::report::{ALWAYS_ON, MEAN_ABLATION, NONE};
use causal::ablated;
use causal::interventions::{Outcome, Want, mean};
use causal::site::Site;
use dictionaries::Rows;
use std::collections::BTreeMap;
use tasks::Attribute;

/// Share of the way from chance to certainty that a read-out must have gone for its attribute to count as readable (of a bit an
/// accuracy of 0.9): what it says of an edited activation is otherwise its own noise, which no edit could get right.
const READABLE: f64 = 0.8;

/// A read-out of one attribute at a site.
pub(super) struct Read {
    readout: Readout,
    /// Share of the clean base prompts on which it is right.
    accuracy: f64,
    /// Share of the base prompts that have the most frequent value.
    chance: f64,
}

impl Read {
    /// Whether it knows the attribute, and not just its most frequent value.
    fn is_readable(&self) -> bool {
        self.accuracy > self.chance && self.accuracy - self.chance >= READABLE * (1.0 - self.chance)
    }
}

/// The ground-truth patch of one attribute.
pub(super) struct Truth {
    /// What the model answers, with log-probabilities.
    pub(super) outcome: Outcome,
    /// The counterfactual activations, `[N, D]`.
    pub(super) patched: Rows,
    /// What the read-outs of the other attributes say of them, `[N]` each.
    reads: BTreeMap<Attribute, Vec<usize>>,
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
    reads: BTreeMap<Attribute, Read>,
    /// By attribute; none without a reference dictionary.
    pub(super) effects: BTreeMap<Attribute, Effect>,
}

impl Ground {
    /// Whether the read-outs of the other attributes agree with the ground-truth patch: the mean over those that can be read,
    /// `[N]`, and of each the share of prompts, its accuracy on clean activations and chance. None where no other attribute can
    /// be read.
    pub(super) fn isolation(&self, attribute: Attribute, edited: &Rows) -> Option<Isolation> {
        let mut raw = Vec::new();
        let mut agreements = Vec::new();
        for (other, expected) in &self.truths[&attribute].reads {
            let read = &self.reads[other];
            let found = read.readout.read(edited);
            let agree = found.iter().zip(expected).map(|(a, b)| f32::from(u8::from(a == b)));
            let agree: Vec<f32> = agree.collect();
            raw.push((format!("agreement_{other}"), mean(&agree)));
            raw.push((format!("readout_accuracy_{other}"), read.accuracy));
            raw.push((format!("readout_chance_{other}"), read.chance));
            if read.is_readable() {
                agreements.push(agree);
            }
        }
        (!agreements.is_empty()).then(|| Isolation {
            by_prompt: super::per_prompt(agreements.into_iter()),
            raw,
        })
    }
}

/// What an edit left alone.
pub(super) struct Isolation {
    /// Mean agreement of the readable attributes, `[N]`.
    pub(super) by_prompt: Vec<f32>,
    /// What stands behind it.
    pub(super) raw: Vec<(String, f64)>,
}

impl Evaluation<'_> {
    /// Measures a site; of the dictionaries only the reference is used.
    pub(super) fn ground(&mut self, site: &Site, reference: Option<&DictionarySet>) -> Result<Ground, Error> {
        let means = site.nodes.iter().map(|node| (*node, ablated(&self.clean.nodes[node])));
        let ablated = self.intervene(&means.collect(), Want::Prediction)?;
        let clean = beside(site, &self.clean.nodes);
        let fit = self.fit.beside(site);
        let mut reads = BTreeMap::new();
        for &attribute in self.task.attributes() {
            let truth = values(&self.labels, attribute);
            if let Some(readout) = Readout::fit(&fit, &self.fit.values(attribute)) {
                let right = readout.read(&clean).iter().zip(&truth).filter(|(a, b)| a == b).count();
                let chance = largest_share(&truth, self.task.n_values(attribute));
                let accuracy = right as f64 / truth.len() as f64;
                let read = Read {
                    readout,
                    accuracy,
                    chance,
                };
                reads.insert(attribute, read);
            }
        }
        let mut truths = BTreeMap::new();
        for &attribute in &site.attributes {
            let nodes = &self.targets[&attribute].nodes;
            let patch = site.nodes.iter().map(|node| (*node, nodes[node].clone())).collect();
            let patched = beside(site, &patch);
            let others = reads.iter().filter(|(other, _)| **other != attribute);
            let truth = Truth {
                outcome: self.intervene(&patch, Want::LogProbs)?,
                reads: others
                    .map(|(other, read)| (*other, read.readout.read(&patched)))
                    .collect(),
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
            reads,
        })
    }

    /// Removes what a dictionary has for each attribute: the latents whose codes change with it.
    fn effects(&mut self, site: &Site, set: &DictionarySet) -> Result<BTreeMap<Attribute, Effect>, Error> {
        let unit = self.unit(site, set)?;
        let clean = self.clean.outcome.mean_logit_diff();
        let mut effects = BTreeMap::new();
        for &attribute in self.task.attributes() {
            let removed = |part: &Coded| -> Rows {
                let mut swaps = supervised(&part.codes, &part.targets[&attribute]);
                for swap in swaps.iter_mut().flatten() {
                    swap.to = 0.0;
                }
                apply(&self.clean.nodes[&part.node], &swaps, &part.directions) // [N, D]
            };
            let removed: BTreeMap<_, _> = unit.coded.iter().map(|part| (part.node, removed(part))).collect();
            let norms = removed
                .iter()
                .flat_map(|(node, rows)| rows.distances(&self.clean.nodes[node]));
            let norm = mean(&norms.collect::<Vec<_>>());
            let change = self.intervene(&removed, Want::Prediction)?.mean_logit_diff() - clean;
            effects.insert(attribute, Effect { change, norm });
        }
        Ok(effects)
    }

    /// Scores of mean ablation, of no edit and of a latent that is always active.
    pub(super) fn baselines(&mut self, site: &Site, ground: &Ground) {
        let (n, clean) = (self.clean.prompts.len(), self.clean.outcome.mean_logit_diff());
        let key = Key::new(MEAN_ABLATION, &site.name, Metric::Sufficiency);
        self.enter_sufficiency(&key, &ground.ablated, &[]);
        for (&attribute, truth) in &ground.truths {
            let key = |metric| Key::new(NONE, &site.name, metric).of(attribute);
            let unedited = self.clean.outcome.agreement(&truth.outcome);
            let raw = [
                ("ld_clean", clean),
                ("ld_ground_truth", truth.outcome.mean_logit_diff()),
            ];
            let resampled = self.bootstrap.means(&unedited);
            self.ledger
                .enter(&key(Metric::EditAccuracy), Some(mean(&unedited)), resampled, n, &raw);
            let isolation = ground.isolation(attribute, &ground.clean);
            self.enter_isolation(&key(Metric::Isolation), isolation);
        }
        let constant = [always_on(self.sample.labels.len())];
        for &attribute in &site.attributes {
            let (values, n_values) = (self.sample.values(attribute), self.task.n_values(attribute));
            let chosen = choose(&constant, &values, n_values, Criterion::F1);
            let activity = Activity::of_latents(&constant, &values, n_values, &chosen);
            let counts = self.bootstrap_f1.counts();
            let precision = average_precision(&constant, &values, &chosen, counts);
            self.enter_agreement(&site.name, attribute, ALWAYS_ON, [&activity, &activity], precision);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_is_what_is_known_and_not_guessed() {
        let fit = Rows::new(1, vec![1.0, -1.0, 2.0, -2.0]);
        let readout = Readout::fit(&fit, &[0, 1, 0, 1]).unwrap();
        let readable = |accuracy, chance| {
            let readout = readout.clone();
            Read {
                readout,
                accuracy,
                chance,
            }
            .is_readable()
        };
        assert!(readable(0.9, 0.5) && readable(0.81, 0.03));
        // A name that is read once in three; a value that nearly all prompts have.
        assert!(!readable(0.366, 0.026) && !readable(0.95, 0.95) && !readable(1.0, 1.0));
    }
}
