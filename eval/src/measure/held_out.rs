//! What is left of the samples at a site when no vector stands on two sides.
//!
//! A prompt of the evaluation sample is left out at a site where its vector was trained on; of the interpretability sample also
//! where it is the vector of an earlier prompt, since latents are chosen on one half and rated on the other. Where next to nothing
//! is left, as at an embedding, of which there are as many vectors as words, there is no second side: all prompts are kept, and the
//! report says so.
//!
//! Shape legend: `N` prompts, `D` width of all nodes of the site together.

use super::{Recorded, beside};
use crate::ledger::FEWEST;
use crate::report::Unseen;
use activations::{KnownVectors, Node};
use causal::interventions::CleanRun;
use causal::site::Site;
use dictionaries::Rows;
use std::collections::BTreeMap;
use tasks::{Attribute, Prompt};

/// Samples of prompts, as the model takes them.
pub(crate) struct Samples<'a> {
    /// The base prompts, undisturbed.
    pub(crate) clean: CleanRun<'a>,
    /// The counterfactual prompts that change each attribute.
    pub(crate) targets: BTreeMap<Attribute, Recorded>,
    /// The interpretability sample.
    pub(crate) sample: Recorded,
}

/// The places of the prompts that are kept at a site.
pub(crate) struct HeldOut {
    evaluation: Vec<usize>,
    interpretability: Vec<usize>,
}

impl HeldOut {
    /// Looks for vectors of the samples that stand twice; none where all prompts are kept, for whichever reason.
    pub(crate) fn new(all: &Samples<'_>, site: &Site, trained: &BTreeMap<Node, Rows>) -> (Option<Self>, Unseen) {
        let known = site
            .nodes
            .iter()
            .map(|node| trained.get(node))
            .collect::<Option<Vec<_>>>();
        let known = known.map(|nodes| Rows::beside(&nodes)).unwrap_or_default(); // [N, D]
        // Where no dictionary was trained at the site, every vector is new.
        let vectors = (!known.is_empty()).then(|| KnownVectors::new(known.width(), known.values()));
        let [clean, sample] = [&all.clean.nodes, &all.sample.nodes].map(|nodes| beside(site, nodes));
        let is_new = |rows: &Rows| -> Vec<bool> {
            let seen = |i| vectors.as_ref().is_some_and(|vectors| vectors.holds(rows.row(i)));
            (0..rows.len()).map(|i| !seen(i)).collect()
        };
        let repeated = match vectors {
            None => vec![false; sample.len()],
            Some(_) => KnownVectors::new(sample.width(), sample.values()).repeated(),
        };
        let new = [is_new(&clean), is_new(&sample)];
        let seen = new.each_ref().map(|new| new.iter().filter(|new| !**new).count());
        let places = |keep: Vec<bool>| -> Vec<usize> {
            let places = keep.iter().enumerate().filter(|(_, keep)| **keep);
            places.map(|(place, _)| place).collect()
        };
        let [evaluation, interpretability] = new;
        let held = Self {
            evaluation: places(evaluation),
            interpretability: places(
                interpretability
                    .iter()
                    .zip(&repeated)
                    .map(|(new, twice)| *new && !twice)
                    .collect(),
            ),
        };
        let enough = held.evaluation.len() >= FEWEST && held.interpretability.len() >= 2 * FEWEST;
        let is_whole = held.evaluation.len() == clean.len() && held.interpretability.len() == sample.len();
        let kept = match enough {
            true => [held.evaluation.len(), held.interpretability.len()],
            false => [clean.len(), sample.len()],
        };
        let found = Unseen {
            site: site.name.clone(),
            seen: seen[0],
            evaluation: kept[0],
            seen_interpretability: seen[1],
            interpretability: kept[1],
            everything_seen: !enough && !is_whole,
            kept: artifacts::sha256_hex(
                format!("{enough} {:?} {:?}", held.evaluation, held.interpretability).as_bytes(),
            ),
        };
        ((enough && !is_whole).then_some(held), found)
    }

    /// The base prompts that are kept.
    pub(crate) fn prompts(&self, all: &[Prompt]) -> Vec<Prompt> {
        self.evaluation.iter().map(|&place| all[place].clone()).collect()
    }

    /// What is kept of the samples; `clean` is a run of the kept prompts.
    pub(crate) fn samples<'p>(&self, all: &Samples<'_>, clean: CleanRun<'p>) -> Samples<'p> {
        let targets = all.targets.iter();
        Samples {
            clean,
            targets: targets
                .map(|(attribute, target)| (*attribute, target.pick(&self.evaluation)))
                .collect(),
            sample: all.sample.pick(&self.interpretability),
        }
    }
}
