//! A circuit: edges of a graph that are kept.

use std::collections::BTreeSet;

use crate::{Edge, Graph};

/// Edges of a graph that are kept; all others carry what their source adds in the corrupted run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    graph: Graph,
    kept: Vec<bool>,
    /// Kept edges out of each source.
    outgoing: Vec<usize>,
}

impl Circuit {
    /// A circuit of the edges with these numbers.
    pub fn new(graph: Graph, edges: impl IntoIterator<Item = usize>) -> Self {
        let mut circuit = Self {
            kept: vec![false; graph.n_edges()],
            outgoing: vec![0; graph.n_sources()],
            graph,
        };
        for number in edges {
            circuit.keep(number);
        }
        circuit
    }

    /// All edges.
    pub fn full(graph: Graph) -> Self {
        let edges = graph.n_edges();
        Self::new(graph, 0..edges)
    }

    /// No edge.
    pub fn empty(graph: Graph) -> Self {
        Self::new(graph, [])
    }

    /// Every edge that this one does not keep.
    pub fn complement(&self) -> Self {
        let others = (0..self.kept.len()).filter(|&number| !self.kept[number]);
        Self::new(self.graph.clone(), others)
    }

    fn keep(&mut self, number: usize) {
        if !std::mem::replace(&mut self.kept[number], true) {
            self.outgoing[self.graph.edge(number).source] += 1;
        }
    }

    fn drop_edges(&mut self, numbers: std::ops::Range<usize>) -> bool {
        let mut dropped = false;
        for number in numbers {
            if std::mem::replace(&mut self.kept[number], false) {
                self.outgoing[self.graph.edge(number).source] -= 1;
                dropped = true;
            }
        }
        dropped
    }

    /// Drops edges into what no kept edge leaves, and edges out of what no kept edge enters, until there are none: what is left leads
    /// from the input to the logits. The run of the circuit stays the same.
    pub fn prune(&mut self) {
        loop {
            let mut dropped = false;
            for destination in 0..self.graph.n_destinations() {
                let mut readers = self.graph.readers(destination);
                let is_dead = !readers.is_empty() && !readers.any(|reader| self.is_read(reader));
                if is_dead {
                    dropped |= self.drop_edges(self.graph.edges_into(destination));
                }
            }
            for source in 1..self.graph.n_sources() {
                if self.is_read(source) && !self.is_fed(source) {
                    for destination in 0..self.graph.n_destinations() {
                        if source < self.graph.sources_of(destination) {
                            let number = self.graph.edge_number(Edge { source, destination });
                            dropped |= self.drop_edges(number..number + 1);
                        }
                    }
                }
            }
            if !dropped {
                return;
            }
        }
    }

    /// Whether a kept edge enters what the source is computed from.
    pub(crate) fn is_fed(&self, source: usize) -> bool {
        let mut inputs = self.graph.inputs_of(source).into_iter();
        inputs.any(|destination| self.graph.edges_into(destination).any(|number| self.kept[number]))
    }

    /// Whether a kept edge leaves a source.
    pub fn is_read(&self, source: usize) -> bool {
        self.outgoing[source] > 0
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Whether the edge with a number is kept.
    pub fn keeps(&self, number: usize) -> bool {
        self.kept[number]
    }

    /// The kept edges.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + '_ {
        self.graph
            .edges()
            .zip(&self.kept)
            .filter_map(|(edge, &kept)| kept.then_some(edge))
    }

    /// Number of kept edges.
    pub fn len(&self) -> usize {
        self.outgoing.iter().sum()
    }

    /// Whether no edge is kept: its run is the corrupted one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sources that a kept edge leaves.
    pub fn sources(&self) -> BTreeSet<usize> {
        (0..self.outgoing.len())
            .filter(|&source| self.is_read(source))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
pub(crate) mod tests {
    use super::*;

    /// The numbers of edges that are given by their ends.
    pub(crate) fn numbers(graph: &Graph, edges: &[(&str, &str, Option<&str>)]) -> Vec<usize> {
        let number =
            |(from, to, slot): &(&str, &str, Option<&str>)| graph.edge_number(graph.find(from, to, *slot).unwrap());
        edges.iter().map(number).collect()
    }

    /// The edges of a circuit as they are written.
    pub(crate) fn names(circuit: &Circuit) -> Vec<String> {
        circuit.edges().map(|edge| circuit.graph().name(edge)).collect()
    }

    #[test]
    fn a_shared_key_lives_as_long_as_one_of_its_heads_is_read() {
        let graph = Graph::of(1, 4, 2, false);
        let edges = [
            ("input", "a0.kv0", Some("k")),
            ("input", "a0.kv1", Some("v")),
            ("a0.h1", "logits", None),
        ];
        let mut circuit = Circuit::new(graph.clone(), numbers(&graph, &edges));
        circuit.prune();
        assert_eq!(names(&circuit), ["input->a0.kv0<k>", "a0.h1->logits"]);
    }
}
