//! What is measured at one site: the three axes for every dictionary set, and the baselines beside them.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), sections 4.1 to 4.3. The sets have
//! been checked by [`crate::evaluate()`]: every set has a dictionary at every node of every site.
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents, `R` resamples.

mod approximation;
mod control;
mod interpretability;

use crate::Error;
use crate::bootstrap::Bootstrap;
use crate::config::EvalConfig;
use crate::dictionaries::{Codes, DictionarySet, Directions, Edit, reconstruct};
use crate::interventions::{CleanRun, Outcome, Runner};
use crate::ledger::Ledger;
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
