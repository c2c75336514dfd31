//! A circuit on one prompt as the attribution graph that the page of circuit-tracer shows.
//!
//! The input is a node for each token, with the share of its edges' scores that the position carries; a head or an MLP is a node at the
//! last position, named by its label, since the page knows no nodes without a position; the right answers are the logits. A key or
//! value that heads share leads to each of them with an equal share.

use std::path::Path;

use serde_json::{Value, json};

use crate::finer::EdgeParts;
use crate::{Circuit, Error, Node};

/// A prompt, as the page shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownPrompt<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// The text of each.
    pub texts: &'a [String],
    /// Answers: id, text and probability of each.
    pub answers: &'a [(u32, String, f64)],
}

/// Writes the graph of `circuit` into `folder`: `SLUG.json`, and `graph-metadata.json`, which lists it.
///
/// `scores` has one for each edge of the graph; `of_input` are the edges out of the input that the circuit keeps, by position from the
/// last one backwards ([`crate::finer::positions`] of this prompt).
///
/// # Errors
///
/// A folder that cannot be written to.
pub fn write_attribution_graph(
    folder: &Path,
    slug: &str,
    model: &str,
    circuit: &Circuit,
    scores: &[f64],
    prompt: &ShownPrompt<'_>,
    of_input: &[EdgeParts],
) -> Result<(), Error> {
    let metadata = json!({
        "slug": slug,
        "scan": model,
        "transcoder_list": [],
        "prompt_tokens": prompt.texts,
        "prompt": prompt.texts.concat(),
        "node_threshold": 1.0,
        "schema_version": 1,
    });
    let (nodes, links) = (nodes(circuit, scores, prompt), links(circuit, scores, prompt, of_input));
    let graph = json!({
        "metadata": metadata,
        "qParams": {"pinnedIds": [], "supernodes": [], "linkType": "both", "clickedId": "", "sg_pos": ""},
        "nodes": nodes,
        "links": links,
    });
    artifacts::write_json(&folder.join(format!("{slug}.json")), &graph)?;
    Ok(artifacts::write_json(
        &folder.join("graph-metadata.json"),
        &json!({"graphs": [metadata]}),
    )?)
}

/// Identifiers of a node of the circuit: of the input one for each token, of the logits one for each answer.
fn ids(circuit: &Circuit, node: Node, prompt: &ShownPrompt<'_>) -> Vec<String> {
    let last = prompt.ids.len().saturating_sub(1);
    match node {
        Node::Input => prompt
            .ids
            .iter()
            .enumerate()
            .map(|(place, id)| format!("E_{id}_{place}"))
            .collect(),
        Node::Head { layer, head } | Node::KeyValue { layer, head } => vec![format!("{layer}_{head}_{last}")],
        Node::Mlp { layer } => vec![format!("{layer}_{}_{last}", circuit.graph().n_head())],
        Node::Logits => {
            let layer = circuit.graph().n_layer() + 1;
            prompt
                .answers
                .iter()
                .map(|(id, ..)| format!("{layer}_{id}_{last}"))
                .collect()
        }
    }
}

fn nodes(circuit: &Circuit, scores: &[f64], prompt: &ShownPrompt<'_>) -> Vec<Value> {
    let graph = circuit.graph();
    let last = prompt.ids.len().saturating_sub(1);
    // What leaves a source, as a share of what leaves all.
    let mut leaves = vec![0.0; graph.n_sources()];
    for edge in circuit.edges() {
        leaves[edge.source] += scores[graph.edge_number(edge)].abs();
    }
    let all = leaves.iter().sum::<f64>().max(f64::MIN_POSITIVE);
    let mut nodes = Vec::new();
    for (place, (id, name)) in prompt.ids.iter().zip(ids(circuit, Node::Input, prompt)).enumerate() {
        nodes.push(json!({
            "node_id": name, "jsNodeId": format!("E_{id}-{place}"), "feature": place, "layer": "E", "ctx_idx": place,
            "feature_type": "embedding", "token_prob": 0.0, "is_target_logit": false, "run_idx": 0, "reverse_ctx_idx": 0,
            "clerp": prompt.texts.get(place), "influence": leaves[0] / all / prompt.ids.len() as f64, "activation": null,
        }));
    }
    for source in circuit.sources().into_iter().filter(|&source| source > 0) {
        let node = graph.source(source);
        let (layer, index) = match node {
            Node::Head { layer, head } => (layer, head),
            Node::Mlp { layer } => (layer, graph.n_head()),
            Node::Input | Node::KeyValue { .. } | Node::Logits => continue,
        };
        nodes.push(json!({
            "node_id": format!("{layer}_{index}_{last}"), "jsNodeId": format!("{layer}_{index}-0"), "feature": source,
            "layer": layer.to_string(), "ctx_idx": last, "feature_type": "cross layer transcoder", "token_prob": 0.0,
            "is_target_logit": false, "run_idx": 0, "reverse_ctx_idx": 0, "clerp": node.to_string(),
            "influence": leaves[source] / all, "activation": null,
        }));
    }
    for (place, ((id, text, probability), name)) in prompt
        .answers
        .iter()
        .zip(ids(circuit, Node::Logits, prompt))
        .enumerate()
    {
        nodes.push(json!({
            "node_id": name, "jsNodeId": format!("L_{id}-{last}"), "feature": id, "layer": (graph.n_layer() + 1).to_string(),
            "ctx_idx": last, "feature_type": "logit", "token_prob": probability, "is_target_logit": place == 0, "run_idx": 0,
            "reverse_ctx_idx": 0, "clerp": format!("Output \"{text}\" (p={probability:.3})"), "influence": null,
            "activation": null,
        }));
    }
    nodes
}

fn links(circuit: &Circuit, scores: &[f64], prompt: &ShownPrompt<'_>, of_input: &[EdgeParts]) -> Vec<Value> {
    let graph = circuit.graph();
    let mut links = Vec::new();
    for edge in circuit.edges() {
        let destination = graph.destination(edge.destination);
        let readers: Vec<Node> = match destination.node {
            Node::Logits => vec![Node::Logits],
            _ => graph
                .readers(edge.destination)
                .filter(|&reader| circuit.is_read(reader))
                .map(|reader| graph.source(reader))
                .collect(),
        };
        let targets: Vec<String> = readers
            .into_iter()
            .flat_map(|node| ids(circuit, node, prompt))
            .collect();
        let sources = ids(circuit, graph.source(edge.source), prompt);
        let parts = of_input.iter().find(|parts| parts.edge == edge);
        for (place, source) in sources.iter().enumerate() {
            let weight = match parts {
                // Parts go from the last position backwards.
                Some(parts) => parts.parts.get(sources.len() - 1 - place).copied().unwrap_or(0.0),
                None => scores[graph.edge_number(edge)] / sources.len() as f64,
            };
            for target in &targets {
                links.push(json!({"source": source, "target": target, "weight": weight / targets.len() as f64}));
            }
        }
    }
    links
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::Graph;

    #[test]
    fn every_link_is_between_nodes_and_scores_are_kept() {
        let graph = Graph::of(2, 4, 2, false);
        let circuit = Circuit::full(graph.clone());
        let scores: Vec<f64> = (0..graph.n_edges()).map(|edge| edge as f64 - 9.0).collect();
        let texts = ["a".to_owned(), " b".to_owned(), " c".to_owned()];
        let prompt = ShownPrompt {
            ids: &[5, 6, 5],
            texts: &texts,
            answers: &[(7, " d".to_owned(), 0.25)],
        };
        let folder = tempfile::tempdir().unwrap();
        write_attribution_graph(folder.path(), "test", "model", &circuit, &scores, &prompt, &[]).unwrap();
        let read = |name: &str| -> Value {
            serde_json::from_slice(&std::fs::read(folder.path().join(name)).unwrap()).unwrap()
        };
        let written = read("test.json");
        let ids: BTreeSet<&str> = written["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|node| node["node_id"].as_str())
            .collect();
        assert_eq!(ids.len(), 3 + graph.n_sources() - 1 + 1);
        let links = written["links"].as_array().unwrap();
        for link in links {
            assert!(ids.contains(link["source"].as_str().unwrap()) && ids.contains(link["target"].as_str().unwrap()));
        }
        let sum: f64 = links.iter().filter_map(|link| link["weight"].as_f64()).sum();
        assert!((sum - scores.iter().sum::<f64>()).abs() < 1e-9);
        assert_eq!(read("graph-metadata.json")["graphs"][0]["slug"], "test");
    }
}
