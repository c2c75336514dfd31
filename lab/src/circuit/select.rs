//! `saelab circuit select`: the edges of a circuit.

use std::path::PathBuf;

use crate::{ConfigError, Outcome, Result};
use circuits::{Circuit, CircuitFile, Graph, Ranking, Rule, ScoreFile, Selection};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of `saelab circuit score`.
    pub scores: PathBuf,
    /// Edges to choose, before pruning.
    pub edges: Option<usize>,
    /// Share of all edges to choose, before pruning.
    pub share: Option<f64>,
    /// greedy (from the logits backwards) or top-n (wherever they are).
    pub rule: Rule,
    /// Rank by the score with its sign, so that edges that hurt come last.
    pub signed: bool,
    /// Circuit to write; circuit.json in the folder of the scores where none is named.
    pub out: Option<PathBuf>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self) -> Result<Outcome<Circuit>> {
        let (file, graph, scores) = ScoreFile::read(&self.scores)?;
        let selection = Selection {
            edges: self.size(&graph)?,
            rule: self.rule,
            ranking: if self.signed {
                Ranking::Signed
            } else {
                Ranking::Absolute
            },
        };
        let circuit = Circuit::select(&graph, &scores, selection);
        let path = self.out.unwrap_or_else(|| self.scores.join("circuit.json"));
        CircuitFile::new(&circuit, &scores, &file, Some(selection)).write(&path)?;
        let sign = if self.signed { "signed" } else { "absolute" };
        let said = format!(
            "{} edges of {} chosen ({}, {sign}), {} left after pruning, out of {} nodes: {}",
            selection.edges,
            graph.n_edges(),
            selection.rule,
            circuit.len(),
            circuit.sources().len(),
            path.display()
        );
        Ok(Outcome::new(circuit, said))
    }

    fn size(&self, graph: &Graph) -> Result<usize, ConfigError> {
        match (self.edges, self.share) {
            (Some(edges), _) if edges <= graph.n_edges() => Ok(edges),
            (Some(edges), _) => Err(ConfigError(format!(
                "--edges {edges}: the graph has {}",
                graph.n_edges()
            ))),
            (None, Some(share)) if (0.0..=1.0).contains(&share) => Ok((share * graph.n_edges() as f64) as usize),
            (None, Some(share)) => Err(ConfigError(format!("--share {share}: give a number from 0 to 1"))),
            (None, None) => Err(ConfigError("give --edges or --share".to_owned())),
        }
    }
}
