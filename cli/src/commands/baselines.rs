//! Dictionaries that nobody trained, made for an evaluation from the activations of the experiment.

use std::collections::{BTreeMap, BTreeSet};

use activations::{Node, NodeRows, Store};
use dictionaries::baseline::{RandomSize, neurons, pca};
use dictionaries::{RandomDictionary, Rows, sparsity_and_error};
use eval::{Baseline, DictionarySet, Edit, EvalConfig};

use super::Context;
use super::dictionary_sets::ByNode;
use crate::config::ConfigError;
use crate::output;

/// Rows on which the sparsity and the error that random dictionaries are matched to are measured.
const MATCH_ROWS: usize = 4096;

/// Makes the baselines that `config` asks for; random ones are matched to one of `sets`.
pub(super) fn make(
    config: &EvalConfig,
    sets: &[DictionarySet],
    store: &Store,
    nodes: &BTreeSet<Node>,
    context: &Context,
) -> anyhow::Result<Vec<DictionarySet>> {
    let kinds: BTreeSet<Baseline> = config.baselines.iter().copied().collect();
    let is_random = |kind: &Baseline| matches!(kind, Baseline::Random | Baseline::RandomFvu);
    let matched = sets.iter().find(|set| set.family == config.matched_to);
    if kinds.iter().any(is_random) && matched.is_none() {
        let known: BTreeSet<&str> = sets.iter().map(|set| set.family.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let reason = format!("`matched_to` names {}; the run holds {known}", config.matched_to);
        return Err(ConfigError(reason).into());
    }
    let mut made: Vec<DictionarySet> = kinds.iter().map(|&kind| empty(kind, config, matched, store)).collect();
    for &node in nodes {
        let rows = store.node(&node)?;
        for (&kind, set) in kinds.iter().zip(&mut made) {
            let dictionary = match (kind, matched) {
                (Baseline::Neurons, _) => Box::new(neurons(&rows.values, rows.width, &context.device)?) as Box<_>,
                (Baseline::Pca, _) => Box::new(pca(&rows.values, rows.width, &context.device)?) as Box<_>,
                (_, Some(matched)) if matched.by_node.contains_key(&node) => {
                    Box::new(random(kind, matched, (node, &rows), store, config.seed, context)?) as Box<_>
                }
                _ => continue, // nothing to match here
            };
            set.by_node.insert(node, dictionary);
        }
    }
    Ok(made)
}

fn empty(kind: Baseline, config: &EvalConfig, matched: Option<&DictionarySet>, store: &Store) -> DictionarySet {
    let name = match kind {
        Baseline::Random => "random",
        Baseline::RandomFvu => "random-fvu",
        Baseline::Neurons => "neurons",
        Baseline::Pca => "pca",
    };
    let identity = matched.map_or("", |matched| matched.identity.as_str());
    let made_from = format!("{name} {} {identity} {}", config.seed, store.hash());
    DictionarySet {
        name: name.to_owned(),
        family: name.to_owned(),
        identity: artifacts::sha256_hex(made_from.as_bytes()),
        folders: BTreeMap::new(),
        reads: std::collections::BTreeMap::new(),
        seeded: matches!(kind, Baseline::Random | Baseline::RandomFvu),
        edit: Edit::Greedy,
        by_node: ByNode::new(),
    }
}

/// Random directions that match one dictionary at one node; what they came to is told on stderr.
fn random(
    kind: Baseline,
    matched: &DictionarySet,
    (node, rows): (Node, &NodeRows),
    store: &Store,
    seed: u64,
    context: &Context,
) -> anyhow::Result<RandomDictionary> {
    let dictionary = matched.by_node[&node].as_ref();
    // The rows of a store are in the order of its prompts: one in so many keeps their mixture.
    let step = (rows.labels.len() / MATCH_ROWS).max(1);
    let some = |rows: &NodeRows| -> Vec<f32> {
        let all = rows.values.chunks_exact(rows.width);
        all.step_by(step).flatten().copied().collect()
    };
    let labels: Vec<_> = rows.labels.iter().step_by(step).cloned().collect();
    let targets = Rows::new(rows.width, some(rows));
    let read = matched.reads.get(&node).map(|input| store.node(input)).transpose()?;
    let inputs = read.map_or_else(|| targets.clone(), |read| Rows::new(read.width, some(&read)));
    let (l0, fvu) = sparsity_and_error(dictionary, &inputs, &targets, &labels);
    let size = RandomSize {
        width: rows.width,
        n_latents: dictionary.n_latents(),
        seed,
        node: &node,
        device: &context.device,
    };
    let (what, made) = match kind {
        Baseline::RandomFvu => ("random-fvu", RandomDictionary::matched_fvu(&rows.values, fvu, &size)?),
        _ => ("random", RandomDictionary::matched_l0(&rows.values, l0, &size)?),
    };
    output::note(&format!(
        "eval: {what} at {node}: L0 {:.1}, FVU {:.3}; {} has {l0:.1} and {fvu:.3}",
        made.l0, made.fvu, matched.name
    ));
    Ok(made.dictionary)
}
