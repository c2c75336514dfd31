//! What two circuits have in common.

use serde::{Deserialize, Serialize};

use crate::Circuit;

/// Intersection over union; 1 of two circuits without any.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Of the nodes, without `input` and `logits`, which every circuit has.
    pub nodes: f64,
    /// Of the edges.
    pub edges: f64,
}

impl Overlap {
    /// Of two circuits of one graph.
    pub fn of(a: &Circuit, b: &Circuit) -> Self {
        let edges = 0..a.graph().n_edges();
        let nodes = 1..a.graph().n_sources();
        Self {
            nodes: share(nodes.map(|source| (a.is_read(source), b.is_read(source)))),
            edges: share(edges.map(|edge| (a.keeps(edge), b.keeps(edge)))),
        }
    }
}

fn share(members: impl Iterator<Item = (bool, bool)>) -> f64 {
    let (mut both, mut either) = (0_usize, 0_usize);
    for (a, b) in members {
        both += usize::from(a && b);
        either += usize::from(a || b);
    }
    if either == 0 { 1.0 } else { both as f64 / either as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;

    #[test]
    fn what_both_have_over_what_either_has() {
        let graph = Graph::of(2, 2, 2, false);
        let (a, b) = (
            Circuit::new(graph.clone(), [0, 1, 2, 3]),
            Circuit::new(graph.clone(), [2, 3, 4, 5, 6, 7]),
        );
        assert_eq!(Overlap::of(&a, &b).edges, 2.0 / 8.0);
        assert_eq!(Overlap::of(&a, &a), Overlap { nodes: 1.0, edges: 1.0 });
        let empty = Circuit::empty(graph);
        assert_eq!(Overlap::of(&a, &empty).edges, 0.0);
        assert_eq!(Overlap::of(&empty, &empty).edges, 1.0);
    }
}
