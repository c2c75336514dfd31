//! Edits at one site against the ground-truth patch (Makelov, Lange, Nanda ([arXiv
//! 2405.08366](https://arxiv.org/abs/2405.08366)), section 4.2; methods in [`crate::control`]).
//!
//! Shape legend: `N` prompts, `D` width of a node.

use super::{Coded, Evaluation, edits_of, per_prompt};
use crate::Error;
use crate::control::{Swap, apply, greedy, magnitude, supervised};
use crate::dictionaries::{DictionarySet, Edit, encode};
use crate::interventions::mean;
use crate::ledger::Key;
use crate::report::{Metric, NONE};
use crate::site::Site;
use tasks::Attribute;

impl Evaluation<'_> {
    /// Edits of one attribute, against the ground-truth patch.
    pub(super) fn control(
        &mut self,
        site: &Site,
        attribute: Attribute,
        coded: &[(&DictionarySet, Vec<Coded>)],
    ) -> Result<(), Error> {
        let n = self.clean.prompts.len();
        let patch: Vec<_> = site
            .nodes
            .iter()
            .map(|node| (*node, self.targets[&attribute].nodes[node].clone()))
            .collect();
        let truth = self.intervene(patch)?;
        let ld_truth = truth.mean_logit_diff();
        let unedited = self.clean.outcome.agreement(&truth);
        let key = |dictionary, metric, k| Key {
            dictionary,
            site: &site.name,
            attribute: Some(attribute),
            metric,
            k,
        };
        let raw = [
            ("ld_clean", self.clean.outcome.mean_logit_diff()),
            ("ld_ground_truth", ld_truth),
        ];
        let resampled = self.bootstrap.means(&unedited);
        self.ledger.enter(
            &key(NONE, Metric::EditAccuracy, None),
            Some(mean(&unedited)),
            resampled,
            n,
            &raw,
        );

        for (set, coded) in coded {
            let swaps: Vec<_> = coded.iter().map(|part| self.swaps(set, part, attribute)).collect();
            for (k, taken) in edits_of(set, self.config) {
                let source = &self.clean.nodes;
                let edited: Vec<_> = coded
                    .iter()
                    .zip(&swaps)
                    .map(|(part, swaps)| {
                        (part.node, apply(&source[&part.node], swaps, &part.directions, taken)) // [N, D]
                    })
                    .collect();
                let outcome = self.intervene(edited)?;
                let right = outcome.agreement(&truth);
                let raw = [
                    ("accuracy_none", mean(&unedited)),
                    ("ld_edited", outcome.mean_logit_diff()),
                    ("ld_ground_truth", ld_truth),
                ];
                let resampled = self.bootstrap.means(&right);
                self.ledger.enter(
                    &key(&set.name, Metric::EditAccuracy, k),
                    Some(mean(&right)),
                    resampled,
                    n,
                    &raw,
                );

                let parts = coded.iter().zip(&swaps);
                let sizes = parts.map(|(part, swaps)| magnitude(&part.rebuilt, swaps, &part.directions, taken));
                let sizes = per_prompt(sizes);
                let exchanged = swaps
                    .iter()
                    .flatten()
                    .map(|swaps| swaps.len().min(taken))
                    .sum::<usize>() as f64;
                let raw = [("mean_exchanged", exchanged / (n * coded.len()).max(1) as f64)];
                let resampled = self.bootstrap.means(&sizes);
                self.ledger.enter(
                    &key(&set.name, Metric::EditMagnitude, k),
                    Some(mean(&sizes)),
                    resampled,
                    n,
                    &raw,
                );
            }
        }
        Ok(())
    }

    /// The exchanged latents of each prompt at one node, for the largest `k`.
    fn swaps(&self, set: &DictionarySet, part: &Coded, attribute: Attribute) -> Vec<Vec<Swap>> {
        let target = &self.targets[&attribute];
        let values = &target.nodes[&part.node];
        let codes = encode(set.by_node[&part.node].as_ref(), values, &target.labels);
        match set.edit {
            Edit::Supervised => supervised(&part.codes, &codes),
            Edit::Greedy => {
                let k = self.config.ks.last().copied().unwrap_or(0);
                greedy(
                    (&self.clean.nodes[&part.node], &part.codes),
                    (values, &codes),
                    &part.directions,
                    k,
                )
            }
        }
    }
}
