//! The page that puts runs side by side: means, differences and whether they are real, Pareto plots, stability of the ranking.

use eval::compare::{Compared, Evaluation, Pair};
use eval::ledger::Selection;
use eval::metric::{EditMethod, Metric};
use eval::report::Report;
use maud::{Markup, html};

use crate::figure::{Figure, Kind, Point};
use crate::glossary::{term, term_as};
use crate::run::Spliced;
use crate::shell::Shell;
use crate::table::{Filter, Row, Table};
use crate::{Error, number, text};

/// A run of the comparison.
#[derive(Debug)]
pub struct Side<'a> {
    /// What was measured.
    pub evaluation: &'a Evaluation,
    /// Its dictionaries on running text; none where `saelab splice` was not run.
    pub spliced: Vec<Spliced>,
}

/// The page: what `saelab compare` found, and every dictionary of every run as a point. `method` and `k`: of the edits.
///
/// # Errors
///
/// [`Error::Json`].
pub fn page(sides: &[Side<'_>], found: &Compared, method: EditMethod, k: usize) -> Result<String, Error> {
    let series = families(sides);
    let edits = pareto(sides, method, k);
    let recovered = recovered(sides);
    let parts = [
        ("dictionaries", "Dictionaries", means(found)),
        ("differences", "Differences", differences(found)),
        (
            "pareto",
            "Pareto plots",
            html! {
                p { "A " (term("Pareto plot")) ": a point a dictionary and seed, over all runs and sites." }
                (edits.render(&series)?)
                (recovered.render(&series)?)
                @if recovered.points.is_empty() { p class="soft" { "Cross-entropy on running text: not measured; `saelab splice` does." } }
            },
        ),
        ("stability", "Stability of the ranking", stability(found)),
    ];
    let names: Vec<String> = sides.iter().map(|side| text::shown(&side.evaluation.name)).collect();
    let shell = Shell {
        title: &match names.len() {
            0..=3 => format!("Comparison: {}", names.join(", ")),
            n => format!("Comparison of {n} runs"),
        },
        links: parts
            .iter()
            .map(|(id, name, _)| (format!("#{id}"), (*name).to_owned()))
            .chain([("#glossary".to_owned(), "Glossary".to_owned())])
            .collect(),
        latents: false,
        main: html! { @for (id, name, contents) in &parts { section id=(id) { h2 { (name) } (contents) } } },
    };
    Ok(shell.render())
}

/// Families of all runs, the order of colours.
fn families(sides: &[Side<'_>]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for facts in sides.iter().flat_map(|side| &side.evaluation.report.dictionaries) {
        if !all.contains(&facts.family) {
            all.push(facts.family.clone());
        }
    }
    all
}

fn means(found: &Compared) -> Markup {
    let row = |family: &eval::compare::Family| {
        let name = html! { bdi { (text::shown(&family.name)) } };
        let means = family.means.iter().map(|mean| number::other(*mean));
        Row::of([name, html! { (family.seeds) }].into_iter().chain(means).collect())
    };
    let metrics = found.metrics.iter().map(ToString::to_string);
    let table = Table {
        id: "means".to_owned(),
        caption: "Means of dictionaries over seeds and places".to_owned(),
        headings: ["dictionary".to_owned(), "seeds".to_owned()]
            .into_iter()
            .chain(metrics)
            .collect(),
        rows: found.families.iter().map(row).collect(),
        filters: Vec::new(),
    };
    html! { p { "Means over seeds, " (term_as("site", "sites")) " and attributes." } (table.render()) }
}

fn differences(found: &Compared) -> Markup {
    let row = |pair: &Pair| Row {
        cells: vec![
            html! { bdi { (text::shown(&pair.left)) } },
            html! { bdi { (text::shown(&pair.right)) } },
            html! { (pair.metric) },
            number::other(Some(pair.difference)),
            number::other(pair.low),
            number::other(pair.high),
            html! { (pair.places) },
            html! { (pair.verdict()) },
        ],
        keys: vec![pair.metric.to_string()],
        real: Some(pair.real),
    };
    let table = Table {
        id: "pairs".to_owned(),
        caption: "Differences of dictionaries".to_owned(),
        headings: [
            "left",
            "right",
            "metric",
            "difference",
            "low",
            "high",
            "places",
            "is it real?",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: found.pairs.iter().map(row).collect(),
        filters: vec![Filter {
            label: "Metric".to_owned(),
            values: found.metrics.iter().map(ToString::to_string).collect(),
            first: false,
        }],
    };
    html! {
        p { "Left minus right, paired by prompt, with 95 % intervals. Whether a difference is real is judged by Holm's procedure over all differences of its metric." }
        (table.render())
    }
}

fn stability(found: &Compared) -> Markup {
    let row = |of: &eval::compare::Stability| {
        let tau = match of.tau {
            Some(_) => number::other(of.tau),
            None => html! { "not measured: it needs two dictionaries with two seeds" },
        };
        Row::of(vec![
            html! { (of.metric) },
            tau,
            html! { (of.families) },
            html! { (of.seeds) },
        ])
    };
    let table = Table {
        id: "ranking".to_owned(),
        caption: "Stability of the ranking".to_owned(),
        headings: ["metric", "Kendall's tau", "dictionaries", "seeds"]
            .map(str::to_owned)
            .to_vec(),
        rows: found.stability.iter().map(row).collect(),
        filters: Vec::new(),
    };
    html! { p { (term("Kendall's tau")) " of the rankings by two seeds, mean over all pairs of seeds." } (table.render()) }
}

/// The mean of a metric of one dictionary over sites and attributes.
fn mean(report: &Report, dictionary: &str, metric: Metric, method: EditMethod, k: usize) -> Option<f64> {
    let selection = Selection {
        metric,
        method: Some(method),
        k: Some(k),
    };
    let of = report
        .scores
        .iter()
        .filter(|score| score.dictionary == dictionary && selection.takes(score));
    let values: Vec<f64> = of.filter_map(|score| score.value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Edit accuracy against active latents.
fn pareto(sides: &[Side<'_>], method: EditMethod, k: usize) -> Figure {
    let mut points = Vec::new();
    for side in sides {
        let report = &side.evaluation.report;
        for facts in &report.dictionaries {
            let of = |metric| mean(report, &facts.name, metric, method, k);
            if let (Some(l0), Some(value)) = (of(Metric::L0), of(Metric::EditAccuracy)) {
                points.push(Point {
                    series: facts.family.clone(),
                    name: format!("{} of {}", facts.name, side.evaluation.name),
                    x: Some(l0),
                    value,
                    ..Point::default()
                });
            }
        }
    }
    Figure {
        id: "pareto-edits",
        title: format!("Edit accuracy (k = {k}) against L0"),
        caption: html! { "The best is the upper left: few active " (term_as("latent", "latents")) ", and edits that work." },
        kind: Kind::Scatter,
        x: "L0".to_owned(),
        y: "edit accuracy".to_owned(),
        domain: Some([0.0, 1.0]),
        filter: String::new(),
        log: false,
        dense: false,
        points,
    }
}

/// Cross-entropy recovered against active latents.
fn recovered(sides: &[Side<'_>]) -> Figure {
    let series = |side: &Side<'_>, name: &str| {
        let facts = side
            .evaluation
            .report
            .dictionaries
            .iter()
            .find(|facts| facts.name == name);
        facts.map_or_else(|| name.to_owned(), |facts| facts.family.clone())
    };
    let point = |side: &Side<'_>, row: &Spliced| {
        Some(Point {
            series: series(side, &row.dictionary),
            name: format!("{} of {}", row.dictionary, side.evaluation.name),
            facet: row.site.clone(),
            x: Some(row.fidelity.l0),
            value: row.recovered_from_zero?,
            ..Point::default()
        })
    };
    Figure {
        id: "pareto-text",
        title: "Cross-entropy recovered against L0".to_owned(),
        caption: html! { (term("CE recovered")) " on running text. The best is the upper left." },
        kind: Kind::Scatter,
        x: "L0".to_owned(),
        y: "CE recovered".to_owned(),
        domain: None,
        filter: String::new(),
        log: false,
        dense: false,
        points: sides
            .iter()
            .flat_map(|side| side.spliced.iter().filter_map(|row| point(side, row)))
            .collect(),
    }
}
