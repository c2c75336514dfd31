//! Tables for the terminal, as pure functions of what was found; 100 columns wide with the default settings.
//!
//! The first table of a report averages each number over the sites, the second shows every site. Numbers are those of
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)); `-` marks what is undefined or was not
//! measured.

use crate::locate::Located;
use crate::report::{Comparison, Metric, Report, Score};
use crate::site::Site;
use std::fmt::Write;
use tasks::Attribute;

/// A group of columns under one heading.
struct Group {
    title: String,
    width: usize,
    columns: Vec<(String, Column)>,
}

/// What a column shows.
struct Column {
    metric: Metric,
    attribute: Option<Attribute>,
    k: Option<usize>,
}

impl Column {
    /// Whether the score belongs here. Edits without a `k` (supervised, none) stand in every column of their attribute.
    fn shows(&self, score: &Score) -> bool {
        score.metric == self.metric && score.attribute == self.attribute && (score.k.is_none() || score.k == self.k)
    }

    /// Mean of the fitting scores of one dictionary.
    fn mean(&self, scores: &[&Score], dictionary: &str) -> Option<f64> {
        let fitting = scores
            .iter()
            .filter(|score| score.dictionary == dictionary && self.shows(score));
        let values: Vec<f64> = fitting.filter_map(|score| score.value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }
}

/// The tables of a report: means over sites, comparisons, and every site.
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    let clean = &report.clean;
    let sites = report.sites.len();
    let _ = writeln!(
        out,
        "clean model: logit difference IO - S {:.2}, accuracy {:.3} on {} prompts; {sites} sites\n",
        clean.logit_diff, clean.accuracy, clean.n
    );
    let groups = groups(report);
    let names = names(&report.scores);
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).max(10) + 1;
    let all: Vec<&Score> = report.scores.iter().collect();
    let _ = writeln!(out, "MEANS OVER SITES");
    block(&mut out, &groups, &names, width, &all);
    if !report.comparisons.is_empty() {
        let _ = writeln!(
            out,
            "\nCOMPARISONS (means over sites and attributes, paired 95 % bootstrap interval)"
        );
        report
            .comparisons
            .iter()
            .for_each(|comparison| compare(&mut out, comparison));
    }
    let _ = writeln!(out, "\nEVERY SITE");
    heading(&mut out, &groups, width);
    for site in &report.sites {
        let _ = writeln!(out, "{}", describe(site));
        let here: Vec<&Score> = all.iter().copied().filter(|score| score.site == site.name).collect();
        lines(&mut out, &groups, &names, width, &here);
    }
    let _ = writeln!(
        out,
        "\nedit: share of prompts predicted as under the true counterfactual patch, k latents exchanged;\n\
         supervised edits exchange one value and `none` nothing, whatever k"
    );
    out
}

/// The candidates that keep an attribute, chosen sites marked `*`.
pub fn located(located: &Located) -> String {
    let mut out = String::new();
    let clean = &located.clean;
    let _ = writeln!(
        out,
        "clean model: logit difference IO - S {:.2}, accuracy {:.3} on {} prompts\n",
        clean.logit_diff, clean.accuracy, clean.n
    );
    let _ = write!(out, "  {:<36}{:>9}", "node", "removed");
    for attribute in Attribute::ALL {
        let _ = write!(out, "{:>9}", attribute.to_string());
    }
    let _ = writeln!(out, "  kept");
    let mut kept = 0;
    for candidate in located.candidates.iter().filter(|candidate| !candidate.kept.is_empty()) {
        kept += 1;
        let chosen = located
            .sites
            .sites
            .iter()
            .any(|site| site.nodes.contains(&candidate.node));
        let mark = if chosen { '*' } else { ' ' };
        let _ = write!(
            out,
            "{mark} {:<36}{:>9}",
            candidate.node.to_string(),
            cell(candidate.removed)
        );
        for attribute in Attribute::ALL {
            let _ = write!(out, "{:>9}", cell(candidate.changed.get(&attribute).copied()));
        }
        let _ = writeln!(out, "  {}", list(&candidate.kept));
    }
    let _ = writeln!(
        out,
        "\n{kept} of {} nodes kept, {} chosen (*); IO, S, Pos: share of predictions that the patch changes",
        located.candidates.len(),
        located.sites.sites.len()
    );
    out
}

/// The groups of columns that have something to show.
fn groups(report: &Report) -> Vec<Group> {
    let column = |metric, attribute, k| Column { metric, attribute, k };
    let mut groups = vec![Group {
        title: "approximation".to_owned(),
        width: 7,
        columns: vec![
            ("suff".to_owned(), column(Metric::Sufficiency, None, None)),
            ("nec".to_owned(), column(Metric::Necessity, None, None)),
        ],
    }];
    let edited = |attribute: &Attribute| report.sites.iter().any(|site| site.attributes.contains(attribute));
    let attributes: Vec<Attribute> = Attribute::ALL.into_iter().filter(edited).collect();
    for &attribute in &attributes {
        let edit = |&k: &usize| (format!("k={k}"), column(Metric::EditAccuracy, Some(attribute), Some(k)));
        let columns = report.config.ks.iter().map(edit).collect();
        groups.push(Group {
            title: format!("edit {attribute}"),
            width: 5,
            columns,
        });
    }
    let f1 = |&attribute: &Attribute| (attribute.to_string(), column(Metric::F1, Some(attribute), None));
    groups.push(Group {
        title: "F1".to_owned(),
        width: 5,
        columns: attributes.iter().map(f1).collect(),
    });
    groups
}

/// Names of all dictionaries and baselines, in order of first appearance.
fn names(scores: &[Score]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for score in scores {
        if !names.contains(&score.dictionary.as_str()) {
            names.push(&score.dictionary);
        }
    }
    names
}

/// Heading and lines.
fn block(out: &mut String, groups: &[Group], names: &[&str], width: usize, scores: &[&Score]) {
    heading(out, groups, width);
    lines(out, groups, names, width, scores);
}

/// Two lines of headings.
fn heading(out: &mut String, groups: &[Group], width: usize) {
    let mut titles = " ".repeat(width);
    let mut columns = format!("{:<width$}", "dictionary");
    for group in groups {
        let span = group.width * group.columns.len();
        let _ = write!(titles, " {:>span$}", group.title);
        columns.push(' ');
        for (name, _) in &group.columns {
            let _ = write!(columns, "{name:>cell$}", cell = group.width);
        }
    }
    let _ = writeln!(out, "{}\n{}", titles.trim_end(), columns.trim_end());
}

/// One line for each dictionary that has a number to show.
fn lines(out: &mut String, groups: &[Group], names: &[&str], width: usize, scores: &[&Score]) {
    for name in names {
        let mut line = format!("{name:<width$}");
        let mut any = false;
        for group in groups {
            line.push(' ');
            for (_, column) in &group.columns {
                let value = column.mean(scores, name);
                any |= value.is_some();
                let _ = write!(line, "{:>cell$}", cell(value), cell = group.width);
            }
        }
        if any {
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

/// One comparison in words.
fn compare(out: &mut String, comparison: &Comparison) {
    let k = comparison.k.map(|k| format!(" k={k}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "{} - {}: {}{k}  {} - {} = {}  [{}, {}]  over {}",
        comparison.left,
        comparison.right,
        comparison.metric,
        fine(comparison.left_value),
        fine(comparison.right_value),
        fine(comparison.difference),
        fine(comparison.low),
        fine(comparison.high),
        comparison.pairs
    );
}

/// The name of a site with the evidence for it.
fn describe(site: &Site) -> String {
    let evidence = site
        .evidence
        .iter()
        .map(|found| format!("{} changes {:.2}", found.attribute, found.changed));
    let mut parts: Vec<String> = evidence.collect();
    parts.extend(
        site.evidence
            .first()
            .map(|found| format!("removes {:.2}", found.removed)),
    );
    if parts.is_empty() {
        parts.push(list(&site.attributes));
    }
    format!("{}  ({})", site.name, parts.join(", "))
}

fn list(attributes: &[Attribute]) -> String {
    attributes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

fn fine(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
