//! Sites are found, not guessed: activation patching over the residual stream and the head outputs.
//!
//! Candidates are the residual stream (`hook_resid_pre` of every layer but the first, `hook_resid_post` of the last)
//! and every head's `hook_z`, each at every role. For each attribute the counterfactual's activation is patched in,
//! exactly, and the share of prompts whose prediction changes is recorded; mean ablation gives the share of the clean
//! logit difference that depends on the node. A (node, attribute) is kept when both shares reach their thresholds. No
//! dictionary is consulted. (The heads of Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366),
//! come from earlier circuit work; this module replaces it for models without any.)
//!
//! What is left out on purpose, because it holds in every model: residual streams before layer 0 (the token itself),
//! and (residual stream, attribute) pairs at the token that *is* the attribute ([`Task::told_by_token`]; of the indirect
//! object: IO and Pos at role IO, S and Pos at S1, Pos at S1+1 (position embedding), S at S2). They are measured and marked [`Candidate::trivial`], never kept.
//!
//! Where there are more candidates than a config wants measured, they are narrowed down first (`locate/narrow.rs`).
//!
//! Shape legend: `N` prompts, `D` width of a node.

mod choose;
mod config;
mod narrow;

pub use config::{LocateConfig, LocateFile};

use crate::Clean;
use crate::Error;
use crate::ablated;
use crate::interventions::{CleanRun, Runner, Want};
use crate::site::{Evidence, Site, Sites};
use crate::{counterfactuals, describe};
use activations::Node;
use artifacts::rounded;
use dictionaries::Rows;
use lm::{HookPoint, Model, Spec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tasks::{Attribute, Role, Sample, Task, TaskName};

/// Smallest clean mean logit difference, in logits, that counts as doing the task.
const FLOOR: f64 = 0.1;

/// One measured node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The node.
    pub node: Node,
    /// Share of prompts whose prediction changes when the counterfactual of each attribute is patched in.
    pub changed: BTreeMap<Attribute, f64>,
    /// Share of the clean mean logit difference that mean ablation removes. Measured where some patch changes enough
    /// predictions; elsewhere nothing could be kept.
    pub removed: Option<f64>,
    /// Attributes that are measured here but say nothing, see the module's description.
    pub trivial: Vec<Attribute>,
    /// Attributes that pass both thresholds.
    pub kept: Vec<Attribute>,
}

impl Candidate {
    /// Largest share of changed predictions over the kept attributes; 0 when none is kept.
    pub fn strength(&self) -> f64 {
        self.kept
            .iter()
            .filter_map(|attribute| self.changed.get(attribute))
            .copied()
            .fold(0.0, f64::max)
    }
}

/// What `locate` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Located {
    /// The task's name.
    pub task: TaskName,
    /// The undisturbed model.
    pub clean: Clean,
    /// Every candidate, in the order of nodes.
    pub candidates: Vec<Candidate>,
    /// The chosen sites, the first in the model first.
    pub sites: Sites,
}

/// What a search costs, known before it starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Patches and ablations over all prompts, at most.
    pub interventions: usize,
    /// Passes of one prompt through the whole model that they amount to (an intervention at layer `l` of `L` counts as
    /// `(L - l) / L`), at most.
    pub forward_passes: f64,
}

/// The nodes that are tried, at all roles of a task: see the module's description.
pub fn candidates(config: &Spec, roles: &[Role]) -> Vec<Node> {
    let mut hooks: Vec<(HookPoint, Option<usize>)> = Vec::new();
    for layer in 0..config.n_layer {
        if layer > 0 {
            hooks.push((HookPoint::ResidPre(layer), None));
        }
        hooks.extend((0..config.n_head).map(|head| (HookPoint::Z(layer), Some(head))));
    }
    if let Some(last) = config.n_layer.checked_sub(1) {
        hooks.push((HookPoint::ResidPost(last), None));
    }
    hooks
        .into_iter()
        .flat_map(|(hook, head)| roles.iter().map(move |&role| Node { hook, head, role }))
        .collect()
}

/// The most that [`locate()`] will cost on a model of this size.
pub fn estimated_forward_passes(model: &Spec, task: &dyn Task, config: &LocateConfig) -> Cost {
    let layers = model.n_layer.max(1) as f64;
    let attributes = task.attributes().len();
    let nodes = candidates(model, &task.schema().roles);
    let share = |node: &Node| (layers - node.hook.layer().unwrap_or(0) as f64) / layers;
    let (mut interventions, mut passes) = (0.0, (1 + attributes) as f64);
    for heads in [true, false] {
        let of_kind: Vec<f64> = nodes
            .iter()
            .filter(|node| node.head.is_some() == heads)
            .map(share)
            .collect();
        let mean = of_kind.iter().sum::<f64>() / of_kind.len().max(1) as f64;
        let measured = (of_kind.len().min(config.narrow_to) * (1 + attributes)) as f64;
        let narrowing = match heads {
            true => 0.0,
            false => narrow::interventions(of_kind.len(), attributes, config),
        };
        interventions += measured + narrowing;
        passes += mean * (measured + narrowing);
    }
    Cost {
        interventions: interventions.ceil() as usize,
        forward_passes: passes * config.prompts as f64,
    }
}

/// Measures every candidate and chooses sites.
///
/// `progress(done, total)` is called after every candidate, and with 0 while candidates are narrowed down.
///
/// # Errors
/// [`Error::TaskMismatch`] when the config names another task, [`Error::Config`] when its sites are too few for the task, [`Error::NoBehaviour`] when the model does not do it, [`Error::NoSites`] when nothing passes the thresholds,
/// [`Error::Model`].
pub fn locate(
    model: &Model,
    task: &dyn Task,
    config: &LocateConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Located, Error> {
    let schema = task.schema();
    if config.task != schema.source {
        return Err(Error::TaskMismatch {
            sites: config.task.clone(),
            prompts: schema.source.clone(),
        });
    }
    config.check_sites(task.attributes().len())?;
    let runner = Runner::new(model, config.batch);
    let nodes = candidates(model.spec(), &schema.roles);
    let total = nodes.len();
    let nodes = narrow::narrowed(model, task, nodes, config, &mut || progress(0, total))?;
    let all: BTreeSet<Node> = nodes.iter().copied().collect();
    let prompts = task.sample(Sample::Locate, config.prompts, config.seed);
    let clean = runner.clean(&prompts, &all)?;
    let facts = describe(&clean);
    if facts.logit_diff.is_nan() || facts.logit_diff < FLOOR {
        return Err(Error::NoBehaviour {
            logit_diff: facts.logit_diff,
            n: facts.n,
            floor: FLOOR,
        });
    }
    let mut targets = BTreeMap::new();
    for &attribute in task.attributes() {
        let changed = counterfactuals(task, &prompts, attribute, config.seed)?;
        targets.insert(attribute, runner.record(&changed, &all)?);
    }
    let mut measured = Vec::with_capacity(nodes.len());
    for (done, node) in nodes.iter().enumerate() {
        measured.push(measure(
            &runner,
            &clean,
            &targets,
            (*node, trivial(task, node)),
            config,
        )?);
        progress(done + 1, nodes.len());
    }
    let chosen = choose::choose(&measured, task.attributes(), config);
    if chosen.is_empty() {
        return Err(Error::NoSites {
            min_changed: config.min_changed,
            min_removed: config.min_removed,
        });
    }
    let sites = chosen.into_iter().map(|candidate| site(candidate, facts.n)).collect();
    Ok(Located {
        task: schema.name,
        clean: facts,
        candidates: measured,
        sites: Sites {
            task: schema.source.clone(),
            model_hash: Some(model.file_hash().to_owned()),
            sites,
        },
    })
}

/// Patches and, where a patch matters, ablates one node.
fn measure(
    runner: &Runner<'_>,
    clean: &CleanRun<'_>,
    targets: &BTreeMap<Attribute, BTreeMap<Node, Rows>>,
    (node, trivial): (Node, Vec<Attribute>),
    config: &LocateConfig,
) -> Result<Candidate, Error> {
    let mut changed = BTreeMap::new();
    for (attribute, values) in targets {
        let values = &values[&node];
        let share = share_of_changed(runner, clean, node, values)?;
        changed.insert(*attribute, rounded(share));
    }
    let passing = |attribute: &Attribute| changed[attribute] >= config.min_changed && !trivial.contains(attribute);
    let mut kept: Vec<Attribute> = changed.keys().copied().filter(passing).collect();
    let mut removed = None;
    if !kept.is_empty() {
        let without = runner.intervene(
            clean,
            &BTreeMap::from([(node, ablated(&clean.nodes[&node]))]),
            Want::Prediction,
        )?;
        let share = rounded(1.0 - without.mean_logit_diff() / clean.outcome.mean_logit_diff());
        removed = Some(share);
        if share.is_nan() || share < config.min_removed {
            kept.clear();
        }
    }
    Ok(Candidate {
        node,
        changed,
        removed,
        trivial,
        kept,
    })
}

/// The share of prompts whose prediction changes when a node takes other values, `[N, D]`.
fn share_of_changed(runner: &Runner<'_>, clean: &CleanRun<'_>, node: Node, values: &Rows) -> Result<f64, Error> {
    // Causal attention: before the first changed token nothing differs, and the run can be spared.
    if *values == clean.nodes[&node] {
        return Ok(0.0);
    }
    let patched = runner.intervene(clean, &BTreeMap::from([(node, values.clone())]), Want::Prediction)?;
    let same = patched.agreement(&clean.outcome);
    let same: f64 = same.iter().map(|&same| f64::from(same)).sum();
    Ok(1.0 - same / clean.prompts.len() as f64)
}

/// The attributes that the residual stream at this role holds in any model, because the token is the attribute.
fn trivial(task: &dyn Task, node: &Node) -> Vec<Attribute> {
    match node.head {
        Some(_) => Vec::new(),
        None => task.told_by_token(node.role).to_vec(),
    }
}

/// A site of one node, with its evidence.
fn site(candidate: &Candidate, n: usize) -> Site {
    let evidence = candidate.kept.iter().map(|attribute| Evidence {
        attribute: *attribute,
        changed: candidate.changed[attribute],
        removed: candidate.removed.unwrap_or(0.0),
        n,
    });
    Site {
        name: candidate.node.to_string(),
        nodes: vec![candidate.node],
        attributes: candidate.kept.clone(),
        evidence: evidence.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tasks::IoiTask;
    use tasks::world::World;
    use text::Tokenizer;

    #[test]
    fn the_token_itself_is_no_finding() {
        let task = IoiTask::new(&Tokenizer::word_level(&World::new().pieces()).unwrap()).unwrap();
        let at = |name: &str| trivial(&task, &name.parse().unwrap());
        assert_eq!(at("blocks.2.hook_resid_pre@IO"), [Attribute::IO, Attribute::POS]);
        assert_eq!(at("blocks.2.hook_resid_pre@S2"), [Attribute::S]);
        assert!(at("blocks.2.hook_resid_pre@END").is_empty() && at("blocks.2.attn.hook_z.1@S2").is_empty());
    }
}
