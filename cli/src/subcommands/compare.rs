//! `saelab compare`: dictionaries of several evaluations side by side, and which differences are real.

use std::path::PathBuf;

use eval::EditMethod;
use eval::Metric;

use super::Context;
use crate::output;

/// Arguments of `saelab compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// Folders of experiments; each holds report.json and resamples.parquet of `saelab eval`, or all hold splice.json of `saelab
    /// splice`
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Metrics to compare, as named in report.json
    #[arg(long, value_delimiter = ',', default_value = "sufficiency,edit_accuracy,mcc")]
    metric: Vec<Metric>,
    /// How the latents of edits are found
    #[arg(long, default_value = "greedy")]
    method: EditMethod,
    /// Latents that an edit exchanges
    #[arg(long, default_value_t = 4)]
    k: usize,
    /// Compare with this dictionary only
    #[arg(long)]
    against: Option<String>,
    /// Compare every pair of dictionaries, the default for a single run; for several runs, the default compares what differs between them
    #[arg(long, conflicts_with = "against")]
    each: bool,
    /// JSON file to write, with all results
    #[arg(long)]
    json: Option<PathBuf>,
    /// HTML page to write, with all results
    #[arg(long)]
    html: Option<PathBuf>,
}

impl Compare {
    pub(crate) fn run(self, _context: &Context) -> anyhow::Result<()> {
        let settings = lab::compare::Settings {
            runs: self.runs,
            metric: self.metric,
            method: self.method,
            k: self.k,
            against: self.against,
            each: self.each,
            json: self.json,
            html: self.html,
        };
        output::outcome(&settings.run()?)
    }
}
