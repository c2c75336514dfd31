//! Dictionaries of one kind at several nodes, under the name that they have in reports.
//!
//! The evaluation knows dictionaries only as [`TaskDictionary`], so every kind is measured the same way
//! (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366)).

use activations::Node;
use causal::site::Site;
use dictionaries::LabelledEncoder;
use std::collections::BTreeMap;
use tasks::Labels;

/// How a dictionary is used to exchange the value of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// The interpretation-agnostic greedy search over active latents ([`crate::control::greedy`]).
    Greedy,
    /// The codes that the labels prescribe are exchanged: `a - u_{i,v} + u_{i,v'}`. For dictionaries that read their
    /// codes from labels.
    Supervised,
}

/// A dictionary of activations of a task's prompts, whose codes come from them or from the prompts' labels.
pub type TaskDictionary = dyn LabelledEncoder<Labels>;

/// Dictionaries of one kind, one for each node.
pub struct DictionarySet {
    /// Name in reports: `supervised-mean`, `sae-topk-seed1`, `random`, ...
    pub name: String,
    /// What it shares with sets that differ from it by their seed only: `sae-topk`.
    pub family: String,
    /// Hash of what the dictionaries were read or drawn from: an unfinished evaluation goes on only where it is the same.
    pub identity: String,
    /// Hash of the files of each dictionary that was read from a folder, by the name of the folder.
    pub folders: BTreeMap<String, String>,
    /// Whether another seed would have given another dictionary.
    pub seeded: bool,
    /// How its edits are made.
    pub edit: Edit,
    /// The dictionary at each node, which gives back what stands there.
    pub by_node: BTreeMap<Node, Box<TaskDictionary>>,
    /// The node that a transcoder reads, by the node that it writes: what stands there in the same clean run is encoded.
    pub reads: BTreeMap<Node, Node>,
}

impl DictionarySet {
    /// Whether it has a dictionary at every node of a site; elsewhere it is not evaluated.
    pub fn covers(&self, site: &Site) -> bool {
        site.nodes.iter().all(|node| self.by_node.contains_key(node))
    }

    /// The node whose activations the dictionary at `node` encodes.
    pub fn reads(&self, node: Node) -> Node {
        self.reads.get(&node).copied().unwrap_or(node)
    }
}
