//! `saelab circuit draw`: a picture of a circuit.

use std::path::PathBuf;

use crate::{Outcome, Result};
use circuits::{CircuitFile, draw};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Circuit of `saelab circuit select`.
    pub circuit: PathBuf,
    /// SVG file to write, with a DOT file of the same name beside it; beside the circuit where none is named.
    pub out: Option<PathBuf>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self) -> Result<Outcome<()>> {
        let (_, circuit, scores) = CircuitFile::read(&self.circuit)?;
        let svg = self.out.unwrap_or_else(|| self.circuit.with_extension("svg"));
        let dot = svg.with_extension("dot");
        let (picture, graph) = (draw::svg(&circuit, &scores), draw::dot(&circuit, &scores));
        artifacts::write_atomic(&svg, |out| out.write_all(picture.as_bytes()))?;
        artifacts::write_atomic(&dot, |out| out.write_all(graph.as_bytes()))?;
        Ok(Outcome::new((), format!("{} and {}", svg.display(), dot.display())))
    }
}
