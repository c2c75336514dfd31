//! `saelab quality`: one Markdown table from what `splice`, `truth` and `eval` found, seeds taken together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eval::ledger::Selection;
use eval::report::REPORT;
use eval::{EditMethod, Metric, Report, Score};
use report::{Cell, Group, Table};

use crate::picture::{self, Series};
use crate::same_dictionaries;
use crate::splice::{self, Spliced};
use crate::truth::{Scored, TruthFile};
use crate::{ConfigError, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the experiment; holds splice.json, truth.json and report.json.
    pub run: PathBuf,
    /// SVG file to draw: control against approximation.
    pub picture: Option<PathBuf>,
    /// Latents exchanged by the edits that are shown, a column each; the picture shows the first.
    pub k: Vec<usize>,
}

/// A column: its heading, and the value of one dictionary.
type Column<'a> = (String, Box<dyn Fn(&str) -> Option<f64> + 'a>);

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self) -> Result<Outcome<()>> {
        let spliced = splice::read(&self.run.join("splice.json"))?;
        let report = Report::read(&self.run.join(REPORT))?;
        let truth = TruthFile::read(&self.run.join("truth.json"))?.scored;
        report.check_columns(&self.run)?;
        same_dictionaries::check(&self.run, &report, &spliced, &truth)?;
        let ks = &report.config.ks;
        if let Some(k) = self.k.iter().find(|k| !ks.contains(k)) {
            let reason = format!("--k {k}: {} has edits with k of {ks:?}", self.run.display());
            return Err(ConfigError(reason).into());
        }
        if let Some(place) = (1..self.k.len()).find(|&place| self.k[..place].contains(&self.k[place])) {
            return Err(ConfigError(format!("--k names {} twice", self.k[place])).into());
        }
        if let (Some(path), Some(&k)) = (&self.picture, self.k.first()) {
            let (x, y) = (
                "variance unexplained on held-out text",
                format!("edit accuracy, k = {k}"),
            );
            picture::scatter(path, x, &y, &series(&spliced, &report.scores, k))?;
        }
        Ok(Outcome::new((), table(&spliced, &truth, &report.scores, &self.k)))
    }
}

/// A metric; of edits those by the greedy search.
fn selection(metric: Metric, k: Option<usize>) -> Selection {
    let method = Some(EditMethod::Greedy);
    Selection { metric, method, k }
}

/// A point a dictionary, a series an architecture.
fn series(spliced: &[Spliced], scores: &[Score], k: usize) -> Vec<Series> {
    let mut by_architecture: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in spliced {
        let edits = scores.iter().filter(|score| {
            score.dictionary == row.dictionary && selection(Metric::EditAccuracy, Some(k)).takes(score)
        });
        let fvu = row.summary.and_then(|summary| summary.fvu);
        if let (Some(fvu), Some(edit)) = (fvu, mean(edits.map(|score| score.value))) {
            by_architecture.entry(&row.architecture).or_default().push((fvu, edit));
        }
    }
    let series = |(name, points): (&str, _)| Series {
        name: name.to_owned(),
        points,
    };
    by_architecture.into_iter().map(series).collect()
}

fn table(spliced: &[Spliced], truth: &[Scored], scores: &[Score], ks: &[usize]) -> String {
    let of_text = |value: fn(&Spliced) -> Option<f64>| {
        move |name: &str| mean(spliced.iter().filter(|row| row.dictionary == name).map(value))
    };
    let of_task = |metric: Metric, k: Option<usize>| {
        move |name: &str| {
            let fitting = scores
                .iter()
                .filter(|score| score.dictionary == name && selection(metric, k).takes(score));
            mean(fitting.map(|score| score.value))
        }
    };
    let of_world = |name: &str| {
        let fitting = truth.iter().filter(|row| row.dictionary == name);
        mean(fitting.map(|row| row.truth.families.get("all").map(|family| family.mcc)))
    };
    let mut columns: Vec<Column<'_>> = vec![
        ("L0".to_owned(), Box::new(of_text(|row| Some(row.summary?.l0)))),
        ("FVU".to_owned(), Box::new(of_text(|row| row.summary?.fvu))),
        (
            "FVU per token".to_owned(),
            Box::new(of_text(|row| row.summary?.fvu_per_token)),
        ),
        (
            "CE recovered".to_owned(),
            Box::new(of_text(|row| row.recovered_from_zero)),
        ),
        ("dead".to_owned(), Box::new(of_text(|row| Some(row.summary?.dead)))),
        ("dense".to_owned(), Box::new(of_text(|row| Some(row.fidelity.dense)))),
        ("L0 at the node".to_owned(), Box::new(of_task(Metric::L0, None))),
        ("FVU at the node".to_owned(), Box::new(of_task(Metric::Fvu, None))),
        ("alive at the node".to_owned(), Box::new(of_task(Metric::Alive, None))),
        ("sufficiency".to_owned(), Box::new(of_task(Metric::Sufficiency, None))),
    ];
    for &k in ks {
        columns.push((format!("edit k={k}"), Box::new(of_task(Metric::EditAccuracy, Some(k)))));
    }
    columns.push(("F1".to_owned(), Box::new(of_task(Metric::F1, None))));
    columns.push(("world MCC".to_owned(), Box::new(of_world)));
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in spliced {
        let members = groups.entry(without_seed(&row.dictionary)).or_default();
        if !members.contains(&row.dictionary.as_str()) {
            members.push(&row.dictionary);
        }
    }
    // What stands beside them at the node: random rows of their width, which are its chance level, and complete bases.
    for score in scores.iter().filter(|score| score.metric == Metric::L0) {
        let members = groups.entry(without_seed(&score.dictionary)).or_default();
        if !members.contains(&score.dictionary.as_str()) {
            members.push(&score.dictionary);
        }
    }
    let headings = columns.iter().map(|(heading, _)| heading.as_str());
    let mut table = Table::new(
        "dictionary",
        0,
        vec![Group::new("", 0, std::iter::once("seeds").chain(headings))],
    );
    for (group, names) in groups {
        let is_marked = |row: &&Spliced| names.contains(&row.dictionary.as_str()) && is_of_trained_rows(row);
        let mark = if spliced.iter().any(|row| is_marked(&row)) {
            "*"
        } else {
            ""
        };
        let values = columns.iter().map(|(_, column)| {
            let values: Vec<f64> = names.iter().filter_map(|name| column(name)).collect();
            Cell::text(cell(&values))
        });
        let cells = std::iter::once(Cell::Count(names.len())).chain(values).collect();
        table.push(format!("{group}{mark}"), cells);
    }
    let mut out = table.markdown();
    if spliced.iter().any(is_of_trained_rows) {
        out += "\n*: FVU, L0 and dead latents are those of its training rows, because no rows were held out\n";
    }
    out
}

/// Whether the figures of its training are not of held-out rows.
fn is_of_trained_rows(row: &Spliced) -> bool {
    row.summary.is_some_and(|summary| !summary.held_out)
}

/// Mean and half the range of some values.
fn cell(values: &[f64]) -> String {
    let Some(middle) = mean(values.iter().map(|value| Some(*value))) else {
        return "-".to_owned();
    };
    let (low, high) = values
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| {
            (low.min(x), high.max(x))
        });
    let digits = if middle >= 2.0 { 1 } else { 3 };
    match values.len() {
        1 => format!("{middle:.digits$}"),
        _ => format!("{middle:.digits$} ± {:.digits$}", (high - low) / 2.0),
    }
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.flatten().collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The name without `-seed<n>`, which `train` appends for a list of seeds, or `-draw<n>` of a baseline.
pub(super) fn without_seed(name: &str) -> &str {
    for mark in ["-seed", "-draw"] {
        match name.rsplit_once(mark) {
            Some((base, seed)) if !seed.is_empty() && seed.bytes().all(|byte| byte.is_ascii_digit()) => return base,
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_taken_together() {
        assert_eq!(without_seed("sae-topk-k8-seed12"), "sae-topk-k8");
        assert_eq!(without_seed("sae-topk-k8"), "sae-topk-k8");
        assert_eq!(without_seed("my-seedling"), "my-seedling");
        assert_eq!(without_seed("random-draw3"), "random");
        assert_eq!(cell(&[0.5, 0.7]), "0.600 ± 0.100");
        assert_eq!((cell(&[8.0]).as_str(), cell(&[]).as_str()), ("8.0", "-"));
    }
}
