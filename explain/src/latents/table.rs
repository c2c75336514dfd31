//! What is printed of explained latents.

use std::fmt::Write as _;

use super::agreement::{GROUNDED, TRUE};
use super::explained::{DictionaryExplained, ExplanationMethod, LatentExplained, MethodExplained, Rung};
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

/// How well a dictionary can control the model at a hook: the edit accuracy of its evaluation, with its interval.
pub type Edits<'a> = &'a dyn Fn(&DictionaryExplained) -> Option<Estimate>;

/// Scores of each family of dictionaries at each site, seeds together, and of all methods over all of them; `detection` and `agree` with
/// 95 % intervals over latents. Beside them, where an evaluation has it, which of them can control.
pub fn table(all: &[DictionaryExplained], edits: Edits<'_>, resamples: usize, seed: u64) -> String {
    let has_edits = all.iter().any(|dictionary| edits(dictionary).is_some());
    let mut out = String::new();
    for method in [ExplanationMethod::Offline, ExplanationMethod::LanguageModel] {
        for site in in_order(all.iter().map(|dictionary| dictionary.site.as_str())) {
            let here: Vec<&DictionaryExplained> = all.iter().filter(|dictionary| dictionary.site == site).collect();
            if here.iter().all(|dictionary| dictionary.by(method).next().is_none()) {
                continue;
            }
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{site}, explained by: {method}\n{}   stand  of all  true  silent  few{}",
                heads(),
                if has_edits { "          edit accuracy" } else { "" }
            );
            for family in in_order(here.iter().map(|dictionary| dictionary.family.as_str())) {
                let members = || here.iter().filter(|dictionary| dictionary.family == family);
                let rows: Vec<Row<'_>> = members().flat_map(|dictionary| drawn(dictionary, method)).collect();
                let stand = rows.iter().filter(|(latent, _)| stands(latent)).count();
                let is_true = |(latent, of): &&Row<'_>| {
                    stands(latent) && of.scores.get("agree").is_some_and(|agree| *agree >= TRUE)
                };
                let sum =
                    |of: fn(&DictionaryExplained) -> usize| members().map(|dictionary| of(dictionary)).sum::<usize>();
                let edited: Vec<Estimate> = members().filter_map(|dictionary| edits(dictionary)).collect();
                let _ = writeln!(
                    out,
                    "{} {stand:>7} {:>7} {:>5} {:>7} {:>4}{}",
                    line(family, &rows, resamples, seed),
                    sum(|dictionary| dictionary.standing),
                    rows.iter().filter(is_true).count(),
                    sum(|dictionary| dictionary.silent),
                    sum(|dictionary| dictionary.too_few),
                    if has_edits { edit(&edited) } else { String::new() }
                );
            }
            out.push('\n');
        }
    }
    let _ = writeln!(out, "all of them together, by explanation\n{}", heads());
    let methods = [
        ExplanationMethod::Offline,
        ExplanationMethod::LanguageModel,
        ExplanationMethod::Token,
        ExplanationMethod::Truth,
        ExplanationMethod::Shuffled,
        ExplanationMethod::Null,
    ];
    for method in methods {
        let rows: Vec<Row<'_>> = all.iter().flat_map(|dictionary| drawn(dictionary, method)).collect();
        if !rows.is_empty() {
            let _ = writeln!(out, "{}", line(&method.to_string(), &rows, resamples, seed));
        }
    }
    out += "\ndetection, hard, fuzz, active: balanced accuracy, chance 0.5; hard: of slices that hold a token of active ones; active: wrong \
            marks in active slices\nsimul.: correlation with the activations; gener.: share of made texts in which the latent is active; \
            behav.: Matthews' correlation with its activity; agree: with the label that is most like it\nstand: latents that stand for \
            that label (F1 of at least 0.8), and how many of all the dictionary's do; true: those that were drawn whose explanation agrees \
            with it (at least 0.8); few: latents that were tried and have too few contexts of either kind\n";
    if has_edits {
        out += "edit accuracy: of the evaluation of the same dictionaries, with as many latents exchanged as it compares\n";
    }
    out
}

/// Explanations of the latents that were drawn.
fn drawn(dictionary: &DictionaryExplained, method: ExplanationMethod) -> impl Iterator<Item = Row<'_>> {
    dictionary.by(method).filter(|(latent, _)| latent.drawn)
}

/// Of one dictionary with its interval, of several their mean.
fn edit(edited: &[Estimate]) -> String {
    let text = match edited {
        [] => "-".to_owned(),
        [of] => shown(of),
        _ => format!(
            "{:.3}",
            edited.iter().map(|of| of.value).sum::<f64>() / edited.len() as f64
        ),
    };
    format!("{text:>23}")
}

fn shown(of: &Estimate) -> String {
    format!("{:.3} [{:.3}, {:.3}]", of.value, of.low, of.high)
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
            (true, Some(of)) => format!("{:>20}", shown(&of)),
            (true, None) => format!("{:>20}", "-"),
            (false, Some(of)) => format!("{:>7.3}", of.value),
            (false, None) => format!("{:>7}", "-"),
        }
    };
    let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
    format!("{name:<18} {:>7} {}", rows.len(), cells.join(" "))
}

/// How well each score predicts whether an explanation is true, by rung of the ladder and by explainer.
pub fn predicts_table(all: &[Predicts]) -> String {
    let mut out = String::new();
    let cell = |estimate: Option<Estimate>| estimate.as_ref().map_or_else(|| "-".to_owned(), shown);
    if all.iter().all(|row| row.rung != Rung::Latents) {
        out += "\nno latent stands for a label, so no score of a latent's explanation can be held against the truth\n";
    }
    let mut before = None;
    for row in all {
        if before != Some((row.rung, row.whose)) {
            before = Some((row.rung, row.whose));
            let _ = writeln!(
                out,
                "\nwhich score tells true explanations? {}, {}: {} of {} explanations are true\n{:<16} {:>22} {:>24}",
                row.rung, row.whose, row.true_ones, row.explanations, "predicted by", "AUROC", "rank correlation"
            );
        }
        let _ = writeln!(
            out,
            "{:<16} {:>22} {:>24}",
            row.score,
            cell(row.auroc),
            cell(row.spearman)
        );
    }
    out
}
