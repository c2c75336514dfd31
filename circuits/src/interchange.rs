//! Graphs as EAP-IG's library and the MIB benchmark write them: JSON with every node and edge, its score and whether it is kept.

use std::collections::BTreeMap;
use std::path::Path;

use lm::Spec;
use serde::{Deserialize, Serialize};

use crate::{Circuit, Error, Graph, Node};

#[derive(Debug, Serialize, Deserialize)]
struct GraphJson {
    cfg: Config,
    nodes: BTreeMap<String, NodeJson>,
    edges: BTreeMap<String, EdgeJson>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Config {
    n_layers: usize,
    n_heads: usize,
    parallel_attn_mlp: bool,
    d_model: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct NodeJson {
    in_graph: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct EdgeJson {
    score: f64,
    in_graph: bool,
}

/// Writes the scores of all edges, and which edges a circuit keeps.
///
/// That library gives every head keys and values of its own. Where heads share them here, each of the edges there has an equal share
/// of the score, and is kept when the edge here is.
///
/// # Errors
///
/// A path that cannot be written to.
pub fn write_graph_json(path: &Path, circuit: &Circuit, scores: &[f64], d_model: usize) -> Result<(), Error> {
    let graph = circuit.graph();
    let used = circuit.sources();
    let node = |source: usize| {
        let in_graph = used.contains(&source);
        (graph.source(source).to_string(), NodeJson { in_graph })
    };
    let mut nodes: BTreeMap<String, NodeJson> = (0..graph.n_sources()).map(node).collect();
    nodes.insert(Node::Logits.to_string(), NodeJson { in_graph: true });
    let mut edges = BTreeMap::new();
    for (number, edge) in graph.edges().enumerate() {
        let destination = graph.destination(edge.destination);
        let readers: Vec<String> = match destination.node {
            Node::KeyValue { .. } => graph
                .readers(edge.destination)
                .map(|reader| graph.source(reader).to_string())
                .collect(),
            node => vec![node.to_string()],
        };
        for reader in &readers {
            let slot = destination.slot.map_or_else(String::new, |slot| format!("<{slot}>"));
            let name = format!("{}->{reader}{slot}", graph.source(edge.source));
            edges.insert(
                name,
                EdgeJson {
                    score: scores[number] / readers.len() as f64,
                    in_graph: circuit.keeps(number),
                },
            );
        }
    }
    let all = GraphJson {
        cfg: Config {
            n_layers: graph.n_layer(),
            n_heads: graph.n_head(),
            parallel_attn_mlp: graph.parallel(),
            d_model,
        },
        nodes,
        edges,
    };
    Ok(artifacts::write_json(path, &all)?)
}

/// Reads such a file as a graph of a model: the score of every edge, and the edges that are kept. Of shared keys and values the scores
/// add up, and an edge is kept when one of its heads keeps it.
///
/// # Errors
///
/// A file that is missing or damaged, of another geometry, or with an edge that the model does not have; a score that is not a number.
pub fn read_graph_json(path: &Path, spec: &Spec) -> Result<(Circuit, Vec<f64>), Error> {
    let fail = |reason: String| Error::File {
        path: path.to_owned(),
        reason,
    };
    let all: GraphJson = artifacts::read_json(path)?;
    let graph = Graph::new(spec);
    let fits = (
        all.cfg.n_layers,
        all.cfg.n_heads,
        all.cfg.parallel_attn_mlp,
        all.cfg.d_model,
    ) == (graph.n_layer(), graph.n_head(), graph.parallel(), spec.d_model);
    if !fits {
        return Err(fail(
            "is a graph of a model of another geometry: give the model that it was made with".to_owned(),
        ));
    }
    let shared = graph.n_head() / graph.n_kv_head();
    let mut scores = vec![0.0; graph.n_edges()];
    let mut kept = Vec::new();
    for (name, edge) in all.edges {
        let unknown = || fail(format!("has an edge \"{name}\" that this model does not have"));
        let (source, to) = name.split_once("->").ok_or_else(unknown)?;
        let (node, slot) = match to.strip_suffix('>').and_then(|to| to.split_once('<')) {
            Some((node, slot)) => (node, Some(slot)),
            None => (to, None),
        };
        let node: Node = node.parse()?;
        let node = match (node, slot) {
            (Node::Head { layer, head }, Some("k" | "v")) if shared > 1 => Node::KeyValue {
                layer,
                head: head / shared,
            },
            (node, _) => node,
        };
        let found = graph.find(source, &node.to_string(), slot).map_err(|_| unknown())?;
        if !edge.score.is_finite() {
            return Err(fail(format!("has no number as the score of \"{name}\"")));
        }
        let number = graph.edge_number(found);
        scores[number] += edge.score;
        if edge.in_graph {
            kept.push(number);
        }
    }
    Ok((Circuit::new(graph, kept), scores))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn graphs_come_back_as_they_were_written() {
        let mut spec = Spec::gpt2(2, 4, 16, 8, 11);
        for shared in [4, 2] {
            spec.n_kv_head = shared;
            let graph = Graph::new(&spec);
            let scores: Vec<f64> = (0..graph.n_edges()).map(|number| number as f64 - 7.0).collect();
            let circuit = Circuit::new(graph.clone(), (0..graph.n_edges()).step_by(3));
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("graph.json");
            write_graph_json(&path, &circuit, &scores, spec.d_model).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains("input->a1.h3<k>") && text.contains("\"n_layers\""));
            assert_eq!(read_graph_json(&path, &spec).unwrap(), (circuit, scores));
            // As many edges as that library has, with keys of their own.
            assert_eq!(text.matches("->").count(), Graph::of(2, 4, 4, false).n_edges());

            std::fs::write(&path, text.replace("input->a1.h3<q>", "m1->a1.h3<q>")).unwrap();
            let error = read_graph_json(&path, &spec).unwrap_err().to_string();
            assert!(error.contains("m1->a1.h3<q>"), "{error}");
            std::fs::write(&path, text.replace("\"n_heads\": 4", "\"n_heads\": 5")).unwrap();
            assert!(
                read_graph_json(&path, &spec)
                    .unwrap_err()
                    .to_string()
                    .contains("geometry")
            );
        }
    }
}
