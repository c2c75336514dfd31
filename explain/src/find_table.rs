//! The table of a run of FIND: families, variants, explainers, controls and chance.

use std::fmt::Write as _;

use strum::VariantArray;

use crate::black_box::Kind;
use crate::explanation::Status;
use crate::find::{Control, Scored};
use crate::judge::CHANCE;
use crate::statistic::Estimate;

/// The scores that a family's table shows, and what a guess comes to.
fn columns(kind: Kind) -> &'static [(&'static str, Option<f64>)] {
    match kind {
        Kind::Numeric => &[("nmse<0.1", None), ("nmse<0.01", None), ("nmse<1e-4", None)],
        Kind::Strings => &[("unit3", Some(CHANCE)), ("code", None)],
        Kind::Entities => &[("unit3", Some(CHANCE))],
        Kind::Relations => &[("unit3", Some(CHANCE)), ("code", None), ("exception", None)],
        Kind::Text => &[
            ("detection", Some(0.5)),
            ("agree", Some(0.0)),
            ("simulation", Some(0.0)),
        ],
    }
}

/// The names in the order in which they first occur.
pub(crate) fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

fn estimate(of: &[&Scored], score: &str, resamples: usize, seed: u64) -> Option<Estimate> {
    let values: Vec<f64> = of
        .iter()
        .filter_map(|scored| scored.scores.get(score).copied())
        .collect();
    Estimate::mean(&values, resamples, seed)
}

fn shown(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(
        || "-".to_owned(),
        |of| format!("{:.3} [{:.3}, {:.3}]", of.value, of.low, of.high),
    )
}

/// Scores by family, explainer and variant, with 95 % intervals over functions.
pub fn table(scored: &[Scored], resamples: usize, seed: u64) -> String {
    let mut out = String::new();
    for &kind in Kind::VARIANTS {
        let family: Vec<&Scored> = scored.iter().filter(|scored| scored.family == kind).collect();
        if family.is_empty() {
            continue;
        }
        let explainers = in_order(family.iter().map(|scored| scored.explainer.as_str()));
        let functions = family.iter().filter(|scored| scored.explainer == explainers[0]).count();
        let names: Vec<String> = columns(kind).iter().map(|(name, _)| format!("{name:>22}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{kind}: {functions} functions\n{:<21} {} {:>7} {:>7}  statuses",
            "",
            names.join(" "),
            "queries",
            "invalid"
        );
        for explainer in explainers {
            let rows: Vec<&Scored> = family
                .iter()
                .copied()
                .filter(|scored| scored.explainer == explainer)
                .collect();
            let cells: Vec<String> = columns(kind)
                .iter()
                .map(|(name, _)| format!("{:>22}", shown(estimate(&rows, name, resamples, seed))))
                .collect();
            let queries = rows.iter().map(|row| row.queries).sum::<usize>() as f64 / rows.len() as f64;
            let invalid: usize = rows.iter().map(|row| row.invalid).sum();
            let _ = writeln!(
                out,
                "{explainer:<21} {} {queries:>7.1} {invalid:>7}  {}",
                cells.join(" "),
                statuses(&rows)
            );
        }
        let chance: Vec<String> = columns(kind)
            .iter()
            .map(|(_, chance)| chance.map_or_else(|| format!("{:>22}", "-"), |chance| format!("{chance:>22.3}")))
            .collect();
        let _ = writeln!(out, "{:<21} {}", "chance", chance.join(" "));
        out += &by_variant(&family, columns(kind)[0].0, resamples, seed);
        out += &informative(&family, columns(kind)[0].0);
        out.push('\n');
    }
    out
}

fn statuses(rows: &[&Scored]) -> String {
    let count = |status: Status| rows.iter().filter(|row| row.status == status).count();
    let named = [
        (Status::Memorised, "memorised"),
        (Status::NotFound, "not found"),
        (Status::NoDescription, "no description"),
        (Status::EndpointFailed, "endpoint failed"),
        (Status::Refused, "refused"),
        (Status::OutOfTokens, "out of tokens"),
    ];
    let shown = named
        .into_iter()
        .map(|(status, name)| (count(status), name))
        .filter(|(n, _)| *n > 0);
    shown
        .map(|(n, name)| format!("{n} {name}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The first score of a family by variant.
fn by_variant(family: &[&Scored], score: &str, resamples: usize, seed: u64) -> String {
    let mut variants = in_order(family.iter().map(|scored| scored.variant.as_str()));
    variants.sort_unstable();
    let mut out = String::new();
    if variants.len() < 2 {
        return out;
    }
    let heads: Vec<String> = variants.iter().map(|variant| format!("{variant:>22}")).collect();
    let _ = writeln!(out, "{:<21} {}", format!("{score} by variant"), heads.join(" "));
    for explainer in in_order(family.iter().map(|scored| scored.explainer.as_str())) {
        let cell = |variant: &&str| {
            let fits = |scored: &&&Scored| scored.explainer == explainer && scored.variant == **variant;
            let rows: Vec<&Scored> = family.iter().filter(fits).copied().collect();
            format!("{:>22}", shown(estimate(&rows, score, resamples, seed)))
        };
        let cells: Vec<String> = variants.iter().map(cell).collect();
        let _ = writeln!(out, "{explainer:<21} {}", cells.join(" "));
    }
    let inside = |scored: &&&Scored| scored.explainer == "offline" && scored.scores.contains_key("nmse inside");
    let mut inside: Vec<f64> = family
        .iter()
        .filter(inside)
        .map(|scored| scored.scores["nmse inside"])
        .collect();
    if !inside.is_empty() {
        inside.sort_by(f64::total_cmp);
        let _ = writeln!(
            out,
            "offline, inside of corrupted intervals: median NMSE {:.2e} of {} functions",
            inside[inside.len() / 2],
            inside.len()
        );
    }
    out
}

/// Whether the score tells a true explanation from another one.
fn informative(family: &[&Scored], score: &str) -> String {
    let mean = |control: Control| {
        let name = control.to_string();
        let rows = family.iter().filter(|scored| scored.explainer == name);
        let values: Vec<f64> = rows.filter_map(|scored| scored.scores.get(score).copied()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    match (mean(Control::Truth), mean(Control::Shuffled)) {
        (Some(truth), Some(shuffled)) => format!(
            "{score} of the truth is {:.3} above that of shuffled explanations: {}\n",
            truth - shuffled,
            if truth - shuffled >= 0.2 {
                "informative"
            } else {
                "not informative (below 0.2)"
            }
        ),
        _ => String::new(),
    }
}
