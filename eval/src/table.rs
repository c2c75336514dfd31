//! Tables for the terminal, as pure functions of what was found; 100 columns wide with the default settings.
//!
//! The first table of a report averages each number over the sites, the second shows every site. Numbers are those of
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)); `-` marks what is undefined or was not
//! measured.

mod checks;
pub mod columns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use report::{Cell, Table};
use tasks::{Attribute, TaskName};

use crate::compare::Compared;
use crate::ledger::members;
use crate::metric::Metric;
use crate::report::{Comparison, Report, Score};
use causal::locate::Located;
use causal::site::Site;
use columns::{Group, Row, causal as causal_columns, further, groups};

/// The tables of a report: means over sites and seeds, comparisons, and every site.
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    let clean = &report.clean;
    let sites = report.sites.len();
    let _ = writeln!(
        out,
        "clean model: logit difference {} {:.2}, accuracy {:.3} on {} prompts; {sites} sites\n",
        answers(report.task),
        clean.logit_diff,
        clean.accuracy,
        clean.n
    );
    let groups = groups(report);
    let all = columns::rows(report);
    let names = names(&all);
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).max(10) + 1;
    let is_partial = names.iter().any(|name| marked(name, &all, sites) != *name);
    let _ = writeln!(
        out,
        "MEANS OVER SITES AND SEEDS{}",
        if is_partial { " (* not at every site)" } else { "" }
    );
    out += &table(&groups, &names, width, &all, sites).text();
    let k = report.config.compare_k;
    let _ = writeln!(out, "\nTHE SAME, FURTHER SCORES");
    out += &table(&further(report), &names, width, &all, sites).text();
    let _ = writeln!(out, "\nTHE SAME, WHAT EDITS (k = {k}) AND LATENTS DO");
    out += &table(&causal_columns(report), &names, width, &all, sites).text();
    means(&mut out, report, width);
    checks::write(&mut out, &all);
    comparisons(&mut out, report);
    unseen(&mut out, report);
    let _ = writeln!(out, "\nEVERY SITE");
    out += &table(&groups, &[], width, &all, sites).heading_text();
    for site in &report.sites {
        let _ = writeln!(out, "{}{}", describe(site), unrated(report, site));
        let here: Vec<Row<'_>> = all.iter().copied().filter(|row| row.score.site == site.name).collect();
        out += &table(&groups, &names, width, &here, 1).rows_text();
    }
    let _ = writeln!(
        out,
        "\nsuff: logit difference on reconstructions over the clean one, |1-s|: its distance from 1; undefined\n\
         (-) with nec, keep and remove where mean ablation keeps more than {} of it. edit: share of prompts\n\
         predicted as under the true counterfactual patch, k latents exchanged (L0/2: half as many as are\n\
         active; area: under the curve from 0 to the largest k, over that k); supervised edits exchange one\n\
         value and `none` nothing, whatever k. F1, MCC: of the best latent; `random` is the chance level of\n\
         its width. KL: from the prediction under the patch, nats. interp: share of live latents with an F1\n\
         from the threshold on; keep: sufficiency of those alone; remove: necessity of those alone. The\n\
         best sufficiency, necessity and keep are 1: more is not better",
        report.config.max_kept
    );
    out
}

/// Means of all families, the differences between them, and how stable their ranking is.
pub fn compared(found: &Compared) -> String {
    let mut out = String::new();
    if found.runs.len() > 1 {
        let _ = writeln!(out, "compared: {}", found.runs.join(", "));
        let mut by_runs: BTreeMap<&[String], Vec<&str>> = BTreeMap::new();
        for identical in &found.identical {
            by_runs
                .entry(identical.runs.as_slice())
                .or_default()
                .push(&identical.family);
        }
        for (runs, families) in by_runs {
            let _ = writeln!(out, "identical in {}: {}", runs.join(" and "), families.join(", "));
        }
        out.push('\n');
    }
    let width = found
        .families
        .iter()
        .map(|family| family.name.len())
        .max()
        .unwrap_or(0)
        .max(10)
        + 2;
    let _ = write!(out, "{:<width$}{:>5}", "dictionary", "seeds");
    let columns: Vec<String> = found
        .metrics
        .iter()
        .map(|metric| format!("  {:>6}", metric.to_string()))
        .collect();
    columns.iter().for_each(|column| out.push_str(column));
    out.push('\n');
    for family in &found.families {
        let _ = write!(out, "{:<width$}{:>5}", family.name, family.seeds);
        for (column, mean) in columns.iter().zip(&family.means) {
            let _ = write!(out, "{:>wide$}", fine(*mean), wide = column.len());
        }
        out.push('\n');
    }
    for stability in &found.stability {
        let metric = stability.metric;
        let pairs = || found.pairs.iter().filter(|pair| pair.metric == metric);
        if found.runs.len() > 1 && pairs().next().is_none() {
            continue;
        }
        let _ = writeln!(
            out,
            "\n{metric}: differences with 95 % intervals, over sites (or pairs of site and attribute); real by Holm's procedure over all of them"
        );
        for pair in pairs() {
            let verdict = pair.verdict();
            let _ = writeln!(
                out,
                "  {:<width$} - {:<width$} {:>7}  [{}, {}]  over {}  {verdict}",
                pair.left,
                pair.right,
                fine(Some(pair.difference)),
                fine(pair.low),
                fine(pair.high),
                pair.places
            );
        }
        if pairs().any(|pair| pair.too_few_resamples) {
            let n = pairs().count();
            let _ = writeln!(
                out,
                "  {n} differences are more than the resamples can tell: name one dictionary with --against, or evaluate with \
                 `--set resamples={}`",
                40 * n
            );
        }
        let _ = match stability.tau {
            Some(tau) => writeln!(
                out,
                "  ranking of {} dictionaries over {} seeds: Kendall's tau {tau:.2}",
                stability.families, stability.seeds
            ),
            None => writeln!(
                out,
                "  stability of the ranking: not measured, it needs two dictionaries with two seeds"
            ),
        };
    }
    out
}

/// What is subtracted in a logit difference of the task.
fn answers(task: TaskName) -> &'static str {
    match task {
        TaskName::IOI => "IO - S",
        TaskName::PRONOUN => "right - other pronoun",
        _ => "right - wrong",
    }
}

/// The candidates that keep an attribute, chosen sites marked `*`.
pub fn located(located: &Located) -> String {
    let mut out = String::new();
    let clean = &located.clean;
    let _ = writeln!(
        out,
        "clean model: logit difference {} {:.2}, accuracy {:.3} on {} prompts\n",
        answers(located.task),
        clean.logit_diff,
        clean.accuracy,
        clean.n
    );
    let measured = located
        .candidates
        .iter()
        .flat_map(|candidate| candidate.changed.keys().copied());
    let attributes: Vec<Attribute> = measured.collect::<BTreeSet<_>>().into_iter().collect();
    let width = |attribute: &Attribute| attribute.to_string().len().max(7) + 2;
    let _ = write!(out, "  {:<36}{:>9}", "node", "removed");
    for attribute in &attributes {
        let _ = write!(out, "{:>1$}", attribute.to_string(), width(attribute));
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
            Cell::Fitting(candidate.removed).shown(Some(9))
        );
        for attribute in &attributes {
            let changed = candidate.changed.get(attribute).copied();
            let _ = write!(
                out,
                "{:>1$}",
                Cell::Fitting(changed).shown(Some(width(attribute))),
                width(attribute)
            );
        }
        let _ = writeln!(out, "  {}", list(&candidate.kept));
    }
    let _ = writeln!(
        out,
        "\n{kept} of {} nodes kept, {} chosen (*); {}: share of predictions that the patch changes",
        located.candidates.len(),
        located.sites.sites.len(),
        list(&attributes)
    );
    out
}

/// Means of the families over seeds and places with intervals, in three of the metrics that are compared.
fn means(out: &mut String, report: &Report, width: usize) {
    let metrics = [Metric::SufficiencyGap, Metric::EditArea, Metric::F1];
    if report.means.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nMEANS WITH 95 % INTERVALS OVER SEEDS (OR DRAWS) AND PROMPTS");
    let _ = writeln!(
        out,
        "{:<width$}{:>6}{:>21}{:>21}{:>21}",
        "dictionary", "seeds", "|1-s|", "edit area", "F1"
    );
    let families: BTreeSet<&str> = report.means.iter().map(|mean| mean.family.as_str()).collect();
    for family in families {
        let of = |metric: Metric| {
            report
                .means
                .iter()
                .find(|mean| mean.family == family && mean.metric == metric)
        };
        let cell = |metric| {
            let interval = |mean: &crate::report::FamilyMean| match mean.low.zip(mean.high) {
                Some((low, high)) => format!("{:.2} [{low:.2}, {high:.2}]", mean.value),
                None => format!("{:.2}", mean.value),
            };
            of(metric).map_or("-".to_owned(), interval)
        };
        let seeds = members(&report.dictionaries, family).len();
        let cells = metrics.map(|metric| format!("{:>21}", cell(metric)));
        let _ = writeln!(out, "{family:<width$}{seeds:>6}{}", cells.concat());
    }
}

/// All comparisons, each with its 95 % interval.
fn comparisons(out: &mut String, report: &Report) {
    let n = report.comparisons.len();
    if n == 0 {
        return;
    }
    let _ = writeln!(
        out,
        "\nCOMPARISONS (means over sites and attributes; paired 95 % intervals over seeds or draws and prompts;\n\
         *: real, excludes zero at the level that Holm's procedure over all {n} allows it, and seeds agree)"
    );
    report
        .comparisons
        .iter()
        .for_each(|comparison| compare(out, comparison));
    if !crate::statistics::enough(report.config.resamples, n) {
        let _ = writeln!(
            out,
            "  {n} comparisons are more than {} resamples can tell: evaluate with `--set resamples={}`",
            report.config.resamples,
            40 * n
        );
    }
    let once = once(report);
    if !once.is_empty() {
        wrap(
            out,
            &format!("of one seed, which an interval takes as given: {}", once.join(", ")),
        );
    }
}

/// Where prompts were left out because their vector was trained on.
fn unseen(out: &mut String, report: &Report) {
    let some = report
        .unseen
        .iter()
        .filter(|site| site.seen > 0 || site.seen_interpretability > 0);
    for (place, site) in some.enumerate() {
        if place == 0 {
            let _ = writeln!(out, "\nVECTORS THAT WERE TRAINED ON (their prompts are left out)");
        }
        let (seen, all) = (site.seen, report.clean.n);
        let line = match site.everything_seen {
            true => format!(
                "{}: {seen} of {all}, so that too few would be left; all are kept: its scores are of vectors that were trained on",
                site.site
            ),
            false => format!(
                "{}: {seen} of {all}; {} are evaluated, and latents rated on {} vectors of which none occurs twice",
                site.site, site.evaluation, site.interpretability
            ),
        };
        wrap(out, &line);
    }
}

/// What is said of a site at which ratios of logit differences are undefined.
fn unrated(report: &Report, site: &Site) -> String {
    let of = |score: &&Score| score.site == site.name && score.dictionary == crate::report::MEAN_ABLATION;
    let kept = report.scores.iter().find(of).and_then(|score| score.value);
    match kept.filter(|kept| *kept > report.config.max_kept) {
        Some(kept) => format!("; mean ablation keeps {kept:.2}: no ratios"),
        None => String::new(),
    }
}

/// Writes a line in pieces of at most 100 columns, broken at spaces.
fn wrap(out: &mut String, line: &str) {
    let mut column = 0;
    for word in line.split(' ') {
        if column > 0 && column + 1 + word.len() > 100 {
            out.push_str("\n ");
            column = 1;
        }
        if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += word.len();
    }
    out.push('\n');
}

/// Names of all families and baselines, in order of first appearance.
fn names<'a>(rows: &[Row<'a>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if !names.contains(&row.family) {
            names.push(row.family);
        }
    }
    names
}

/// The families that have a number to show, with the columns of these groups.
fn table(groups: &[Group], names: &[&str], width: usize, scores: &[Row<'_>], sites: usize) -> Table {
    let shown = groups.iter().map(|group| {
        let headings = group.columns.iter().map(|(name, _)| name.as_str());
        report::Group::new(group.title.as_str(), group.width, headings)
    });
    let mut table = Table::new("dictionary", width, shown.collect());
    for name in names {
        let columns = groups.iter().flat_map(|group| &group.columns);
        let cells = columns.map(|(_, column)| Cell::Fitting(column.mean(scores, name)));
        table.push_defined(marked(name, scores, sites), cells.collect());
    }
    table
}

/// The family, marked where it was not scored at every site of the report.
fn marked(name: &str, rows: &[Row<'_>], sites: usize) -> String {
    let of = rows
        .iter()
        .filter(|row| row.family == name && row.score.metric == Metric::Sufficiency);
    let mut at: Vec<&str> = of.map(|row| row.score.site.as_str()).collect();
    at.sort_unstable();
    at.dedup();
    let is_partial = !at.is_empty() && at.len() < sites;
    format!("{name}{}", if is_partial { "*" } else { "" })
}

/// The compared families that another seed would have given otherwise, and of which there is one seed.
fn once(report: &Report) -> Vec<&str> {
    let compared = |family: &str| {
        let mut of = report.comparisons.iter();
        of.any(|comparison| comparison.left == family || comparison.right == family)
    };
    let n_seeds = |family: &str| members(&report.dictionaries, family).len();
    let facts = report.dictionaries.iter();
    facts
        .filter(|facts| facts.seeded && compared(&facts.family) && n_seeds(&facts.family) == 1)
        .map(|facts| facts.family.as_str())
        .collect()
}

/// One comparison in words.
fn compare(out: &mut String, comparison: &Comparison) {
    let k = comparison.k.map(|k| format!(" k={k}")).unwrap_or_default();
    let _ = writeln!(
        out,
        "{} - {}: {}{k}  {} - {} = {}  [{}, {}]{}  over {}",
        comparison.left,
        comparison.right,
        comparison.metric,
        fine(comparison.left_value),
        fine(comparison.right_value),
        fine(comparison.difference),
        fine(comparison.low),
        fine(comparison.high),
        if comparison.real { " *" } else { "" },
        comparison.pairs,
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

fn fine(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}
