//! The table of learned masks.

use super::report::{EVERYTHING, Masks, NOTHING};
use crate::metric::Metric;
use crate::report::Score;
use std::fmt::Write;

/// Means over sites and attributes with intervals, comparisons, and every site.
pub fn table(masks: &Masks) -> String {
    let mut out = String::new();
    let names = families(masks);
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0).max(10) + 2;
    let _ = writeln!(
        out,
        "LEARNED MASKS, MEANS OVER SITES AND ATTRIBUTES (95 % over seeds or draws and prompts)\n\
         {:<width$}{:>5}{:>21}{:>21}{:>21}{:>9}",
        "dictionary", "seeds", "success", "isolation", "score", "latents"
    );
    for name in &names {
        let cell = |metric: Metric| {
            let mean = masks
                .means
                .iter()
                .find(|mean| mean.family == *name && mean.metric == metric);
            match mean.map(|mean| (mean.value, mean.low.zip(mean.high))) {
                Some((value, Some((low, high)))) => format!("{value:.2} [{low:.2}, {high:.2}]"),
                _ => number(mean_of(masks, name, None, metric)),
            }
        };
        let seeds = masks.dictionaries.iter().filter(|facts| facts.family == *name).count();
        let cells = [Metric::MaskSuccess, Metric::MaskIsolation, Metric::MaskScore]
            .map(|metric| format!("{:>21}", cell(metric)));
        let latents = mean_of(masks, name, None, Metric::MaskLatents).map_or("-".to_owned(), |n| format!("{n:.0}"));
        let _ = writeln!(out, "{name:<width$}{seeds:>5}{}{latents:>9}", cells.concat());
    }
    if !masks.comparisons.is_empty() {
        let _ = writeln!(
            out,
            "\nCOMPARISONS OF SCORES (95 % intervals; *: real by Holm's procedure over all {})",
            masks.comparisons.len()
        );
        for found in &masks.comparisons {
            let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
            let _ = writeln!(
                out,
                "{} - {}: {} - {} = {}  [{}, {}]{}  over {}",
                found.left,
                found.right,
                number(found.left_value),
                number(found.right_value),
                number(found.difference),
                number(found.low),
                number(found.high),
                if found.real { " *" } else { "" },
                found.pairs
            );
        }
    }
    let _ = writeln!(out, "\nEVERY SITE AND ATTRIBUTE (success / isolation / latents)");
    for site in &masks.sites {
        for &attribute in &site.attributes {
            let _ = writeln!(out, "{} {attribute}", site.name);
            for name in &names {
                let of = |metric| mean_of(masks, name, Some((&site.name, attribute)), metric);
                if of(Metric::MaskSuccess).is_none() {
                    continue;
                }
                let latents = of(Metric::MaskLatents).map_or("-".to_owned(), |n| format!("{n:.0}"));
                let [success, isolation] =
                    [Metric::MaskSuccess, Metric::MaskIsolation].map(|metric| number(of(metric)));
                let _ = writeln!(out, "  {name:<width$}{success:>6}{isolation:>7}{latents:>8}");
            }
        }
    }
    let _ = writeln!(
        out,
        "\nsuccess: share of prompts predicted as under the ground-truth patch when the masked part comes from a prompt\n\
         with another value of the attribute; isolation: share whose prediction stays when only another attribute\n\
         differs; score: mean of both. `{NOTHING}` exchanges nothing and `{EVERYTHING}` the whole activation: where\n\
         `{EVERYTHING}` isolates, the site carries nothing else that the model uses"
    );
    out
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}

/// Families in the order of their first dictionary, after what needs none.
fn families(masks: &Masks) -> Vec<String> {
    let mut names = vec![NOTHING.to_owned(), EVERYTHING.to_owned()];
    for facts in &masks.dictionaries {
        if !names.contains(&facts.family) {
            names.push(facts.family.clone());
        }
    }
    names
}

/// Mean of a metric over the dictionaries of a family, at one place or at all.
fn mean_of(masks: &Masks, family: &str, place: Option<(&str, tasks::Attribute)>, metric: Metric) -> Option<f64> {
    let is_member = |score: &Score| {
        let mut of = masks.dictionaries.iter().filter(|facts| facts.family == family);
        score.dictionary == family || of.any(|facts| facts.name == score.dictionary)
    };
    let here =
        |score: &Score| place.is_none_or(|(site, attribute)| score.site == site && score.attribute == Some(attribute));
    let scores = masks
        .scores
        .iter()
        .filter(|score| score.metric == metric && is_member(score) && here(score));
    let values: Vec<f64> = scores.filter_map(|score| score.value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
