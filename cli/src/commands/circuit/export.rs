//! `saelab circuit export`: scores and a circuit as EAP-IG's library and the MIB benchmark read them.

use std::path::PathBuf;

use circuits::{Circuit, CircuitFile, ScoreFile, write_graph_json};

use super::super::{Context, run_folder};
use super::ModelArg;
use crate::output;

/// Arguments of `saelab circuit export`.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Folder of `saelab circuit score`
    scores: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Circuit whose edges are marked as kept; none where none is named
    #[arg(long)]
    circuit: Option<PathBuf>,
    /// JSON file to write
    #[arg(long)]
    out: PathBuf,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let (file, graph, scores) = ScoreFile::read(&self.scores)?;
        let (model, _) = run_folder::load_model(&self.model.model, self.model.weights.options(), &context.device)?;
        anyhow::ensure!(
            file.model == model.file_hash(),
            "{} has scores of another model: give the model that they were made with",
            self.scores.display()
        );
        let circuit = match &self.circuit {
            None => Circuit::empty(graph),
            Some(path) => {
                let (file, circuit, _) = CircuitFile::read(path)?;
                file.check_model(path, &model)?;
                circuit
            }
        };
        write_graph_json(&self.out, &circuit, &scores, model.spec().d_model)?;
        output::result(&format!(
            "{} edges, {} kept: {}",
            scores.len(),
            circuit.len(),
            self.out.display()
        ))
    }
}
