//! What is measured at one site: the three axes for every dictionary set, and the baselines beside them.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), sections 4.1 to 4.3. The sets have been
//! checked by [`crate::evaluate()`]: every set has a dictionary at every node of every site.
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents, `R` resamples.

use crate::Error;
use crate::approximation::{ablated, necessity, sufficiency, without};
use crate::bootstrap::{Bootstrap, paired};
use crate::config::EvalConfig;
use crate::control::{Swap, apply, greedy, magnitude, supervised};
use crate::dictionaries::{Codes, DictionarySet, Directions, Edit, encode, reconstruct};
use crate::interpretability::{Activity, F1, choose};
use crate::interventions::{CleanRun, Outcome, Runner, mean};
use crate::ledger::{Key, Ledger};
use crate::report::{ALWAYS_ON, MEAN_ABLATION, Metric, NONE};
use crate::rows::Rows;
use crate::site::Site;
use activations::Node;
use std::collections::{BTreeMap, BTreeSet};
use tasks::{Attribute, IoiTask, Labels, Prompt};

/// Values at the nodes of a sample, with the labels of its prompts.
pub(crate) struct Recorded {
    /// `[N, D]` at each node.
    pub(crate) nodes: BTreeMap<Node, Rows>,
    /// One per prompt.
    pub(crate) labels: Vec<Labels>,
}

/// One dictionary at one node of a site, and what it makes of the base prompts.
struct Coded {
    node: Node,
    directions: Directions,
    codes: Codes,
    rebuilt: Rows,
}

/// Runs prompts undisturbed and keeps node values and labels.
pub(crate) fn record(runner: &Runner<'_>, prompts: &[Prompt], nodes: &BTreeSet<Node>) -> Result<Recorded, Error> {
    let labels = prompts.iter().map(|prompt| prompt.labels).collect();
    Ok(Recorded {
        nodes: runner.record(prompts, nodes)?,
        labels,
    })
}

/// The edits made with a set: `k` as reported, and the number of swaps that are applied.
pub(crate) fn edits_of(set: &DictionarySet, config: &EvalConfig) -> Vec<(Option<usize>, usize)> {
    match set.edit {
        Edit::Greedy => config.ks.iter().map(|&k| (Some(k), k)).collect(),
        Edit::Supervised => vec![(None, usize::MAX)],
    }
}

/// Progress, counted in interventions.
pub(crate) struct Steps<'a> {
    pub(crate) done: usize,
    pub(crate) total: usize,
    pub(crate) progress: &'a mut dyn FnMut(usize, usize),
}

/// An evaluation under way.
pub(crate) struct Evaluation<'a> {
    pub(crate) runner: &'a Runner<'a>,
    pub(crate) task: &'a IoiTask,
    pub(crate) config: &'a EvalConfig,
    /// Labels of the base prompts, `[N]`.
    pub(crate) labels: Vec<Labels>,
    /// Resamples of the base prompts.
    pub(crate) bootstrap: Bootstrap,
    /// Resamples of the scored half of the interpretability sample.
    pub(crate) bootstrap_f1: Bootstrap,
    /// The base prompts, undisturbed.
    pub(crate) clean: CleanRun<'a>,
    /// The counterfactual prompts that change each attribute.
    pub(crate) targets: BTreeMap<Attribute, Recorded>,
    /// The interpretability sample.
    pub(crate) sample: Recorded,
    /// What has been measured.
    pub(crate) ledger: Ledger,
    /// How far it is.
    pub(crate) steps: Steps<'a>,
}

impl Evaluation<'_> {
    /// All three axes at one site.
    pub(crate) fn site(&mut self, site: &Site, sets: &[DictionarySet]) -> Result<(), Error> {
        let mut coded = Vec::with_capacity(sets.len());
        for set in sets {
            coded.push((set, self.code(site, set)));
        }
        self.approximation(site, &coded)?;
        for &attribute in &site.attributes {
            self.control(site, attribute, &coded)?;
        }
        self.interpretability(site, sets);
        Ok(())
    }

    /// Encodes the base prompts at each node of the site.
    fn code(&self, site: &Site, set: &DictionarySet) -> Vec<Coded> {
        let code = |node: &Node| {
            let dictionary = set.by_node[node].as_ref();
            let (codes, rebuilt) = reconstruct(dictionary, &self.clean.nodes[node], &self.labels);
            Coded {
                node: *node,
                directions: Directions::of(dictionary),
                codes,
                rebuilt,
            }
        };
        site.nodes.iter().map(code).collect()
    }

    /// Overwrites nodes, and counts the step.
    fn intervene(&mut self, overwrites: impl IntoIterator<Item = (Node, Rows)>) -> Result<Outcome, Error> {
        let outcome = self.runner.intervene(&self.clean, &overwrites.into_iter().collect())?;
        self.steps.done += 1;
        (self.steps.progress)(self.steps.done, self.steps.total);
        Ok(outcome)
    }

    /// Sufficiency, necessity and L0.
    fn approximation(&mut self, site: &Site, coded: &[(&DictionarySet, Vec<Coded>)]) -> Result<(), Error> {
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

    /// Edits of one attribute, against the ground-truth patch.
    fn control(
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

    /// F1, precision and recall against each attribute of the site.
    fn interpretability(&mut self, site: &Site, sets: &[DictionarySet]) {
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
                .map(|labels| labels[attribute as usize])
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
        let score = activity.score();
        let resampled = activity.resampled(self.bootstrap_f1.counts()); // [R]
        let raw = [("predicates", activity.n_predicates() as f64)];
        let metrics: [(Metric, fn(F1) -> f64); 3] = [
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

/// Mean over nodes for each prompt: `[N]` per node -> `[N]`.
fn per_prompt(mut nodes: impl Iterator<Item = Vec<f32>>) -> Vec<f32> {
    let Some(mut sums) = nodes.next() else {
        return Vec::new();
    };
    let mut n = 1.0;
    for values in nodes {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
        n += 1.0;
    }
    sums.iter_mut().for_each(|sum| *sum /= n);
    sums
}
