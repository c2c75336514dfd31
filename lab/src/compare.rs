//! `saelab compare`: dictionaries of several evaluations side by side, and which differences are real.

use std::path::{Path, PathBuf};

use eval::columns::read_resamples;
use eval::compare::{Evaluation, Pairing, compare};
use eval::metric::Test;
use eval::report::{REPORT, RESAMPLES};
use eval::{EditMethod, Metric, Report, table};
use pages::comparison::{self, Side};

use crate::{ConfigError, Outcome, Result};
use crate::{compare_spliced, run_folder};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folders of experiments; each holds report.json and resamples.parquet of `saelab eval`, or all hold splice.json of `saelab
    /// splice`.
    pub runs: Vec<PathBuf>,
    /// Metrics to compare, as they are named in report.json.
    pub metric: Vec<Metric>,
    /// How the latents of edits are found.
    pub method: EditMethod,
    /// Latents that an edit exchanges.
    pub k: usize,
    /// Compare with this dictionary only.
    pub against: Option<String>,
    /// Compare each dictionary with each; the default with a single run. The default with several runs is what differs between them.
    pub each: bool,
    /// File that receives everything as JSON.
    pub json: Option<PathBuf>,
    /// File that receives everything as a page.
    pub html: Option<PathBuf>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self) -> Result<Outcome<()>> {
        let repeated = (1..self.metric.len()).find(|&place| self.metric[..place].contains(&self.metric[place]));
        if let Some(place) = repeated {
            return Err(ConfigError(format!("--metric names {} twice", self.metric[place])).into());
        }
        let has_report = |run: &&PathBuf| run.join(REPORT).exists();
        if self
            .runs
            .iter()
            .all(|run| !has_report(&run) && run.join(compare_spliced::SPLICE).exists())
        {
            return compare_spliced::run(&self.runs, self.json.as_deref());
        }
        let runs = self.runs.iter().map(|run| read(run)).collect::<Result<Vec<_>, _>>()?;
        let of_edits = self.metric.iter().any(|metric| metric.test() == Test::Control);
        for run in runs.iter().filter(|_| of_edits) {
            let (ks, edits) = (&run.report.config.ks, &run.report.config.edits);
            if !ks.contains(&self.k) || !edits.contains(&self.method) {
                let edits: Vec<String> = edits.iter().map(ToString::to_string).collect();
                let reason = format!("{} has edits by {} with k of {ks:?}", run.name, edits.join(", "));
                return Err(ConfigError(format!("--method {} --k {}: {reason}", self.method, self.k)).into());
            }
        }
        let pairing = match &self.against {
            Some(name) => Pairing::Against(name),
            None if self.each || runs.len() == 1 => Pairing::Each,
            None => Pairing::Between,
        };
        let found = compare(&runs, &self.metric, self.method, self.k, pairing)?;
        if found.families.len() < 2 && found.identical.is_empty() {
            return Err(ConfigError("nothing to compare: give runs with at least two dictionaries".to_owned()).into());
        }
        if let Some(path) = &self.json {
            artifacts::write_json(path, &found)?;
        }
        if let Some(path) = &self.html {
            let side = |(evaluation, dir): (_, &PathBuf)| -> Result<Side<'_>> {
                let spliced = pages::run::spliced(dir)?;
                Ok(Side { evaluation, spliced })
            };
            let sides = runs.iter().zip(&self.runs).map(side).collect::<Result<Vec<_>, _>>()?;
            let page = comparison::page(&sides, &found, self.method, self.k)?;
            artifacts::write_atomic(path, |file| file.write_all(page.as_bytes()))?;
        }
        let table = table::compared(&found);
        let page = self.html.map(|path| format!("compare: the page is {}", path.display()));
        Ok(Outcome::new((), table).remark(page))
    }
}

/// A report with the resamples that were written with it.
///
/// # Errors
/// Files that cannot be read or do not belong together.
pub fn read(run: &Path) -> Result<Evaluation> {
    run_folder::check_evaluated(run)?;
    let report = Report::read(&run.join(REPORT))?;
    report.check_columns(run)?;
    Ok(Evaluation {
        name: run.display().to_string(),
        report,
        entries: read_resamples(&run.join(RESAMPLES))?,
    })
}
