//! `saelab status`: what of an experiment is done, running or failed, and what it cost.

use std::path::PathBuf;

use crate::output;

/// Arguments of `saelab status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Folder of an experiment, or of a store
    run: PathBuf,
    /// Print everything that is known about every unit, as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let settings = lab::status::Settings {
            run: self.run,
            json: self.json,
        };
        output::outcome(&settings.run()?)
    }
}
