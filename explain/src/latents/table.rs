//! What is printed of explained latents.

use std::fmt::Write as _;

use super::agreement::{GROUNDED, TRUE};
use super::explained::{DictionaryExplained, Method};
use super::predicts::Predicts;
use crate::statistic::Estimate;

/// Columns: the score, its head, and the figure of an explanation that says nothing.
const COLUMNS: [(&str, &str); 8] = [
    ("detection", "detection"),
    ("hard", "hard"),
    ("fuzzing", "fuzzing"),
    ("fuzzing active", "active"),
    ("simulation", "simulation"),
    ("generation", "generation"),
    ("behaviour", "behaviour"),
    ("agree", "agree"),
];

const METHODS: [Method; 6] = [
    Method::Offline,
    Method::LanguageModel,
    Method::Token,
    Method::Truth,
    Method::Shuffled,
    Method::Null,
];

/// Scores of each family of dictionaries, all sites and seeds together, by method; `detection` and `agree` with 95 % intervals over
/// latents.
pub fn table(all: &[DictionaryExplained], resamples: usize, seed: u64) -> String {
    let mut families: Vec<&str> = Vec::new();
    for dictionary in all {
        if !families.contains(&dictionary.family.as_str()) {
            families.push(&dictionary.family);
        }
    }
    let mut out = String::new();
    let heads: Vec<String> = COLUMNS
        .iter()
        .map(|(score, head)| match is_wide(score) {
            true => format!("{head:>20}"),
            false => format!("{head:>10}"),
        })
        .collect();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{:<28} {:<14} {:>7} {}", "", "", "latents", heads.join(" "));
    for family in families {
        let members: Vec<&DictionaryExplained> = all.iter().filter(|dictionary| dictionary.family == family).collect();
        let mut name = family;
        for method in METHODS {
            let rows: Vec<_> = members.iter().flat_map(|dictionary| dictionary.by(method)).collect();
            if rows.is_empty() {
                continue;
            }
            let cell = |(score, _): &(&str, &str)| {
                let values: Vec<f64> = rows
                    .iter()
                    .filter_map(|(_, of)| of.scores.get(*score).copied())
                    .collect();
                let estimate = Estimate::mean(&values, resamples, seed);
                match (is_wide(score), estimate) {
                    (true, Some(of)) => format!("{:>20}", format!("{:.3} [{:.3}, {:.3}]", of.value, of.low, of.high)),
                    (true, None) => format!("{:>20}", "-"),
                    (false, Some(of)) => format!("{:>10.3}", of.value),
                    (false, None) => format!("{:>10}", "-"),
                }
            };
            let cells: Vec<String> = COLUMNS.iter().map(cell).collect();
            let _ = writeln!(
                out,
                "{name:<28} {:<14} {:>7} {}",
                method.name(),
                rows.len(),
                cells.join(" ")
            );
            name = "";
        }
        let latents: Vec<_> = members.iter().flat_map(|dictionary| &dictionary.latents).collect();
        let n_latents: usize = members.iter().map(|dictionary| dictionary.n_latents).sum();
        let silent: usize = members.iter().map(|dictionary| dictionary.silent).sum();
        let too_few: usize = members.iter().map(|dictionary| dictionary.too_few).sum();
        let grounded = latents
            .iter()
            .filter(|latent| latent.stands.as_ref().is_some_and(|stands| stands.f1 >= GROUNDED));
        let is_true = |latent: &&&&super::LatentExplained| {
            let offline = latent.methods.iter().find(|of| of.method == Method::Offline);
            offline
                .and_then(|of| of.scores.get("agree"))
                .is_some_and(|agree| *agree >= TRUE)
        };
        let _ = writeln!(
            out,
            "{:<28} of {n_latents} latents {silent} are silent; {too_few} that were tried have too few contexts; of {} explained {} \
             stand for a label, of which {} have a true offline explanation",
            "",
            latents.len(),
            grounded.clone().count(),
            grounded.filter(|latent| is_true(&latent)).count()
        );
    }
    out += "\ndetection, hard, fuzzing, active: balanced accuracy, chance 0.5; hard: of slices that hold a token of active ones; active: \
            wrong marks in active slices\nsimulation: correlation with the activations; generation: share of made texts in which the latent \
            is active; behaviour: Matthews' correlation with its activity, agree: with the label that is true of its tokens\n";
    out
}

fn is_wide(score: &str) -> bool {
    matches!(score, "detection" | "agree")
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
