//! Dictionaries that nobody trained, made for an evaluation from the activations of the experiment.

use std::collections::{BTreeMap, BTreeSet};

use activations::{Node, NodeRows, Store};
use dictionaries::baseline::{RandomSize, neurons, pca};
use dictionaries::{RandomDictionary, Rows, sparsity_and_error};
use eval::{Baseline, DictionarySet, Edit, EvalConfig};

use crate::dictionary_sets::ByNode;
use crate::{ConfigError, Context, Result};

/// Rows on which the sparsity and the error that random dictionaries are matched to are measured.
const MATCH_ROWS: usize = 4096;

/// Makes the baselines that `config` asks for; random ones are matched to one of `sets`.
pub(super) fn make(
    config: &EvalConfig,
    sets: &[DictionarySet],
    store: &Store,
    nodes: &BTreeSet<Node>,
    context: &Context,
) -> Result<Vec<DictionarySet>> {
    let kinds: BTreeSet<Baseline> = config.baselines.iter().copied().collect();
    let is_random = |kind: &Baseline| matches!(kind, Baseline::Random | Baseline::RandomFvu);
    let matched = sets.iter().find(|set| set.family == config.matched_to);
    if kinds.iter().any(is_random) && matched.is_none() {
        let known: BTreeSet<&str> = sets.iter().map(|set| set.family.as_str()).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let reason = format!("`matched_to` names {}; the run holds {known}", config.matched_to);
        return Err(ConfigError(reason).into());
    }
    let draws = |kind: Baseline| if kind == Baseline::Random { config.draws } else { 1 };
    let drawn: Vec<(Baseline, usize)> = kinds
        .iter()
        .flat_map(|&kind| (0..draws(kind)).map(move |draw| (kind, draw)))
        .collect();
    let mut made: Vec<DictionarySet> = drawn
        .iter()
        .map(|&drawn| empty(drawn, config, matched, store))
        .collect();
    for &node in nodes {
        let rows = store.node(&node)?;
        let goal = match matched.filter(|matched| kinds.iter().any(is_random) && matched.by_node.contains_key(&node)) {
            Some(matched) => Some(Goal::new(matched, (node, &rows), store)?),
            None => None,
        };
        for (&(kind, draw), set) in drawn.iter().zip(&mut made) {
            let dictionary = match (kind, &goal) {
                (Baseline::Neurons, _) => Box::new(neurons(&rows.values, rows.width, &context.device)?) as Box<_>,
                (Baseline::Pca, _) => Box::new(pca(&rows.values, rows.width, &context.device)?) as Box<_>,
                (_, Some(goal)) => Box::new(goal.random((kind, draw), &rows, config.seed, context)?) as Box<_>,
                _ => continue, // nothing to match here
            };
            set.by_node.insert(node, dictionary);
        }
    }
    Ok(made)
}

/// The family of a baseline's dictionaries in reports.
pub(super) fn family(kind: Baseline) -> &'static str {
    kind.into()
}

fn empty(
    (kind, draw): (Baseline, usize),
    config: &EvalConfig,
    matched: Option<&DictionarySet>,
    store: &Store,
) -> DictionarySet {
    let family = family(kind);
    let name = match kind {
        Baseline::Random if config.draws > 1 => format!("{family}-draw{draw}"),
        _ => family.to_owned(),
    };
    let identity = matched.map_or("", |matched| matched.identity.as_str());
    let made_from = format!("{name} {} {identity} {}", config.seed, store.hash());
    DictionarySet {
        name,
        family: family.to_owned(),
        identity: artifacts::sha256_hex(made_from.as_bytes()),
        folders: BTreeMap::new(),
        reads: BTreeMap::new(),
        seeded: matches!(kind, Baseline::Random | Baseline::RandomFvu),
        edit: Edit::Greedy,
        by_node: ByNode::new(),
    }
}

/// What random dictionaries are to match at one node.
struct Goal<'a> {
    name: &'a str,
    node: Node,
    n_latents: usize,
    l0: f64,
    fvu: f64,
}

impl<'a> Goal<'a> {
    /// Measures the dictionary of a set.
    fn new(matched: &'a DictionarySet, (node, rows): (Node, &NodeRows), store: &Store) -> Result<Self> {
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
        Ok(Self {
            name: &matched.name,
            node,
            n_latents: dictionary.n_latents(),
            l0,
            fvu,
        })
    }

    /// A draw of random directions that match it; what the first comes to is told on stderr.
    fn random(
        &self,
        (kind, draw): (Baseline, usize),
        rows: &NodeRows,
        seed: u64,
        context: &Context,
    ) -> Result<RandomDictionary> {
        let size = RandomSize {
            width: rows.width,
            n_latents: self.n_latents,
            seed,
            draw,
            node: &self.node,
            device: &context.device,
        };
        let (what, made) = match kind {
            Baseline::RandomFvu => (
                "random-fvu",
                RandomDictionary::matched_fvu(&rows.values, self.fvu, &size)?,
            ),
            _ => ("random", RandomDictionary::matched_l0(&rows.values, self.l0, &size)?),
        };
        if draw == 0 {
            context.note(&format!(
                "eval: {what} at {}: L0 {:.1}, FVU {:.3}; {} has {:.1} and {:.3}",
                self.node, made.l0, made.fvu, self.name, self.l0, self.fvu
            ));
        }
        Ok(made.dictionary)
    }
}
