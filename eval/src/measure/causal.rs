//! Whether interpreted latents do what their descriptions say: keep, remove and interchange by threshold (Makelov, Lange,
//! Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), section 4.3).
//!
//! * **keep**: the reconstruction from the latents whose F1 reaches the threshold alone; logit difference over the clean one. (The paper
//!   subtracts the others from the activation instead, by which a dictionary that never fires keeps everything.)
//! * **remove**: those from the threshold on are subtracted; scored as necessity.
//! * **interchange**: latents from the threshold on get their counterfactual codes, the others keep the base's; the
//!   prediction should be the ground truth's. With the roles exchanged it should be that of no edit.
//!
//! Latents are rated on the half of the interpretability sample that chose their descriptions; the runs here are of other
//! prompts.
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents.

use super::ground::Ground;
use super::{Coded, Evaluation, Unit};
use crate::Error;
use crate::control::{Swap, apply, differing};
use crate::interpretation::Interpretation;
use crate::ledger::Key;
use crate::metric::Metric;
use causal::interventions::{Want, mean};
use dictionaries::{Codes, Rows};

/// The description of each latent at each node.
type Described = [Vec<Option<Interpretation>>];

impl Evaluation<'_> {
    /// Keeps, removes and interchanges latents at every threshold.
    pub(super) fn causal(&mut self, unit: &Unit<'_>, ground: &Ground, described: &Described) -> Result<(), Error> {
        let n = self.labels.len();
        for &threshold in &self.config.thresholds.clone() {
            let key = |metric| Key::new(&unit.set.name, &unit.site.name, metric).at(threshold);
            for (metric, above) in [(Metric::Keep, false), (Metric::Remove, true)] {
                let subtract = |(part, described): (&Coded, &Vec<_>)| {
                    let silent = vec![Vec::new(); n];
                    let swaps = rated(&part.codes.rows, &silent, described, threshold, above);
                    let from = if above {
                        &self.samples.clean.nodes[&part.node]
                    } else {
                        &part.rebuilt
                    };
                    (part.node, apply(from, &swaps, &part.directions))
                };
                let left = unit.coded.iter().zip(described).map(subtract).collect();
                let run = self.intervene(&left, Want::Prediction)?;
                let raw = [("mean_subtracted", mean_rated(&unit.coded, described, threshold, above))];
                match metric {
                    Metric::Keep => self.enter_sufficiency(&key(metric), &run, Some(ground), &raw),
                    _ => self.enter_necessity(&key(metric), &run, ground, &raw),
                }
            }
            for &attribute in &unit.site.attributes {
                let truth = &ground.truths[&attribute].outcome;
                for (metric, above) in [(Metric::Interchange, true), (Metric::InterchangeRest, false)] {
                    let exchange = |(part, described): (&Coded, &Vec<_>)| {
                        let target: &Codes = &part.targets[&attribute];
                        let swaps = rated(&part.codes.rows, &target.rows, described, threshold, above);
                        let mixed: Rows = apply(&part.rebuilt, &swaps, &part.directions); // [N, D]
                        (part.node, mixed)
                    };
                    let mixed = unit.coded.iter().zip(described).map(exchange).collect();
                    let run = self.intervene(&mixed, Want::Prediction)?;
                    let right = run.agreement(if above { truth } else { &self.samples.clean.outcome });
                    let resampled = self.bootstrap.means(&right);
                    self.ledger
                        .enter(&key(metric).of(attribute), Some(mean(&right)), resampled, n, &[]);
                }
            }
        }
        Ok(())
    }
}

/// Whether a latent's description reaches the threshold.
fn reaches(described: &[Option<Interpretation>], latent: u32, threshold: f64) -> bool {
    described[latent as usize]
        .as_ref()
        .is_some_and(|description| description.f1_chosen >= threshold)
}

/// Exchanges the codes of latents from the threshold on (`above`) or of the others, prompt by prompt.
fn rated(
    source: &[Vec<(u32, f32)>],
    target: &[Vec<(u32, f32)>],
    described: &[Option<Interpretation>],
    threshold: f64,
    above: bool,
) -> Vec<Vec<Swap>> {
    let of_prompt = |(source, target): (&Vec<_>, &Vec<_>)| {
        let mut swaps = differing(source, target);
        swaps.retain(|swap| reaches(described, swap.latent, threshold) == above);
        swaps
    };
    source.iter().zip(target).map(of_prompt).collect()
}

/// Mean number of active latents, over prompts and nodes, that are rated so.
fn mean_rated(coded: &[Coded], described: &Described, threshold: f64, above: bool) -> f64 {
    let (mut sum, mut rows) = (0, 0);
    for (part, described) in coded.iter().zip(described) {
        let active = part.codes.rows.iter().flatten();
        sum += active
            .filter(|entry| reaches(described, entry.0, threshold) == above)
            .count();
        rows += part.codes.rows.len();
    }
    sum as f64 / rows.max(1) as f64
}
