//! Edits at one site against the ground-truth patch (Makelov, Lange, Nanda ([arXiv
//! 2405.08366](https://arxiv.org/abs/2405.08366)), section 4.2; methods in [`crate::control`]).
//!
//! Beside the paper's accuracy and magnitude stand the divergence of the whole prediction and the distance that is left to the
//! counterfactual activation. Edits with half as many latents as are active in the mean compare dictionaries of different sparsity.
//! Whether an edit leaves other attributes alone is asked of the model, not of a read-out: [`crate::masks`].
//!
//! Shape legend: `N` prompts, `D` width of a node.

use super::ground::{Ground, Truth};
use super::{Coded, Evaluation, Unit, beside, edits_of, per_prompt, values};
use crate::Error;
use crate::bootstrap::paired;
use crate::control::{Ranking, Swap, apply, beam, exhaustive, greedy, guided, magnitude, supervised};
use crate::dictionary_set::Edit;
use crate::interpretability::Agreements;
use crate::ledger::Key;
use crate::metric::{EditMethod, Metric};
use activations::Node;
use causal::interventions::{Outcome, Want, mean};
use dictionaries::{Codes, Rows};
use std::collections::BTreeMap;
use tasks::Attribute;

/// Most latents of an edit with half of what is active: beyond, it is not sparse.
const MOST_HALF: usize = 16;

/// The swaps of every prompt, for each node.
type Swaps = Vec<Vec<Vec<Swap>>>;

impl Evaluation<'_> {
    /// Edits of one attribute, against the ground-truth patch.
    pub(super) fn control(&mut self, unit: &Unit<'_>, ground: &Ground, attribute: Attribute) -> Result<(), Error> {
        let truth = &ground.truths[&attribute];
        let rankings = self.rankings(unit, attribute);
        let half = half_of_active(unit);
        let mut longest: Option<Swaps> = None; // greedy picks for fewer latents are the first of those for more
        for (method, k) in edits_of(unit.set, self.config) {
            let key = |metric| {
                Key::new(&unit.set.name, &unit.site.name, metric)
                    .of(attribute)
                    .by(method, k)
            };
            let swaps: Option<Swaps> = match (method, k, &longest) {
                (EditMethod::Greedy, Some(k), Some(swaps)) => Some(first(swaps, k)),
                (EditMethod::Greedy, Some(k), None) => {
                    let most = self.config.ks.last().copied().unwrap_or(k).max(half.unwrap_or(0));
                    let parts = unit.coded.iter().zip(&rankings);
                    let swaps: Option<Swaps> = parts
                        .map(|(part, r)| self.swaps(part, r, attribute, method, most))
                        .collect();
                    longest = swaps;
                    longest.as_ref().map(|swaps| first(swaps, k))
                }
                _ => {
                    let k = k.unwrap_or(usize::MAX);
                    let parts = unit.coded.iter().zip(&rankings);
                    parts
                        .map(|(part, r)| self.swaps(part, r, attribute, method, k))
                        .collect()
                }
            };
            let Some(swaps) = swaps else {
                // Too many latents to try all choices, or values that were never seen: said, not guessed.
                self.steps.advance(1);
                self.ledger
                    .enter(&key(Metric::EditAccuracy), None, Vec::new(), self.labels.len(), &[]);
                continue;
            };
            let edited = self.edited(unit, &swaps);
            let outcome = self.intervene(&edited, truth.outcome.divergence())?;
            self.enter_outcome(&key, &outcome, truth);
            self.enter_sizes(&key, unit, &swaps);
            let edited = beside(unit.site, &edited); // [N, D]
            self.enter_distance(&key(Metric::EditDistance), ground, truth, &edited);
        }
        if unit.set.edit == Edit::Greedy && self.config.edits.contains(&EditMethod::Greedy) {
            self.half(unit, truth, attribute, half.zip(longest))?;
        }
        Ok(())
    }

    /// The clean activations with latents exchanged, `[N, D]` at each node.
    fn edited(&self, unit: &Unit<'_>, swaps: &Swaps) -> BTreeMap<Node, Rows> {
        let parts = unit.coded.iter().zip(swaps);
        let edited = parts.map(|(part, swaps)| {
            let edited = apply(&self.samples.clean.nodes[&part.node], swaps, &part.directions); // [N, D]
            (part.node, edited)
        });
        edited.collect()
    }

    /// The greedy edit with half as many latents as are active: of `swaps` the first `half`.
    fn half(
        &mut self,
        unit: &Unit<'_>,
        truth: &Truth,
        attribute: Attribute,
        found: Option<(usize, Swaps)>,
    ) -> Result<(), Error> {
        let key = Key::new(&unit.set.name, &unit.site.name, Metric::EditHalf)
            .of(attribute)
            .by(EditMethod::Greedy, None);
        let n = self.labels.len();
        let Some((half, swaps)) = found else {
            self.steps.advance(1);
            self.ledger.enter(&key, None, Vec::new(), n, &[]);
            return Ok(());
        };
        let edited = self.edited(unit, &first(&swaps, half));
        let right = self.intervene(&edited, Want::Prediction)?.agreement(&truth.outcome);
        let resampled = self.bootstrap.means(&right);
        self.ledger
            .enter(&key, Some(mean(&right)), resampled, n, &[("k", half as f64)]);
        Ok(())
    }

    /// F1 of every latent of each node against the values of an attribute, on prompts that are not edited.
    fn rankings(&self, unit: &Unit<'_>, attribute: Attribute) -> Vec<Ranking> {
        let n_values = self.task.n_values(attribute);
        let rank = |codes: &Codes, held: &[usize]| {
            let agreements = Agreements::new(codes, held, n_values);
            Ranking::new(n_values, agreements.f1(), agreements.seen())
        };
        let held = self.samples.sample.values(attribute);
        unit.sample.iter().map(|codes| rank(codes, &held)).collect()
    }

    /// The exchanged latents of each prompt at one node.
    fn swaps(
        &self,
        part: &Coded,
        ranking: &Ranking,
        attribute: Attribute,
        method: EditMethod,
        k: usize,
    ) -> Option<Vec<Vec<Swap>>> {
        let target = &self.samples.targets[&attribute];
        let codes = [&part.codes, &part.targets[&attribute]];
        // Along an axis a change of sign is one exchange; latents that stand for values are single ones.
        let coordinates = (part.is_signed_basis && method != EditMethod::Guided).then(|| codes.map(Codes::coordinates));
        let [alpha, beta] = coordinates.as_ref().map_or(codes, |both| both.each_ref());
        let source = (&self.samples.clean.nodes[&part.node], alpha);
        let counterfactual = (&target.nodes[&part.node], beta);
        Some(match method {
            EditMethod::Greedy => greedy(source, counterfactual, &part.directions, k),
            EditMethod::Beam => beam(source, counterfactual, &part.directions, k),
            EditMethod::Exhaustive => exhaustive(source, counterfactual, &part.directions, k)?,
            EditMethod::Guided => {
                let to = target.values(attribute);
                if !ranking.knows(&to) {
                    return None; // a value that never occurred where latents were ranked has none to stand for it
                }
                let from = values(&self.labels, attribute);
                guided((alpha, &from), (beta, &to), ranking, k / 2)
            }
            EditMethod::Supervised => supervised(alpha, beta),
        })
    }

    /// Accuracy and divergence of the prediction; what became of the logit difference, prompt by prompt, stands beside it.
    fn enter_outcome<'k>(&mut self, key: &impl Fn(Metric) -> Key<'k>, outcome: &Outcome, truth: &Truth) {
        let n = outcome.prediction.len();
        let right = outcome.agreement(&truth.outcome);
        let unedited = self.samples.clean.outcome.agreement(&truth.outcome);
        let changes = |to: &Outcome| -> Vec<f32> {
            let pairs = to.logit_diff.iter().zip(&self.samples.clean.outcome.logit_diff);
            pairs.map(|(after, before)| after - before).collect()
        };
        let (changed, wanted) = (changes(outcome), changes(&truth.outcome));
        let missed: Vec<f32> = changed.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).collect();
        let [low, middle, high] = deciles(&changed);
        let raw = [
            ("accuracy_none", mean(&unedited)),
            ("ld_edited", outcome.mean_logit_diff()),
            ("ld_ground_truth", truth.outcome.mean_logit_diff()),
            ("ld_change_p10", low),
            ("ld_change_p50", middle),
            ("ld_change_p90", high),
            ("ld_change_missed", mean(&missed)),
        ];
        let resampled = self.bootstrap.means(&right);
        self.ledger
            .enter(&key(Metric::EditAccuracy), Some(mean(&right)), resampled, n, &raw);
        self.enter_mean(&key(Metric::EditKl), &outcome.kl);
    }

    fn enter_sizes<'k>(&mut self, key: &impl Fn(Metric) -> Key<'k>, unit: &Unit<'_>, swaps: &Swaps) {
        let n = self.labels.len();
        let parts = unit.coded.iter().zip(swaps);
        let sizes = per_prompt(parts.map(|(part, swaps)| magnitude(&part.decoded(), swaps, &part.directions)));
        let changed = swaps.iter().flatten().flatten().filter(|swap| swap.delta() != 0.0);
        let exchanged = changed.count() as f64;
        let raw = [("mean_exchanged", exchanged / (n * unit.coded.len()).max(1) as f64)];
        let resampled = self.bootstrap.means(&sizes);
        self.ledger
            .enter(&key(Metric::EditMagnitude), Some(mean(&sizes)), resampled, n, &raw);
    }

    /// Enters the mean of one number a prompt, `[N]`.
    pub(super) fn enter_mean(&mut self, key: &Key<'_>, by_prompt: &[f32]) {
        let resampled = self.bootstrap.means(by_prompt);
        self.ledger
            .enter(key, Some(mean(by_prompt)), resampled, by_prompt.len(), &[]);
    }

    /// Distance to the counterfactual activations after the edit over that before it, a ratio of means.
    fn enter_distance(&mut self, key: &Key<'_>, ground: &Ground, truth: &Truth, edited: &Rows) {
        let [before, after] = [&ground.clean, edited].map(|rows| rows.distances(&truth.patched)); // [N]
        let ratio = |before: f64, after: f64| (before > 0.0).then(|| after / before);
        let [befores, afters] = [&before, &after].map(|distances| self.bootstrap.means(distances)); // [R]
        let raw = [("distance_before", mean(&before)), ("distance_after", mean(&after))];
        let value = ratio(mean(&before), mean(&after));
        self.ledger
            .enter(key, value, paired(&befores, &afters, ratio), before.len(), &raw);
    }
}

/// Half as many latents as are active in the mean at a node, at least one; none where an edit with so many is not sparse.
fn half_of_active(unit: &Unit<'_>) -> Option<usize> {
    let active: f64 = unit.coded.iter().map(|part| part.codes.mean_active()).sum();
    let half = (active / unit.coded.len().max(1) as f64 / 2.0).round() as usize;
    (half <= MOST_HALF).then(|| half.max(1))
}

/// The first `k` swaps of each prompt.
fn first(swaps: &Swaps, k: usize) -> Swaps {
    let of_prompt = |swaps: &Vec<Swap>| swaps.iter().take(k).copied().collect();
    swaps.iter().map(|node| node.iter().map(of_prompt).collect()).collect()
}

/// The 10th, 50th and 90th percentile; zeros for no values.
fn deciles(values: &[f32]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let last = sorted.len().saturating_sub(1) as f64;
    [0.1, 0.5, 0.9].map(|share| {
        sorted
            .get((share * last).round() as usize)
            .map_or(0.0, |&x| f64::from(x))
    })
}
