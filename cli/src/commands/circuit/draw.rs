//! `saelab circuit draw`: a picture of a circuit.

use std::path::PathBuf;

use circuits::{CircuitFile, draw};

use crate::output;

/// Arguments of `saelab circuit draw`.
#[derive(Debug, clap::Args)]
pub(super) struct Draw {
    /// Circuit of `saelab circuit select`
    circuit: PathBuf,
    /// SVG file to write, with a DOT file of the same name beside it; beside the circuit where none is named
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Draw {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (_, circuit, scores) = CircuitFile::read(&self.circuit)?;
        let svg = self.out.unwrap_or_else(|| self.circuit.with_extension("svg"));
        let dot = svg.with_extension("dot");
        let (picture, graph) = (draw::svg(&circuit, &scores), draw::dot(&circuit, &scores));
        artifacts::write_atomic(&svg, |out| out.write_all(picture.as_bytes()))?;
        artifacts::write_atomic(&dot, |out| out.write_all(graph.as_bytes()))?;
        output::result(&format!("{} and {}", svg.display(), dot.display()))
    }
}
