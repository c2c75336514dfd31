//! Scores that only know the weights, a control: the norm of the matrix that writes times that of the matrix that reads.

use lm::Model;

use crate::{Graph, Node, Slot};

/// For each edge the Frobenius norm of what its source writes with times that of what its destination reads with.
pub fn weight_norm_scores(model: &Model) -> Vec<f64> {
    let (graph, norms) = (Graph::new(model.spec()), model.weight_norms());
    let writes = |node: Node| match node {
        Node::Input => norms.embed,
        Node::Head { layer, head } => norms.blocks[layer].heads[head],
        Node::Mlp { layer } => norms.blocks[layer].mlp_out,
        Node::KeyValue { .. } | Node::Logits => unreachable!("{node} is no source"),
    };
    let reads = |node: Node, slot: Option<Slot>| match (node, slot) {
        (Node::Head { layer, head }, Some(Slot::Q)) => norms.blocks[layer].queries[head],
        (Node::Head { layer, head } | Node::KeyValue { layer, head }, Some(Slot::K)) => norms.blocks[layer].keys[head],
        (Node::Head { layer, head } | Node::KeyValue { layer, head }, Some(Slot::V)) => {
            norms.blocks[layer].values[head]
        }
        (Node::Mlp { layer }, _) => norms.blocks[layer].mlp_in,
        (Node::Logits, _) => norms.unembed,
        (node, _) => unreachable!("{node} is no destination"),
    };
    graph
        .edges()
        .map(|edge| {
            let destination = graph.destination(edge.destination);
            writes(graph.source(edge.source)) * reads(destination.node, destination.slot)
        })
        .collect()
}
