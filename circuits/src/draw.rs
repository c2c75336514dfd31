//! A circuit as a picture: DOT for Graphviz, and SVG.
//!
//! The logits are on top and the input is at the bottom, a row for the heads and a row for the MLP of every block. A line's width
//! is its score's share of the largest, queries are magenta, keys green, values blue and all else black; what hurts is dashed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::{Circuit, Edge, Node, Slot};

/// Width of the widest and of the thinnest line.
const WIDEST: f64 = 5.0;
const THINNEST: f64 = 0.6;

/// Nodes of a circuit, a head of shared keys among the heads that read it.
fn nodes(circuit: &Circuit) -> BTreeSet<Node> {
    let graph = circuit.graph();
    let ends = circuit
        .edges()
        .flat_map(|edge| [graph.source(edge.source), graph.destination(edge.destination).node]);
    ends.chain([Node::Input, Node::Logits]).collect()
}

fn colour(slot: Option<Slot>) -> &'static str {
    match slot {
        Some(Slot::Q) => "#c2189a",
        Some(Slot::K) => "#1a8f3c",
        Some(Slot::V) => "#1f5fd0",
        None => "#222222",
    }
}

/// How an edge is drawn: its width, and whether it hurts.
fn style(circuit: &Circuit, scores: &[f64]) -> impl Fn(Edge) -> (f64, bool) {
    let graph = circuit.graph().clone();
    let scores = scores.to_vec();
    let kept = circuit.edges().map(|edge| scores[graph.edge_number(edge)].abs());
    let largest = kept.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    move |edge| {
        let score = scores[graph.edge_number(edge)];
        ((WIDEST * score.abs() / largest).max(THINNEST), score < 0.0)
    }
}

/// A circuit for Graphviz; `scores` has one for each edge of the graph.
pub fn dot(circuit: &Circuit, scores: &[f64]) -> String {
    let (graph, style) = (circuit.graph(), style(circuit, scores));
    let mut out = String::from(
        "digraph circuit {\n  rankdir=BT;\n  node [shape=box, style=\"rounded,filled\", fillcolor=\"#f2f2f2\", fontname=\"sans-serif\"];\n",
    );
    for node in nodes(circuit) {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  \"{node}\";");
    }
    // What a head of shared keys and values is read for.
    for node in nodes(circuit) {
        if let Node::KeyValue { layer, head } = node {
            let shared = graph.n_head() / graph.n_kv_head();
            for of in head * shared..(head + 1) * shared {
                let reader = Node::Head { layer, head: of };
                if nodes(circuit).contains(&reader) {
                    let _ = writeln!(out, "  \"{node}\" -> \"{reader}\" [style=dotted, arrowhead=none];");
                }
            }
        }
    }
    for edge in circuit.edges() {
        let destination = graph.destination(edge.destination);
        let (width, hurts) = style(edge);
        let _ = writeln!(
            out,
            "  \"{}\" -> \"{}\" [color=\"{}\", penwidth={width:.2}{}];",
            graph.source(edge.source),
            destination.node,
            colour(destination.slot),
            if hurts { ", style=dashed" } else { "" }
        );
    }
    out + "}\n"
}

/// Height of a row and width of a column, in pixels.
const ROW: f64 = 64.0;
const COLUMN: f64 = 78.0;

/// A circuit as SVG.
pub fn svg(circuit: &Circuit, scores: &[f64]) -> String {
    let graph = circuit.graph();
    let row = |node: Node| match node {
        Node::Input => 0,
        Node::Head { layer, .. } | Node::KeyValue { layer, .. } => 1 + 2 * layer,
        Node::Mlp { layer } => 2 + 2 * layer,
        Node::Logits => 1 + 2 * graph.n_layer(),
    };
    let mut rows: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
    for node in nodes(circuit) {
        rows.entry(row(node)).or_default().push(node);
    }
    let most = rows.values().map(Vec::len).max().unwrap_or(1) as f64;
    let (width, height) = ((most + 1.0) * COLUMN, (rows.len() as f64 + 0.5) * ROW);
    let mut places: BTreeMap<Node, (f64, f64)> = BTreeMap::new();
    for (place, nodes) in rows.values().enumerate() {
        let y = height - (place as f64 + 0.75) * ROW;
        for (column, &node) in nodes.iter().enumerate() {
            let x = width / 2.0 + (column as f64 - (nodes.len() as f64 - 1.0) / 2.0) * COLUMN;
            places.insert(node, (x, y));
        }
    }
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let style = style(circuit, scores);
    for edge in circuit.edges() {
        let destination = graph.destination(edge.destination);
        let ((x1, y1), (x2, y2)) = (places[&graph.source(edge.source)], places[&destination.node]);
        let aside = match destination.slot {
            Some(Slot::Q) => -12.0,
            Some(Slot::V) => 12.0,
            Some(Slot::K) | None => 0.0,
        };
        let (width, hurts) = style(edge);
        let middle = (y1 + y2) / 2.0;
        let _ = writeln!(
            out,
            "<path d=\"M{x1:.0} {:.0} C{x1:.0} {middle:.0} {:.0} {middle:.0} {:.0} {:.0}\" fill=\"none\" stroke=\"{}\" \
             stroke-opacity=\"0.7\" stroke-width=\"{width:.2}\"{}><title>{} {:.4}</title></path>",
            y1 - 13.0,
            x2 + aside,
            x2 + aside,
            y2 + 13.0,
            colour(destination.slot),
            if hurts { " stroke-dasharray=\"5 3\"" } else { "" },
            graph.name(edge).replace('<', "&lt;").replace('>', "&gt;"),
            scores[graph.edge_number(edge)],
        );
    }
    for (node, (x, y)) in &places {
        let _ = writeln!(
            out,
            "<rect x=\"{:.0}\" y=\"{:.0}\" width=\"60\" height=\"26\" rx=\"7\" fill=\"#f2f2f2\" stroke=\"#888\"/>\n<text x=\"{x:.0}\" \
             y=\"{:.0}\" text-anchor=\"middle\">{node}</text>",
            x - 30.0,
            y - 13.0,
            y + 4.5
        );
    }
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Graph;

    #[test]
    fn every_node_and_edge_is_drawn() {
        let graph = Graph::of(2, 4, 2, false);
        let scores: Vec<f64> = (0..graph.n_edges()).map(|number| number as f64 - 20.0).collect();
        let circuit = Circuit::full(graph.clone());
        let (dot, svg) = (dot(&circuit, &scores), svg(&circuit, &scores));
        assert_eq!(dot.matches("penwidth").count(), graph.n_edges());
        assert_eq!(svg.matches("<path").count(), graph.n_edges());
        for name in ["input", "a1.h3", "a0.kv1", "m1", "logits"] {
            assert!(
                dot.contains(&format!("\"{name}\";")) && svg.contains(&format!(">{name}</text>")),
                "{name}"
            );
        }
        assert_eq!(dot.matches("dashed").count(), 20, "edges that hurt");
    }
}
