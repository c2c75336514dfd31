//! `saelab coverage`: whether the intervals of few seeds hold the mean of many.

use std::fmt::Write as _;
use std::path::PathBuf;

use eval::coverage::coverage;
use eval::evaluate::compared;

use lab::compare;

use super::Context;
use crate::output;

/// Arguments of `saelab coverage`.
#[derive(Debug, clap::Args)]
pub(crate) struct CoverageArgs {
    /// Folder of an evaluated experiment with many seeds of one family
    run: PathBuf,
    /// Folder of an evaluation of the same dictionaries on other prompts (another `seed`)
    truth: PathBuf,
    /// The family
    #[arg(long, default_value = "sae-topk")]
    family: String,
    /// Seeds that are drawn at a time
    #[arg(long, default_value_t = 3)]
    seeds: usize,
    /// Draws
    #[arg(long, default_value_t = 200)]
    trials: usize,
    /// File that receives everything as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

impl CoverageArgs {
    pub(crate) fn run(self, _context: &Context) -> anyhow::Result<()> {
        let [run, truth] = [&self.run, &self.truth].map(|folder| compare::read(folder));
        let (run, truth) = (run?, truth?);
        let selections = compared(&run.report.config);
        let found = coverage(&run, &truth, (&self.family, self.seeds), &selections, self.trials)?;
        if let Some(path) = &self.json {
            artifacts::write_json(path, &found)?;
        }
        let seeds = eval::ledger::members(&run.report.dictionaries, &self.family).len();
        let mut out = format!(
            "{} seeds of {} drawn {} times, {} at a time: share of 95 % intervals that hold the mean of the others (of a \
             difference from as many others: that hold 0)\n",
            seeds, self.family, self.trials, self.seeds
        );
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:<24}{:>14}{:>8}{:>16}{:>8}{:>12}{:>8}",
            "score", "single places", "width", "mean of places", "width", "difference", "width"
        );
        for of in found {
            let name = of.metric.to_string() + &of.k.map_or(String::new(), |k| format!(" k={k}"));
            let _ = writeln!(
                out,
                "{name:<24}{:>14.3}{:>8.3}{:>16.3}{:>8.3}{:>12.3}{:>8.3}",
                of.share,
                of.width,
                of.share_of_means,
                of.width_of_means,
                of.share_of_differences,
                of.width_of_differences
            );
        }
        output::result(&out)
    }
}
