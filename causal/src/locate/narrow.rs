//! Which candidates of a large model are worth exact patching.
//!
//! A model of 30 blocks of 9 heads has 1,500 nodes, and patching each of them for each attribute takes hours on a CPU. Where there
//! are more candidates of a kind than are to be measured, they are ranked first, on fewer prompts:
//!
//! * head outputs by attribution patching: what a patch would change of the logit difference to first order, `(a' - a) · g`, where
//!   `g` is the gradient of the logit difference at the node. One backward pass gives it at all nodes at once (Nanda 2023, "Attribution
//!   patching"; [arXiv 2310.10348](https://arxiv.org/abs/2310.10348));
//! * residual streams, where a patch is too large for first order, by the share of predictions that an exact patch changes.
//!
//! Shapes: `N` prompts, `D` width of a node.

use std::collections::{BTreeMap, BTreeSet};

use activations::Node;
use dictionaries::Rows;
use lm::Model;
use tasks::{Prompt, Sample, Task};

use super::{LocateConfig, share_of_changed, trivial};
use crate::Error;
use crate::counterfactuals;
use crate::interventions::Runner;

/// The nodes that are left to be measured exactly, in the order in which they were given.
///
/// # Errors
/// [`Error::Model`], [`Error::Node`].
pub(super) fn narrowed(
    model: &Model,
    task: &dyn Task,
    nodes: Vec<Node>,
    config: &LocateConfig,
    progress: &mut dyn FnMut(),
) -> Result<Vec<Node>, Error> {
    let (heads, streams): (Vec<Node>, Vec<Node>) = nodes.iter().copied().partition(|node| node.head.is_some());
    let prompts = task.sample(Sample::Locate, config.narrow_prompts, config.seed);
    let runner = Runner::new(model, config.batch);
    let mut left = BTreeSet::new();
    for (of_kind, rank) in [(heads, first_order as Rank<'_>), (streams, exact as Rank<'_>)] {
        if of_kind.len() <= config.narrow_to {
            left.extend(of_kind);
            continue;
        }
        let of_kind: BTreeSet<Node> = of_kind.into_iter().collect();
        let mut ranked = rank(&runner, task, &prompts, &of_kind, config, progress)?;
        ranked.sort_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then(a.cmp(b)));
        // What no patch changes at all is not worth a second look.
        let of_some_use = ranked.into_iter().filter(|(_, effect)| *effect > 0.0);
        left.extend(of_some_use.take(config.narrow_to).map(|(node, _)| node));
    }
    Ok(nodes.into_iter().filter(|node| left.contains(node)).collect())
}

/// The largest effect of a patch of any attribute at each node.
type Rank<'a> = fn(
    &Runner<'_>,
    &dyn Task,
    &[Prompt],
    &BTreeSet<Node>,
    &LocateConfig,
    &mut dyn FnMut(),
) -> Result<Vec<(Node, f64)>, Error>;

/// Share of the predictions that an exact patch changes, of any attribute that the token itself does not tell.
fn exact(
    runner: &Runner<'_>,
    task: &dyn Task,
    prompts: &[Prompt],
    nodes: &BTreeSet<Node>,
    config: &LocateConfig,
    progress: &mut dyn FnMut(),
) -> Result<Vec<(Node, f64)>, Error> {
    let clean = runner.clean(prompts, nodes)?;
    let mut effects: BTreeMap<Node, f64> = nodes.iter().map(|node| (*node, 0.0)).collect();
    for &attribute in task.attributes() {
        let changed = counterfactuals(task, prompts, attribute, config.seed)?;
        for (node, values) in runner.record(&changed, nodes)? {
            if trivial(task, &node).contains(&attribute) {
                continue;
            }
            let share = share_of_changed(runner, &clean, node, &values)?;
            effects.entry(node).and_modify(|most| *most = most.max(share));
            progress();
        }
    }
    Ok(effects.into_iter().collect())
}

/// Mean over prompts of what a patch changes of the logit difference to first order, without its sign.
fn first_order(
    runner: &Runner<'_>,
    task: &dyn Task,
    prompts: &[Prompt],
    nodes: &BTreeSet<Node>,
    config: &LocateConfig,
    progress: &mut dyn FnMut(),
) -> Result<Vec<(Node, f64)>, Error> {
    let clean = runner.record(prompts, nodes)?;
    let slopes = runner.gradients(prompts, nodes)?;
    progress();
    let mut effects: BTreeMap<Node, f64> = nodes.iter().map(|node| (*node, 0.0)).collect();
    for &attribute in task.attributes() {
        let changed: Vec<Prompt> = counterfactuals(task, prompts, attribute, config.seed)?;
        for (node, values) in runner.record(&changed, nodes)? {
            let effect = mean_first_order(&clean[&node], &values, &slopes[&node]);
            effects.entry(node).and_modify(|most| *most = most.max(effect));
        }
        progress();
    }
    Ok(effects.into_iter().collect())
}

/// Mean of `|(a' - a) · g|` over rows.
fn mean_first_order(clean: &Rows, changed: &Rows, slopes: &Rows) -> f64 {
    let of_row = |row: usize| {
        let terms = clean.row(row).iter().zip(changed.row(row)).zip(slopes.row(row));
        let change: f64 = terms.map(|((a, b), g)| f64::from(b - a) * f64::from(*g)).sum();
        change.abs()
    };
    (0..clean.len()).map(of_row).sum::<f64>() / clean.len().max(1) as f64
}

/// The share of all interventions of `locate` that the narrowing is, as interventions on all prompts: for its cost.
pub(super) fn interventions(streams: usize, attributes: usize, config: &LocateConfig) -> f64 {
    if streams <= config.narrow_to {
        return 0.0;
    }
    (streams * attributes) as f64 * config.narrow_prompts as f64 / config.prompts as f64
}
