//! How the edges of a circuit are chosen from scores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

use crate::{Circuit, Error, Graph};

/// How edges are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::EnumString)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Rule {
    /// From the logits backwards: the best edge into what is in the circuit, again and again.
    #[default]
    Greedy,
    /// The best edges, wherever they are.
    TopN,
}

/// Which of two scores is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ranking {
    /// The larger one without its sign: edges that hurt are taken too.
    #[default]
    Absolute,
    /// The larger one.
    Signed,
}

/// How many edges are chosen, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Edges before pruning.
    pub edges: usize,
    /// How they are chosen.
    pub rule: Rule,
    /// Which are better.
    pub ranking: Ranking,
}

/// An edge that can be chosen; the best is the greatest.
struct Candidate {
    rank: f64,
    number: usize,
}

impl Ord for Candidate {
    /// Of equal edges the first is better.
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.total_cmp(&other.rank).then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl Circuit {
    /// Chooses edges by their scores, in the order of the graph's edges, and prunes what is then not connected.
    ///
    /// # Panics
    ///
    /// When there is not one score for each edge, which is an error of the caller.
    pub fn select(graph: &Graph, scores: &[f64], selection: Selection) -> Self {
        assert_eq!(scores.len(), graph.n_edges(), "one score for each edge");
        let candidate = |number: usize| Candidate {
            rank: match selection.ranking {
                Ranking::Absolute => scores[number].abs(),
                Ranking::Signed => scores[number],
            },
            number,
        };
        let chosen = match selection.rule {
            Rule::TopN => {
                let mut all: Vec<Candidate> = (0..scores.len()).map(candidate).collect();
                all.sort_by(|a, b| b.cmp(a));
                all.truncate(selection.edges);
                all.into_iter().map(|candidate| candidate.number).collect()
            }
            Rule::Greedy => greedy(graph, selection.edges, candidate),
        };
        let mut circuit = Self::new(graph.clone(), chosen);
        circuit.prune();
        circuit
    }
}

/// Grows a circuit from the logits: the numbers of its edges.
fn greedy(graph: &Graph, edges: usize, candidate: impl Fn(usize) -> Candidate) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut reached = vec![false; graph.n_destinations()];
    let mut entered = vec![false; graph.n_sources()];
    let mut heap = BinaryHeap::new();
    let mut reach = |destination: usize, heap: &mut BinaryHeap<Candidate>| {
        if !std::mem::replace(&mut reached[destination], true) {
            heap.extend(graph.edges_into(destination).map(&candidate));
        }
    };
    reach(graph.n_destinations() - 1, &mut heap);
    while chosen.len() < edges
        && let Some(best) = heap.pop()
    {
        chosen.push(best.number);
        let source = graph.edge(best.number).source;
        if !std::mem::replace(&mut entered[source], true) {
            for destination in graph.inputs_of(source) {
                reach(destination, &mut heap);
            }
        }
    }
    chosen
}

fn unknown(name: &str) -> Error {
    Error::UnknownName {
        what: "rule",
        found: name.to_owned(),
        known: "use greedy or top-n".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::circuit::tests::{names, numbers};

    #[test]
    fn greedy_takes_no_edge_into_what_it_has_not_reached() {
        let graph = Graph::of(2, 2, 2, false);
        let mut scores = vec![0.0; graph.n_edges()];
        let path = [
            ("a1.h0", "logits", None),
            ("m0", "a1.h0", Some("k")),
            ("input", "m0", None),
        ];
        for (number, score) in numbers(&graph, &path).into_iter().zip([1.0, -2.0, 3.0]) {
            scores[number] = score;
        }
        let [elsewhere] = numbers(&graph, &[("input", "m1", None)])[..] else {
            unreachable!()
        };
        scores[elsewhere] = 10.0;
        let select = |edges, rule, ranking| {
            let circuit = Circuit::select(&graph, &scores, Selection { edges, rule, ranking });
            names(&circuit)
        };
        let whole = ["input->m0", "m0->a1.h0<k>", "a1.h0->logits"];
        assert_eq!(select(3, Rule::Greedy, Ranking::Absolute), whole);
        // Two of them do not lead to the input, so pruning leaves nothing; the best of all is pruned as a dead end.
        assert_eq!(select(2, Rule::Greedy, Ranking::Absolute), [""; 0]);
        assert_eq!(select(4, Rule::TopN, Ranking::Absolute), whole);
        assert_eq!(select(3, Rule::TopN, Ranking::Signed), [""; 0]);
    }

    #[test]
    fn selections_of_all_sizes_are_connected() {
        let graph = Graph::of(3, 3, 1, false);
        let mut state = 1_u64;
        let scores: Vec<f64> = (0..graph.n_edges())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as f64 / f64::from(1_u32 << 30) - 1.0
            })
            .collect();
        for rule in [Rule::Greedy, Rule::TopN] {
            for edges in 0..=graph.n_edges() {
                let ranking = Ranking::Absolute;
                let circuit = Circuit::select(&graph, &scores, Selection { edges, rule, ranking });
                assert!(circuit.len() <= edges);
                for edge in circuit.edges() {
                    assert!(edge.source == 0 || circuit.is_fed(edge.source));
                    let mut readers = graph.readers(edge.destination);
                    assert!(readers.is_empty() || readers.any(|reader| circuit.is_read(reader)));
                }
                assert_eq!(circuit.len() + circuit.complement().len(), graph.n_edges());
            }
        }
        let all = Selection {
            edges: graph.n_edges(),
            rule: Rule::Greedy,
            ranking: Ranking::Signed,
        };
        assert_eq!(Circuit::select(&graph, &scores, all), Circuit::full(graph));
    }
}
