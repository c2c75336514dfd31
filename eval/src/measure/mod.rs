//! What is measured at one site: the three axes for every dictionary set, and the baselines beside them.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), sections 4.1 to 4.3. The sets have
//! been checked by [`crate::evaluate()`]. A unit of work is one set at one site at all of whose nodes it has a dictionary; what a unit needs of the site is measured once ([`Ground`]).
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents, `R` resamples.

mod approximation;
mod causal;
mod control;
mod ground;
pub(crate) mod held_out;
mod interpretability;
mod phenomena;

use crate::Error;
use crate::bootstrap::Bootstrap;
use crate::config::{EvalConfig, EvalFile};
use crate::dictionary_set::{DictionarySet, Edit};
use crate::ledger::{Entry, Ledger};
use crate::metric::EditMethod;
use crate::parts::Parts;
use crate::report::FORMAT_VERSION;
use ::causal::interventions::{Outcome, Runner, Want};
use ::causal::site::Site;
use activations::Node;
use dictionaries::{Codes, Directions, Rows, encode, reconstruct};
use ground::Ground;
use held_out::Samples;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tasks::{Attribute, Family, Labels, Prompt, Task};

/// Values at the nodes of a sample, with the labels of its prompts.
pub(crate) struct Recorded {
    /// `[N, D]` at each node.
    pub(crate) nodes: BTreeMap<Node, Rows>,
    /// One per prompt.
    pub(crate) labels: Vec<Labels>,
}

impl Recorded {
    /// The prompts at `places`.
    pub(crate) fn pick(&self, places: &[usize]) -> Self {
        Self {
            nodes: self
                .nodes
                .iter()
                .map(|(node, rows)| (*node, rows.pick(places)))
                .collect(),
            labels: places.iter().map(|&place| self.labels[place].clone()).collect(),
        }
    }

    /// The values of one attribute, `[N]`.
    pub(crate) fn values(&self, attribute: Attribute) -> Vec<usize> {
        values(&self.labels, attribute)
    }
}

/// The value of one attribute in each prompt, `[N]`.
fn values(labels: &[Labels], attribute: Attribute) -> Vec<usize> {
    labels.iter().filter_map(|labels| labels.get(attribute)).collect()
}

/// Share of the prompts that have the most frequent value.
fn largest_share(values: &[usize], n_values: usize) -> f64 {
    let holding = |value| values.iter().filter(|other| **other == value).count();
    (0..n_values).map(holding).max().unwrap_or(0) as f64 / values.len().max(1) as f64
}

/// All nodes of a site side by side, `[N, D]`.
fn beside(site: &Site, nodes: &BTreeMap<Node, Rows>) -> Rows {
    Rows::beside(&site.nodes.iter().map(|node| &nodes[node]).collect::<Vec<_>>())
}

/// Runs prompts undisturbed and keeps node values and labels.
pub(crate) fn record(runner: &Runner<'_>, prompts: &[Prompt], nodes: &BTreeSet<Node>) -> Result<Recorded, Error> {
    let labels = prompts.iter().map(|prompt| prompt.labels.clone()).collect();
    Ok(Recorded {
        nodes: runner.record(prompts, nodes)?,
        labels,
    })
}

/// One dictionary at one node of a site, and what it makes of the samples. A transcoder's codes are of the clean activations of the
/// node that it reads; what they add, and what is overwritten, stands at this node.
struct Coded {
    node: Node,
    /// Whether an axis is two latents, which an edit exchanges as one.
    is_signed_basis: bool,
    directions: Directions,
    /// Codes of the base prompts.
    codes: Codes,
    /// Reconstructions of the base prompts, `[N, D]`.
    rebuilt: Rows,
    /// The part of them that does not come from codes, `[N, D]`; of dictionaries with a skip connection.
    direct: Option<Rows>,
    /// Codes of the counterfactuals that change each attribute.
    targets: BTreeMap<Attribute, Codes>,
}

/// A dictionary set at a site.
struct Unit<'a> {
    site: &'a Site,
    set: &'a DictionarySet,
    /// One per node.
    coded: Vec<Coded>,
    /// Codes of the interpretability sample, one per node.
    sample: Vec<Codes>,
}

/// The edits made with a set of an attribute: search, and `k` as reported.
pub(crate) fn edits_of(set: &DictionarySet, config: &EvalConfig) -> Vec<(EditMethod, Option<usize>)> {
    if set.edit == Edit::Supervised {
        return vec![(EditMethod::Supervised, None)];
    }
    let of_method = |&method: &EditMethod| {
        let ks = config.ks.iter().copied().filter(move |&k| method.exchanges(k));
        ks.map(move |k| (method, Some(k)))
    };
    config.edits.iter().flat_map(of_method).collect()
}

/// Interventions of the baselines at a site: ablation, the ground truth of each attribute and what no edit is from it, and removals of what the reference
/// has for every attribute.
pub(crate) fn baseline_steps(site: &Site, task: &dyn Task) -> usize {
    1 + 2 * site.attributes.len() + task.attributes().len()
}

/// Interventions of one set at a site.
pub(crate) fn unit_steps(site: &Site, set: &DictionarySet, config: &EvalConfig) -> usize {
    let causal = match set.edit {
        Edit::Supervised => 0,
        Edit::Greedy => config.thresholds.len() * (2 + 2 * site.attributes.len()),
    };
    let half = usize::from(set.edit == Edit::Greedy && config.edits.contains(&EditMethod::Greedy));
    2 + site.attributes.len() * (edits_of(set, config).len() + half) + causal
}

/// Progress, counted in interventions.
pub(crate) struct Steps<'a> {
    pub(crate) done: usize,
    pub(crate) total: usize,
    pub(crate) progress: &'a mut dyn FnMut(usize, usize),
}

impl Steps<'_> {
    fn advance(&mut self, n: usize) {
        self.done += n;
        (self.progress)(self.done, self.total);
    }
}

/// An evaluation under way.
pub(crate) struct Evaluation<'a> {
    pub(crate) runner: &'a Runner<'a>,
    pub(crate) task: &'a dyn Task,
    pub(crate) config: &'a EvalConfig,
    /// Hash of the model's weights.
    pub(crate) model: &'a str,
    /// Hash of all prompts.
    pub(crate) prompts: String,
    /// Labels of the base prompts, `[N]`.
    pub(crate) labels: Vec<Labels>,
    /// Resamples of the base prompts.
    pub(crate) bootstrap: Bootstrap,
    /// Resamples of the scored half of the interpretability sample.
    pub(crate) bootstrap_f1: Bootstrap,
    /// Resamples of the whole of it.
    pub(crate) bootstrap_sample: Bootstrap,
    /// The prompts of the site, as the model takes them.
    pub(crate) samples: &'a Samples<'a>,
    /// What latents are described with.
    pub(crate) families: Vec<Family>,
    /// What an earlier run has measured.
    pub(crate) parts: Option<&'a Parts>,
    /// What has been measured.
    pub(crate) ledger: Ledger,
    /// How far it is.
    pub(crate) steps: Steps<'a>,
}

/// All that the scores of a unit depend on, the program apart ([`Parts`] knows it).
#[derive(Serialize)]
struct About<'a> {
    version: u32,
    model: &'a str,
    prompts: &'a str,
    /// Identity of the reference dictionary, which checks and ratings look at.
    reference: Option<&'a str>,
    config: EvalFile,
    site: &'a Site,
    /// All nodes of the evaluation: what else is read in a pass changes the last bits of it.
    nodes: Vec<Node>,
    /// Name and identity of a set; none for the baselines.
    set: Option<(&'a str, &'a str)>,
}

impl Evaluation<'_> {
    /// All three axes at one site.
    pub(crate) fn site(&mut self, site: &Site, sets: &[DictionarySet]) -> Result<(), Error> {
        let mut ground = None;
        let prompts = self.prompts.clone();
        let reference = sets
            .iter()
            .find(|set| set.family == self.config.reference && set.covers(site));
        let mut baselines_done = false;
        let here = sets.iter().filter(|set| set.covers(site));
        let units = std::iter::once(None).chain(here.map(Some));
        for set in units {
            let config = self.config;
            let about = About {
                version: FORMAT_VERSION,
                model: self.model,
                prompts: &prompts,
                reference: reference.map(|set| set.identity.as_str()),
                config: config.clone().into(),
                site,
                nodes: self.samples.sample.nodes.keys().copied().collect(),
                set: set.map(|set| (set.name.as_str(), set.identity.as_str())),
            };
            let parts = self.parts;
            if let Some(entries) = parts.map(|parts| parts.read(&about)).transpose()?.flatten() {
                self.ledger.extend(entries);
                baselines_done |= set.is_none();
                let steps = set.map_or(baseline_steps(site, self.task), |set| unit_steps(site, set, config));
                self.steps.advance(steps);
                continue;
            }
            let ground: &Ground = match &mut ground {
                Some(ground) => ground,
                none => {
                    if baselines_done {
                        // Its steps were counted when the baselines' scores were read; they are made once more.
                        self.steps.done = self.steps.done.saturating_sub(baseline_steps(site, self.task));
                    }
                    none.insert(self.ground(site, reference)?)
                }
            };
            let before = self.ledger.entries().len();
            match set {
                None => self.baselines(site, ground),
                Some(set) => {
                    let unit = self.unit(site, set)?;
                    self.approximation(&unit, ground)?;
                    for &attribute in &site.attributes {
                        self.control(&unit, ground, attribute)?;
                    }
                    self.interpretability(&unit, ground)?;
                    self.phenomena(&unit, ground)?;
                }
            }
            let measured: &[Entry] = &self.ledger.entries()[before..];
            if let Some(parts) = parts {
                parts.write(&about, measured)?;
            }
        }
        self.agreements(site, sets)
    }

    /// Encodes the samples at each node of the site.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a code or a reconstruction is not finite.
    fn unit<'u>(&self, site: &'u Site, set: &'u DictionarySet) -> Result<Unit<'u>, Error> {
        let code = |node: &Node| {
            let (dictionary, input) = (set.by_node[node].as_ref(), set.reads(*node));
            let (codes, rebuilt, direct) = reconstruct(dictionary, &self.samples.clean.nodes[&input], &self.labels);
            let of = |recorded: &Recorded| encode(dictionary, &recorded.nodes[&input], &recorded.labels);
            Coded {
                node: *node,
                is_signed_basis: dictionary.is_signed_basis(),
                directions: Directions::of(dictionary),
                codes,
                rebuilt,
                direct,
                targets: self
                    .samples
                    .targets
                    .iter()
                    .map(|(attribute, target)| (*attribute, of(target)))
                    .collect(),
            }
        };
        let unit = Unit {
            site,
            set,
            coded: site.nodes.iter().map(code).collect(),
            sample: self.sample_codes(site, set),
        };
        for (part, sample) in unit.coded.iter().zip(&unit.sample) {
            let samples = part.targets.values().chain([&part.codes, sample]);
            let codes_finite = samples
                .flat_map(|codes| codes.rows.iter().flatten())
                .all(|entry| entry.1.is_finite());
            if !codes_finite || !part.rebuilt.values().iter().all(|x| x.is_finite()) {
                return Err(Error::NotFinite {
                    set: set.name.clone(),
                    node: part.node,
                });
            }
        }
        Ok(unit)
    }

    /// Codes of the interpretability sample, one per node of the site.
    fn sample_codes(&self, site: &Site, set: &DictionarySet) -> Vec<Codes> {
        let of = |node: &Node| {
            let dictionary = set.by_node[node].as_ref();
            encode(
                dictionary,
                &self.samples.sample.nodes[&set.reads(*node)],
                &self.samples.sample.labels,
            )
        };
        site.nodes.iter().map(of).collect()
    }

    /// Overwrites nodes, and counts the step.
    fn intervene(&mut self, overwrites: &BTreeMap<Node, Rows>, want: Want<'_>) -> Result<Outcome, Error> {
        let outcome = self.runner.intervene(&self.samples.clean, overwrites, want)?;
        self.steps.advance(1);
        Ok(outcome)
    }
}

impl Coded {
    /// The reconstructions as far as they come from codes, `[N, D]`.
    fn decoded(&self) -> Cow<'_, Rows> {
        match &self.direct {
            None => Cow::Borrowed(&self.rebuilt),
            Some(direct) => Cow::Owned(self.rebuilt.minus(direct)),
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
