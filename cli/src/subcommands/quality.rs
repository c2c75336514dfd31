//! `saelab quality`: one Markdown table from what `splice`, `truth` and `eval` found, seeds taken together.

use std::path::PathBuf;

use super::Context;
use crate::output;

/// Arguments of `saelab quality`.
#[derive(Debug, clap::Args)]
pub(crate) struct Quality {
    /// Folder of the experiment; holds splice.json, truth.json and report.json
    run: PathBuf,
    /// SVG file to write: control against approximation
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Numbers of latents exchanged by the edits that are shown, one column each; the picture shows the first
    #[arg(long, value_delimiter = ',', default_value = "4,8,12")]
    k: Vec<usize>,
}

impl Quality {
    pub(crate) fn run(self, _context: &Context) -> anyhow::Result<()> {
        let settings = lab::quality::Settings {
            run: self.run,
            picture: self.picture,
            k: self.k,
        };
        output::outcome(&settings.run()?)
    }
}
