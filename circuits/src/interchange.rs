//! Graphs as EAP-IG's library and the MIB benchmark write them, with the score of every edge and whether it is kept: JSON, and `.pt`.

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
    let all: GraphJson = artifacts::read_json(path)?;
    let mut found = Found::new(path, spec, &all.cfg)?;
    for (name, edge) in &all.edges {
        let (source, destination) = name.split_once("->").ok_or_else(|| found.unknown(name))?;
        found.add(source, destination, edge.score, edge.in_graph)?;
    }
    Ok(found.finish())
}

/// Reads the same from what that library writes as `.pt`: a dictionary of `torch.save` with the names of sources and destinations, and
/// matrices of scores and of kept edges, a row a source. Scores of nodes and neurons are left.
///
/// # Errors
///
/// As for [`read_graph_json`]; matrices that do not fit the names.
pub fn read_graph_pt(path: &Path, spec: &Spec) -> Result<(Circuit, Vec<f64>), Error> {
    let (header, mut tensors): (HeaderPt, _) = dictionaries::read_torch(path)?;
    let mut found = Found::new(path, spec, &header.cfg)?;
    let shape = [header.src_nodes.len(), header.dst_nodes.len()];
    let [scores, kept] = ["edges_scores", "edges_in_graph"].map(|name| {
        let matrix = tensors.remove(name).filter(|matrix| matrix.shape == shape);
        matrix.ok_or_else(|| found.fail(format!("has no matrix `{name}` of shape {shape:?}, a row a source")))
    });
    let (scores, kept) = (scores?.data, kept?.data);
    for (row, source) in header.src_nodes.iter().enumerate() {
        for (column, destination) in header.dst_nodes.iter().enumerate() {
            let place = row * shape[1] + column;
            let (score, is_kept) = (f64::from(scores[place]), kept[place] != 0.0);
            // The matrices have places for what is no edge too.
            if score != 0.0 || is_kept {
                found.add(source, destination, score, is_kept)?;
            }
        }
    }
    Ok(found.finish())
}

/// What names the rows and columns of a `.pt` file.
#[derive(Debug, Deserialize)]
struct HeaderPt {
    cfg: Config,
    src_nodes: Vec<String>,
    dst_nodes: Vec<String>,
}

/// What was read so far.
struct Found<'a> {
    path: &'a Path,
    graph: Graph,
    scores: Vec<f64>,
    kept: Vec<usize>,
}

impl<'a> Found<'a> {
    fn new(path: &'a Path, spec: &Spec, config: &Config) -> Result<Self, Error> {
        let graph = Graph::new(spec);
        let found = Self {
            path,
            scores: vec![0.0; graph.n_edges()],
            graph,
            kept: Vec::new(),
        };
        let sizes = (
            config.n_layers,
            config.n_heads,
            config.parallel_attn_mlp,
            config.d_model,
        );
        let of_model = (spec.n_layer, spec.n_head, spec.parallel, spec.d_model);
        match sizes == of_model {
            true => Ok(found),
            false => Err(found
                .fail("is a graph of a model of another geometry: give the model that it was made with".to_owned())),
        }
    }

    /// Adds an edge from a node to another, or to a slot of it, as in `a8.h6<q>`.
    fn add(&mut self, source: &str, to: &str, score: f64, is_kept: bool) -> Result<(), Error> {
        let name = format!("{source}->{to}");
        let shared = self.graph.n_head() / self.graph.n_kv_head();
        let (node, slot) = match to.strip_suffix('>').and_then(|to| to.split_once('<')) {
            Some((node, slot)) => (node, Some(slot)),
            None => (to, None),
        };
        let node = match (node.parse()?, slot) {
            (Node::Head { layer, head }, Some("k" | "v")) if shared > 1 => Node::KeyValue {
                layer,
                head: head / shared,
            },
            (node, _) => node,
        };
        let found = self.graph.find(source, &node.to_string(), slot);
        let number = self.graph.edge_number(found.map_err(|_| self.unknown(&name))?);
        if !score.is_finite() {
            return Err(self.fail(format!("has no number as the score of \"{name}\"")));
        }
        self.scores[number] += score;
        if is_kept {
            self.kept.push(number);
        }
        Ok(())
    }

    fn finish(self) -> (Circuit, Vec<f64>) {
        (Circuit::new(self.graph, self.kept), self.scores)
    }

    fn unknown(&self, name: &str) -> Error {
        self.fail(format!("has an edge \"{name}\" that this model does not have"))
    }

    fn fail(&self, reason: String) -> Error {
        Error::File {
            path: self.path.to_owned(),
            reason,
        }
    }
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
