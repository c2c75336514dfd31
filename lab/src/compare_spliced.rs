//! `saelab compare` for runs without a task: what `saelab splice` measured on running text, run beside run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::splice::{self, Spliced};
use crate::{Outcome, Result};

/// The file that `saelab splice` writes.
pub(super) const SPLICE: &str = "splice.json";

/// What the runs have of one dictionary at one site.
#[derive(Debug, Serialize)]
struct Row<'a> {
    site: &'a str,
    dictionary: &'a str,
    /// Whether several runs have it, all with the same files.
    identical: bool,
    runs: Vec<(&'a str, &'a Spliced)>,
}

/// Prints the runs side by side, and writes them as JSON where a file is named.
///
/// # Errors
/// A file that cannot be read; runs of another model or another text.
pub(super) fn run(runs: &[PathBuf], json: Option<&Path>) -> Result<Outcome<()>> {
    let mut found = Vec::new();
    for run in runs {
        found.push((run.display().to_string(), splice::read(&run.join(SPLICE))?));
    }
    let named: Vec<(&str, &[Spliced])> = found
        .iter()
        .map(|(name, all)| (name.as_str(), all.as_slice()))
        .collect();
    check(&named)?;
    let rows = rows(&named);
    if let Some(path) = json {
        artifacts::write_json(path, &rows)?;
    }
    Ok(Outcome::new((), table(&rows)))
}

/// Refuses runs whose figures are not of one model on one text.
fn check(runs: &[(&str, &[Spliced])]) -> Result<()> {
    let about = |file: &[Spliced]| {
        let first = file.first()?;
        Some((first.model.clone(), first.tokens, first.ce_clean))
    };
    let mut known = runs.iter().filter_map(|(name, file)| Some((*name, about(file)?)));
    let Some((first, of_first)) = known.next() else {
        return Ok(());
    };
    for (other, of_other) in known {
        ensure!(
            of_first.0 == of_other.0,
            "{first} and {other} cannot be compared: they were spliced into other models ({:.12} and {:.12})",
            of_first.0,
            of_other.0
        );
        ensure!(
            of_first == of_other,
            "{first} and {other} cannot be compared: they were spliced into other texts ({} tokens with a cross-entropy of {}, and \
             {} with {}); run `saelab splice` with one config for both",
            of_first.1,
            of_first.2,
            of_other.1,
            of_other.2
        );
    }
    Ok(())
}

/// All dictionaries, by site and name.
fn rows<'a>(runs: &[(&'a str, &'a [Spliced])]) -> Vec<Row<'a>> {
    let mut by_place: BTreeMap<(&str, &str), Vec<(&str, &Spliced)>> = BTreeMap::new();
    for &(name, file) in runs {
        for spliced in file {
            let place = (spliced.site.as_str(), spliced.dictionary.as_str());
            by_place.entry(place).or_default().push((name, spliced));
        }
    }
    let of_place = |((site, dictionary), runs): ((&'a str, &'a str), Vec<(&'a str, &'a Spliced)>)| Row {
        site,
        dictionary,
        identical: runs.len() > 1 && runs.windows(2).all(|pair| pair[0].1.identity == pair[1].1.identity),
        runs,
    };
    by_place.into_iter().map(of_place).collect()
}

fn table(rows: &[Row<'_>]) -> String {
    let mut out = String::new();
    let names = || rows.iter().flat_map(|row| row.runs.iter().map(|(run, _)| run.len()));
    let dictionaries = rows.iter().map(|row| row.dictionary.len());
    let (wide, width) = (
        names().max().unwrap_or(0).max(4),
        dictionaries.max().unwrap_or(0).max(10),
    );
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.4}"));
    let mut site = "";
    // Writing to a string cannot fail.
    for row in rows {
        let Some((_, first)) = row.runs.first() else {
            continue;
        };
        if row.site != site {
            let gap = if site.is_empty() { "" } else { "\n" };
            site = row.site;
            let _ = writeln!(
                out,
                "{gap}{site}: {} tokens, cross-entropy {:.4} nats with the model untouched\n{:<width$}  {:<wide$} {:>8} {:>8} {:>8} {:>8}",
                first.tokens, first.ce_clean, "dictionary", "run", "FVU", "L0", "CE", "CE rise"
            );
        }
        if row.identical {
            let runs: Vec<&str> = row.runs.iter().map(|(run, _)| *run).collect();
            let _ = writeln!(out, "{:<width$}  identical in {}", row.dictionary, runs.join(" and "));
        }
        let shown = if row.identical { 1 } else { row.runs.len() };
        for (place, (run, spliced)) in row.runs.iter().take(shown).enumerate() {
            let _ = writeln!(
                out,
                "{:<width$}  {run:<wide$} {:>8} {:>8} {:>8.4} {:>8.4}",
                if place == 0 && !row.identical {
                    row.dictionary
                } else {
                    ""
                },
                share(spliced.fidelity.fvu),
                format!("{:.2}", spliced.fidelity.l0),
                spliced.spliced.ce,
                spliced.spliced.ce - spliced.ce_clean
            );
        }
    }
    out.push_str(
        "\nAll on this text; CE: with the reconstruction in place. No intervals: splice.json holds means only.\n",
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rows: &[(&str, &str, f64)], model: &str) -> Vec<Spliced> {
        let spliced = |&(dictionary, identity, ce): &(&str, &str, f64)| {
            serde_json::json!({
                "dictionary": dictionary, "architecture": "topk", "site": "blocks.2.hook_resid_pre",
                "writes": "blocks.2.hook_resid_pre", "model": model, "identity": identity, "summary": null, "tokens": 900,
                "ce_clean": 2.0, "fidelity": {"fvu": 0.25, "fvu_per_token": 0.3, "l0": 8.0, "dead": 0.0, "dense": 0.0}, "spliced": {"ce": ce, "kl": 0.0}, "zero": {"ce": 1.0, "kl": 0.0},
                "mean": {"ce": 1.0, "kl": 0.0}, "recovered_from_zero": 0.9, "recovered_from_mean": 0.9,
            })
        };
        let rows: Vec<_> = rows.iter().map(spliced).collect();
        serde_json::from_value(serde_json::json!(rows)).unwrap()
    }

    #[test]
    fn runs_stand_side_by_side_and_what_is_the_same_is_called_identical() {
        let a = file(&[("topk", "1", 2.25), ("relu", "2", 2.5)], "m");
        let b = file(&[("topk", "1", 2.25), ("relu", "3", 2.125), ("gated", "4", 2.75)], "m");
        let runs = [("runs/a", &a[..]), ("runs/b", &b[..])];
        check(&runs).unwrap();
        let table = table(&rows(&runs));
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(
            lines.contains(&vec!["topk", "identical", "in", "runs/a", "and", "runs/b"]),
            "{table}"
        );
        assert!(
            lines.contains(&vec!["relu", "runs/a", "0.2500", "8.00", "2.5000", "0.5000"]),
            "{table}"
        );
        assert!(
            lines.contains(&vec!["runs/b", "0.2500", "8.00", "2.1250", "0.1250"]),
            "{table}"
        );
        assert!(
            lines.contains(&vec!["gated", "runs/b", "0.2500", "8.00", "2.7500", "0.7500"]),
            "{table}"
        );
    }

    #[test]
    fn another_model_is_refused_by_both_names() {
        let (a, b) = (
            file(&[("topk", "1", 2.25)], "one"),
            file(&[("topk", "1", 2.25)], "other"),
        );
        let error = check(&[("runs/a", &a), ("runs/b", &b)]).unwrap_err().to_string();
        assert!(
            error.contains("runs/a and runs/b") && error.contains("other models"),
            "{error}"
        );
    }
}
