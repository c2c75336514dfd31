//! What is printed of explained latents.

use std::fmt::Write as _;

use super::agreement::{GROUNDED, TRUE};
use super::explained::{DictionaryExplained, LatentExplained, Method, MethodExplained};
use super::predicts::Predicts;
use crate::find_table::in_order;
use crate::statistic::Estimate;

/// Columns: the score and its head.
const COLUMNS: [(&str, &str); 8] = [
    ("detection", "detection"),
    ("hard", "hard"),
    ("fuzzing", "fuzz"),
    ("fuzzing active", "active"),
    ("simulation", "simul."),
    ("generation", "gener."),
    ("behaviour", "behav."),
    ("agree", "agree"),
];

/// An explanation with its latent.
type Row<'a> = (&'a LatentExplained, &'a MethodExplained);

/// Scores of each family of dictionaries at each site, seeds together, and of all methods over all of them; `detection` and `agree` with
/// 95 % intervals over latents.
pub fn table(all: &[DictionaryExplained], resamples: usize, seed: u64) -> String {
    let mut out = String::new();
    for method in [Method::Offline, Method::LanguageModel] {
        for site in in_order(all.iter().map(|dictionary| dictionary.site.as_str())) {
            let here: Vec<&DictionaryExplained> = all.iter().filter(|dictionary| dictionary.site == site).collect();
            if here.iter().all(|dictionary| dictionary.by(method).next().is_none()) {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{site}, explained by: {}\n{}   stand  true  silent  few",
                method.name(),
                heads()
            );
            for family in in_order(here.iter().map(|dictionary| dictionary.family.as_str())) {
                let members = || here.iter().filter(|dictionary| dictionary.family == family);
                let rows: Vec<Row<'_>> = members().flat_map(|dictionary| dictionary.by(method)).collect();
                let stand = rows.iter().filter(|(latent, _)| stands(latent)).count();
                let is_true = |(latent, of): &&Row<'_>| {
                    stands(latent) && of.scores.get("agree").is_some_and(|agree| *agree >= TRUE)
                };
                let silent: usize = members().map(|dictionary| dictionary.silent).sum();
                let few: usize = members().map(|dictionary| dictionary.too_few).sum();
                let _ = writeln!(
                    out,
                    "{} {stand:>7} {:>5} {silent:>7} {few:>4}",
                    line(family, &rows, resamples, seed),
                    rows.iter().filter(is_true).count()
                );
            }
            out.push('\n');
        }
    }
    let _ = writeln!(out, "all of them together, by explanation\n{}", heads());
    let methods = [
        Method::Offline,
        Method::LanguageModel,
        Method::Token,
        Method::Truth,
        Method::Shuffled,
        Method::Null,
    ];
    for method in methods {
        let rows: Vec<Row<'_>> = all.iter().flat_map(|dictionary| dictionary.by(method)).collect();
        if !rows.is_empty() {
            let _ = writeln!(out, "{}", line(method.name(), &rows, resamples, seed));
        }
    }
    out += "\ndetection, hard, fuzz, active: balanced accuracy, chance 0.5; hard: of slices that hold a token of active ones; active: wrong \
            marks in active slices\nsimul.: correlation with the activations; gener.: share of made texts in which the latent is active; \
            behav.: Matthews' correlation with its activity; agree: with the label that is most like it\nstand: latents that stand for \
            that label (F1 of at least 0.8); true: those of them whose explanation agrees with it (at least 0.8); few: latents that were \
            tried and have too few contexts of either kind\n";
    out
}

fn stands(latent: &LatentExplained) -> bool {
    latent.stands.as_ref().is_some_and(|stands| stands.f1 >= GROUNDED)
}

fn is_wide(score: &str) -> bool {
    matches!(score, "detection" | "agree")
}

fn heads() -> String {
    let head = |(score, head): &(&str, &str)| match is_wide(score) {
        true => format!("{head:>20}"),
        false => format!("{head:>7}"),
    };
    format!(
        "{:<18} {:>7} {}",
        "",
        "latents",
        COLUMNS.iter().map(head).collect::<Vec<_>>().join(" ")
    )
}

fn line(name: &str, rows: &[Row<'_>], resamples: usize, seed: u64) -> String {
    let cell = |(score, _): &(&str, &str)| {
        let values: Vec<f64> = rows
            .iter()
            .filter_map(|(_, of)| of.scores.get(*score).copied())
            .collect();
        let estimate = Estimate::mean(&values, resamples, seed);
        match (is_wide(score), estimate) {
            (true, Some(of)) => format!("{:>20}", format!("{:.3} [{:.3}, {:.3}]", of.value, of.low, of.high)),
            (true, None) => format!("{:>20}", "-"),
            (false, Some(of)) => format!("{:>7.3}", of.value),
            (false, None) => format!("{:>7}", "-"),
        }
    };
    let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
    format!("{name:<18} {:>7} {}", rows.len(), cells.join(" "))
}

/// How well each score predicts whether an explanation is true.
pub fn predicts_table(all: &[Predicts]) -> String {
    let mut out = String::new();
    let shown = |estimate: Option<Estimate>| {
        estimate.map_or_else(
            || "-".to_owned(),
            |of| format!("{:.3} [{:.3}, {:.3}]", of.value, of.low, of.high),
        )
    };
    if all.is_empty() {
        return "\nno latent stands for a label, so no score can be held against the truth\n".to_owned();
    }
    let mut method = None;
    for row in all {
        if method != Some(row.method) {
            method = Some(row.method);
            let _ = writeln!(
                out,
                "\nwhether an explanation ({}) is true, of {} latents that stand for a label; {:.3} are\n{:<16} {:>22} {:>22}",
                row.method.name(),
                row.explanations,
                row.share_true,
                "predicted by",
                "AUROC",
                "rank correlation"
            );
        }
        let _ = writeln!(
            out,
            "{:<16} {:>22} {:>22}",
            row.score,
            shown(row.auroc),
            shown(row.spearman)
        );
    }
    out
}
