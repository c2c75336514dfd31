//! The verdicts of checks, by family, with what they would be with other thresholds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::columns::Row;
use crate::metric::Metric;
use crate::report::Score;

/// The verdict of each check that says that something is wrong.
const FOUND: [(Metric, &str); 2] = [(Metric::Occlusion, "occludes"), (Metric::OverSplitting, "splits")];

/// How often each verdict was given, by check and family: one a site and seed or draw.
pub(super) fn write(out: &mut String, rows: &[Row<'_>]) {
    let judged: Vec<&Row<'_>> = rows.iter().filter(|row| row.score.verdict.is_some()).collect();
    let metrics: BTreeSet<Metric> = judged.iter().map(|row| row.score.metric).collect();
    if metrics.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\nCHECKS (sites and seeds or draws with the verdict; in brackets the fewest and the most when one\n\
         threshold is a quarter lower or higher; what `random` gets is said of the activations)"
    );
    for metric in metrics {
        let of_metric: Vec<&Row<'_>> = judged
            .iter()
            .copied()
            .filter(|row| row.score.metric == metric)
            .collect();
        let families: BTreeSet<&str> = of_metric.iter().map(|row| row.family).collect();
        let _ = writeln!(out, "{metric}");
        for family in families {
            let of: Vec<&Score> = of_metric
                .iter()
                .filter(|row| row.family == family)
                .map(|row| row.score)
                .collect();
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            of.iter()
                .flat_map(|score| &score.verdict)
                .for_each(|verdict| *counts.entry(verdict).or_default() += 1);
            if let Some((_, found)) = FOUND.iter().find(|(of, _)| *of == metric) {
                counts.entry(found).or_default();
            }
            let counted = counts.iter().map(|(verdict, n)| {
                let is_found = FOUND.iter().any(|(of, found)| *of == metric && found == verdict);
                format!(
                    "{verdict} {n}{}",
                    if is_found { range(&of, verdict) } else { String::new() }
                )
            });
            let _ = writeln!(out, "  {family:<18}{}", counted.collect::<Vec<_>>().join(", "));
        }
    }
}

/// The fewest and the most with a verdict over all changes of one threshold.
fn range(scores: &[&Score], verdict: &str) -> String {
    let changes: BTreeSet<&String> = scores.iter().flat_map(|score| score.sensitivity.keys()).collect();
    let with = |change: &String| {
        let says = |score: &&&Score| {
            let said = score.sensitivity.get(change).or(score.verdict.as_ref());
            said.is_some_and(|said| said == verdict)
        };
        scores.iter().filter(says).count()
    };
    let plain = scores
        .iter()
        .filter(|score| score.verdict.as_deref() == Some(verdict))
        .count();
    let counts = || changes.iter().map(|change| with(change)).chain([plain]);
    match (counts().min(), counts().max()) {
        (Some(fewest), Some(most)) => format!(" [{fewest}, {most}]"),
        _ => String::new(),
    }
}
