//! `saelab circuit draw`: a picture of a circuit.

use std::path::PathBuf;

use crate::output;

/// Arguments of `saelab circuit draw`.
#[derive(Debug, clap::Args)]
pub(super) struct Draw {
    /// Circuit written by `saelab circuit select`
    circuit: PathBuf,
    /// SVG file to write, with a DOT file of the same name beside it [default: beside the circuit]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Draw {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let settings = lab::circuit::draw::Settings {
            circuit: self.circuit,
            out: self.out,
        };
        output::outcome(&settings.run()?)
    }
}
