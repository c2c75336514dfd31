//! The graph of a model: what adds to the residual stream, what reads it, and every edge between the two.
//!
//! A destination is one reading of the residual stream: by the queries of a head, by the keys or the values of a head of keys and
//! values, by an MLP, by the logits. The sources that it can see are always the first ones, [`Graph::sources_of`] of them, which
//! makes every sum over sources a product of matrices.

use std::ops::Range;
use std::str::FromStr;

use lm::Spec;

use crate::{Destination, Error, Node, Slot};

/// An edge: what a source adds, as a destination reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Number of the source.
    pub source: usize,
    /// Number of the destination.
    pub destination: usize,
}

/// A group of destinations that are read at one hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Heads { layer: usize, slot: Slot },
    Mlp { layer: usize },
    Logits,
}

impl Group {
    /// Whether it decides what heads attend to: queries and keys.
    pub(crate) fn is_of_pattern(self) -> bool {
        matches!(
            self,
            Self::Heads {
                slot: Slot::Q | Slot::K,
                ..
            }
        )
    }
}

/// All sources, destinations and edges of a model.
///
/// Sources in their order: `input`, then of each block its heads and its MLP. Destinations: of each block the queries of all heads,
/// the keys and the values of all heads of keys and values, the MLP; last the logits. Edges are numbered destination by
/// destination, the sources of each in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    n_layer: usize,
    n_head: usize,
    n_kv_head: usize,
    parallel: bool,
    /// Number of the first edge into each destination, and of all edges.
    first: Vec<usize>,
}

impl Graph {
    /// The graph of a model.
    pub fn new(spec: &Spec) -> Self {
        Self::of(spec.n_layer, spec.n_head, spec.n_kv_head, spec.parallel)
    }

    /// The graph of a model of `n_layer` blocks with `n_head` heads of queries and `n_kv_head` of keys and values, whose attention
    /// and MLP read the same residual stream where they are `parallel`.
    pub fn of(n_layer: usize, n_head: usize, n_kv_head: usize, parallel: bool) -> Self {
        let mut graph = Self {
            n_layer,
            n_head,
            n_kv_head: n_kv_head.clamp(1, n_head.max(1)),
            parallel,
            first: vec![0],
        };
        let mut edges = 0;
        for destination in 0..graph.n_destinations() {
            edges += graph.sources_of(destination);
            graph.first.push(edges);
        }
        graph
    }

    /// Number of blocks.
    pub fn n_layer(&self) -> usize {
        self.n_layer
    }

    /// Heads of queries of a block.
    pub fn n_head(&self) -> usize {
        self.n_head
    }

    /// Heads of keys and values of a block.
    pub fn n_kv_head(&self) -> usize {
        self.n_kv_head
    }

    /// Whether attention and MLP of a block read the same residual stream.
    pub fn parallel(&self) -> bool {
        self.parallel
    }

    /// Number of sources, `S`.
    pub fn n_sources(&self) -> usize {
        1 + self.n_layer * (self.n_head + 1)
    }

    /// Number of destinations.
    pub fn n_destinations(&self) -> usize {
        self.n_layer * self.block_width() + 1
    }

    /// Number of edges.
    pub fn n_edges(&self) -> usize {
        self.first.last().copied().unwrap_or(0)
    }

    /// Destinations of a block.
    fn block_width(&self) -> usize {
        self.n_head + 2 * self.n_kv_head + 1
    }

    /// The component that is source number `source`.
    pub fn source(&self, source: usize) -> Node {
        let Some(place) = source.checked_sub(1) else {
            return Node::Input;
        };
        let (layer, place) = (place / (self.n_head + 1), place % (self.n_head + 1));
        match place == self.n_head {
            true => Node::Mlp { layer },
            false => Node::Head { layer, head: place },
        }
    }

    /// The number of a component among the sources; none of what adds nothing or is not of this graph.
    pub fn source_number(&self, node: Node) -> Option<usize> {
        let of_block =
            |layer: usize, place: usize| (layer < self.n_layer).then(|| 1 + layer * (self.n_head + 1) + place);
        match node {
            Node::Input => Some(0),
            Node::Head { layer, head } if head < self.n_head => of_block(layer, head),
            Node::Mlp { layer } => of_block(layer, self.n_head),
            _ => None,
        }
    }

    /// Destination number `destination`.
    pub fn destination(&self, destination: usize) -> Destination {
        let (group, place) = self.group_of(destination);
        let (node, slot) = match group {
            Group::Logits => (Node::Logits, None),
            Group::Mlp { layer } => (Node::Mlp { layer }, None),
            Group::Heads { layer, slot: Slot::Q } => (Node::Head { layer, head: place }, Some(Slot::Q)),
            Group::Heads { layer, slot } if self.n_kv_head == self.n_head => {
                (Node::Head { layer, head: place }, Some(slot))
            }
            Group::Heads { layer, slot } => (Node::KeyValue { layer, head: place }, Some(slot)),
        };
        Destination { node, slot }
    }

    /// The number of a destination; none of what is not of this graph.
    pub fn destination_number(&self, wanted: Destination) -> Option<usize> {
        let groups = match (wanted.node, wanted.slot) {
            (Node::Logits, None) => Group::Logits,
            (Node::Mlp { layer }, None) => Group::Mlp { layer },
            (Node::Head { layer, .. } | Node::KeyValue { layer, .. }, Some(slot)) => Group::Heads { layer, slot },
            _ => return None,
        };
        let mut range = match groups {
            Group::Heads { layer, .. } | Group::Mlp { layer } if layer >= self.n_layer => return None,
            group => self.group(group),
        };
        range.find(|&number| self.destination(number) == wanted)
    }

    /// The group of a destination, and its place there.
    pub(crate) fn group_of(&self, destination: usize) -> (Group, usize) {
        let (layer, place) = (destination / self.block_width(), destination % self.block_width());
        let (h, k) = (self.n_head, self.n_kv_head);
        match place {
            _ if layer >= self.n_layer => (Group::Logits, 0),
            q if q < h => (Group::Heads { layer, slot: Slot::Q }, q),
            key if key < h + k => (Group::Heads { layer, slot: Slot::K }, key - h),
            value if value < h + 2 * k => (Group::Heads { layer, slot: Slot::V }, value - h - k),
            _ => (Group::Mlp { layer }, 0),
        }
    }

    /// The destinations of a group.
    pub(crate) fn group(&self, group: Group) -> Range<usize> {
        let (h, k) = (self.n_head, self.n_kv_head);
        let (layer, from, len) = match group {
            Group::Heads { layer, slot: Slot::Q } => (layer, 0, h),
            Group::Heads { layer, slot: Slot::K } => (layer, h, k),
            Group::Heads { layer, slot: Slot::V } => (layer, h + k, k),
            Group::Mlp { layer } => (layer, h + 2 * k, 1),
            Group::Logits => (self.n_layer, 0, 1),
        };
        let from = layer * self.block_width() + from;
        from..from + len
    }

    /// All groups in the order in which a pass comes by them.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let of_block = |layer: usize| {
            let heads = [Slot::Q, Slot::K, Slot::V].map(|slot| Group::Heads { layer, slot });
            heads.into_iter().chain([Group::Mlp { layer }])
        };
        (0..self.n_layer).flat_map(of_block).chain([Group::Logits]).collect()
    }

    /// How many sources a destination sees: the first ones.
    pub fn sources_of(&self, destination: usize) -> usize {
        self.sources_of_group(self.group_of(destination).0)
    }

    pub(crate) fn sources_of_group(&self, group: Group) -> usize {
        let before = |layer: usize| 1 + layer * (self.n_head + 1);
        match group {
            Group::Heads { layer, .. } => before(layer),
            Group::Mlp { layer } if self.parallel => before(layer),
            Group::Mlp { layer } => before(layer) + self.n_head,
            Group::Logits => self.n_sources(),
        }
    }

    /// The sources that are computed from a destination: one, of shared keys and values several, of the logits none.
    pub fn readers(&self, destination: usize) -> Range<usize> {
        let (group, place) = self.group_of(destination);
        let shared = self.n_head / self.n_kv_head;
        match group {
            Group::Logits => 0..0,
            Group::Mlp { layer } => {
                let number = 1 + layer * (self.n_head + 1) + self.n_head;
                number..number + 1
            }
            Group::Heads { layer, slot } => {
                let (head, n) = match slot {
                    Slot::Q => (place, 1),
                    Slot::K | Slot::V => (place * shared, shared),
                };
                let number = 1 + layer * (self.n_head + 1) + head;
                number..number + n
            }
        }
    }

    /// The destinations that a source is computed from; none of the input.
    pub fn inputs_of(&self, source: usize) -> Vec<usize> {
        let shared = self.n_head / self.n_kv_head;
        match self.source(source) {
            Node::Head { layer, head } => [(Slot::Q, head), (Slot::K, head / shared), (Slot::V, head / shared)]
                .map(|(slot, place)| self.group(Group::Heads { layer, slot }).start + place)
                .to_vec(),
            Node::Mlp { layer } => vec![self.group(Group::Mlp { layer }).start],
            Node::Input | Node::KeyValue { .. } | Node::Logits => Vec::new(),
        }
    }

    /// The number of an edge.
    ///
    /// # Panics
    ///
    /// When the graph has no such edge, which is an error of the caller.
    pub fn edge_number(&self, edge: Edge) -> usize {
        assert!(edge.source < self.sources_of(edge.destination), "an edge of the graph");
        self.first[edge.destination] + edge.source
    }

    /// The edge with a number below [`Graph::n_edges`].
    pub fn edge(&self, number: usize) -> Edge {
        let destination = self.first.partition_point(|&first| first <= number) - 1;
        Edge {
            source: number - self.first[destination],
            destination,
        }
    }

    /// The numbers of the edges into a destination.
    pub fn edges_into(&self, destination: usize) -> Range<usize> {
        self.first[destination]..self.first[destination + 1]
    }

    /// All edges in their order.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        (0..self.n_destinations())
            .flat_map(|destination| (0..self.sources_of(destination)).map(move |source| Edge { source, destination }))
    }

    /// An edge by the names of its ends, for example `a5.h5`, `a8.h6`, `q`.
    ///
    /// # Errors
    ///
    /// An edge that this graph does not have.
    pub fn find(&self, source: &str, destination: &str, slot: Option<&str>) -> Result<Edge, Error> {
        let slot = slot.map(Slot::from_str).transpose()?;
        let (from, to) = (source.parse()?, destination.parse()?);
        let ends = self
            .source_number(from)
            .zip(self.destination_number(Destination { node: to, slot }));
        let edge = ends.map(|(source, destination)| Edge { source, destination });
        edge.filter(|edge| edge.source < self.sources_of(edge.destination))
            .ok_or_else(|| Error::UnknownName {
                what: "edge",
                found: match slot {
                    Some(slot) => format!("{source}->{destination}<{slot}>"),
                    None => format!("{source}->{destination}"),
                },
                known: format!(
                    "this model has {} blocks of {} heads and {} heads of keys and values, and edges lead forward only",
                    self.n_layer, self.n_head, self.n_kv_head
                ),
            })
    }

    /// An edge by its name, as [`Graph::name`] writes it.
    ///
    /// # Errors
    ///
    /// What is no name of an edge of this graph.
    pub fn parse(&self, name: &str) -> Result<Edge, Error> {
        let (source, to) = name.split_once("->").ok_or_else(|| Error::UnknownName {
            what: "edge",
            found: name.to_owned(),
            known: "edges are named as in m0->a1.h0<v>".to_owned(),
        })?;
        match to.strip_suffix('>').and_then(|to| to.split_once('<')) {
            Some((node, slot)) => self.find(source, node, Some(slot)),
            None => self.find(source, to, None),
        }
    }

    /// The name of an edge, as in `a5.h5->a8.h6<q>`.
    pub fn name(&self, edge: Edge) -> String {
        format!("{}->{}", self.source(edge.source), self.destination(edge.destination))
    }
}
