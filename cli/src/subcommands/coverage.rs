//! `saelab coverage`: whether the intervals of few seeds hold the mean of many.

use std::path::PathBuf;

use eval::coverage::coverage;
use eval::evaluate::compared;

use lab::compare;
use report::{Cell, Group, Table};

use super::Context;
use crate::output;

/// Arguments of `saelab coverage`.
#[derive(Debug, clap::Args)]
pub(crate) struct CoverageArgs {
    /// Folder of an evaluated experiment with many seeds of one family
    run: PathBuf,
    /// Folder of an evaluation of the same dictionaries on other prompts (another `seed`)
    truth: PathBuf,
    /// Family of dictionaries
    #[arg(long, default_value = "sae-topk")]
    family: String,
    /// Seeds per draw
    #[arg(long, default_value_t = 3)]
    seeds: usize,
    /// Number of draws
    #[arg(long, default_value_t = 200)]
    trials: usize,
    /// JSON file to write, with all results
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
        let out = format!(
            "{} seeds of {} drawn {} times, {} at a time: share of 95 % intervals that hold the mean of the others (of a \
             difference from as many others: that hold 0)\n",
            seeds, self.family, self.trials, self.seeds
        );
        let columns = [
            ("single places", 13),
            ("width", 7),
            ("mean of places", 15),
            ("width", 7),
            ("difference", 11),
            ("width", 7),
        ];
        let columns = columns.map(|(heading, width)| Group::column(heading, width));
        let mut table = Table::new("score", 24, columns.to_vec());
        for of in found {
            let name = of.metric.to_string() + &of.k.map_or(String::new(), |k| format!(" k={k}"));
            let numbers = [
                of.share,
                of.width,
                of.share_of_means,
                of.width_of_means,
                of.share_of_differences,
                of.width_of_differences,
            ];
            table.push(name, numbers.map(|number| Cell::number(number, 3)).to_vec());
        }
        output::result(&(out + &table.text()))
    }
}
