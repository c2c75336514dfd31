//! The page about a run.

use std::collections::BTreeMap;

use eval::ledger::members;
use eval::table::columns::{Group, further, groups};
use maud::{Markup, html};
use serde_json::Value;

use super::behind::Behind;
use super::words::{Asked, sentences, shortcomings};
use super::{Run, circuit, curves, explanations, figures, phenomena};
use crate::glossary::{term, term_as};
use crate::means::mean;
use crate::shell::Shell;
use crate::table::{Row, Table};
use crate::{Error, number, text};

/// The page about a run: one file that needs nothing else.
///
/// # Errors
///
/// [`Error::Json`].
pub fn page(run: &Run) -> Result<String, Error> {
    let report = &run.report;
    let asked = Asked::new(report, &run.entries);
    let series = figures::series(report);
    let behind = Behind::new(&report.sites, &run.latents);
    let family = |name: &str| {
        let facts = report.dictionaries.iter().find(|facts| facts.name == name);
        facts.map_or_else(|| name.to_owned(), |facts| facts.family.clone())
    };
    let short = shortcomings(&asked, &run.troubles);
    let parts = [
        ("came-out", "What came out", html! { (sentences(&asked)) }),
        (
            "short",
            "What fell short",
            html! {
                @if short.is_empty() { p { "Nothing that the page looks for." } }
                ul { @for item in &short { li { (item) } } }
            },
        ),
        ("what", "What was run", what(run)),
        (
            "axes",
            "Three axes",
            html! {
                p { "Means over " (term_as("site", "sites")) " and " (term_as("seed", "seeds")) ", as in the terminal's table." }
                (means(&asked, groups(report), "means"))
                @if !run.latents.is_empty() { p { a href="#latents" { "The latents behind the figures" } ". A click on a point, or on its name in the table below a figure, opens its own." } }
            (figures::approximation(report, &behind).render(&series)?)
                (figures::control(report, &behind).render(&series)?)
                (figures::magnitude(report, &behind).render(&series)?)
                (figures::interpretability(report, &behind).render(&series)?)
                h3 { "Further scores, edits with k = " (report.config.compare_k) }
                (means(&asked, further(report), "further"))
                (comparisons(run))
            },
        ),
        (
            "phenomena",
            "Occlusion and over-splitting",
            html! {
                (verdicts(&asked))
            (figures::checks(report, &behind).render(&series)?)
                @if let Some(summary) = &run.phenomena { (phenomena::section(summary)?) }
            },
        ),
        ("trainings", "Training", trainings(run, &series, family)?),
        (
            "circuits",
            "Circuits",
            match run.circuits.is_empty() {
                true => html! {},
                false => circuit::section(&run.circuits)?,
            },
        ),
        ("latents", "Latents", latents(run)),
        (
            "explanations",
            "Explanations",
            html! { @if let Some(explanations) = &run.explanations { (explanations::section(explanations)) } },
        ),
    ];
    let filled = || parts.iter().filter(|(_, _, contents)| !contents.0.is_empty());
    let shell = Shell {
        title: &format!("{} · {}", text::shown(&run.name), report.task),
        links: filled()
            .map(|(id, name, _)| (format!("#{id}"), (*name).to_owned()))
            .chain([("#glossary".to_owned(), "Glossary".to_owned())])
            .collect(),
        latents: false,
        main: html! { @for (id, name, contents) in filled() { section id=(id) { h2 { (name) } (contents) } } },
    };
    Ok(shell.render())
}

/// Model, data, seeds, cost and settings.
fn what(run: &Run) -> Markup {
    let report = &run.report;
    let (model, clean) = (&report.model, &report.clean);
    let from = |pointer: &str| [pointer.to_owned()];
    let text_of = |value: &Value| match value {
        Value::String(text) => text::shown(text),
        other => text::shown(&other.to_string()),
    };
    html! {
        dl class="facts" {
            dt { "Task" } dd { (report.task) }
            dt { "Model" } dd {
                (model.n_layer) " blocks, " (model.n_head) " heads, width " (model.d_model) ", " (model.d_vocab) " tokens; weights " code { (head(&model.hash)) }
            }
            dt { "Undisturbed" } dd {
                "logit difference " (number::of_report(Some(clean.logit_diff), &from("/clean/logit_diff"))) ", right on "
                (number::of_report(Some(clean.accuracy), &from("/clean/accuracy"))) " of " (clean.n) " prompts"
            }
            @if let Some((rows, _)) = &run.harvest { dt { "Activations" } dd { (rows) " vectors of each hook" } }
            dt { (term_as("site", "Sites")) } dd { ul { @for site in &report.sites { li {
                bdi { (text::shown(&site.name)) } ": "
                @for (place, attribute) in site.attributes.iter().enumerate() { @if place > 0 { ", " } (attribute) }
                @for evidence in &site.evidence { ", patching " (evidence.attribute) " changes " (number::other(Some(evidence.changed))) }
            } } } }
            @if let Some(Value::Object(facts)) = &run.circumstances {
                @for (key, value) in facts { dt { (text::shown(&key.replace('_', " "))) } dd { bdi { (text_of(value)) } } }
            }
        }
        (dictionaries(run))
        (settings("Settings of the evaluation", &serde_json::to_value(&report.config).unwrap_or(Value::Null)))
        @if let Some((_, harvest)) = &run.harvest { (settings("Settings of the harvest", harvest)) }
    }
}

/// A hash, as far as it is read.
fn head(hash: &str) -> String {
    hash.chars().take(12).collect()
}

/// The longest text of settings that is shown.
const LONGEST: usize = 20_000;

/// Settings as text, line by line; what a browser would act on is spelled out.
fn long(value: &str) -> String {
    let start: String = value.chars().take(LONGEST).collect();
    start.lines().map(text::shown).collect::<Vec<_>>().join("\n")
}

fn settings(title: &str, value: &Value) -> Markup {
    html! { details { summary { (title) } pre tabindex="0" { (long(&format!("{value:#}"))) } } }
}

fn dictionaries(run: &Run) -> Markup {
    let all = &run.report.dictionaries;
    let row = |facts: &eval::report::DictionaryFacts| {
        let kind = match (facts.folders.is_empty(), facts.seeded) {
            (true, _) => "baseline",
            (false, true) => "trained",
            (false, false) => "supervised",
        };
        Row::of(vec![
            html! { bdi { (text::shown(&facts.name)) } },
            html! { (kind) },
            html! { bdi { (text::shown(&facts.family)) } },
            html! { (members(all, &facts.family).len()) },
            html! { code { (head(&facts.identity)) } },
        ])
    };
    let table = Table {
        id: "dictionaries".to_owned(),
        caption: "Dictionaries".to_owned(),
        headings: ["dictionary", "kind", "family", "seeds", "hash"]
            .map(str::to_owned)
            .to_vec(),
        rows: all.iter().map(row).collect(),
        filters: Vec::new(),
    };
    html! { details { summary { (all.len()) " dictionaries" } (table.render()) } }
}

/// A row a family, the columns of the terminal's table.
fn means(asked: &Asked<'_>, groups: Vec<Group>, id: &str) -> Markup {
    let columns: Vec<(String, &eval::table::columns::Column)> = groups
        .iter()
        .flat_map(|group| {
            group
                .columns
                .iter()
                .map(move |(name, column)| (format!("{} {name}", group.title).trim().to_owned(), column))
        })
        .collect();
    let row = |family: &String| {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, column)| mean(&asked.rows, asked.entries, column, family))
            .collect();
        cells.iter().any(Option::is_some).then(|| {
            let cell = |cell: &Option<crate::means::Mean>| match cell {
                Some(mean) => number::of_report(Some(mean.value), &mean.from),
                None => html! { "-" },
            };
            let name = html! { bdi { (text::shown(family)) } };
            Row::of(std::iter::once(name).chain(cells.iter().map(cell)).collect())
        })
    };
    let table = Table {
        id: id.to_owned(),
        caption: "Means over sites and seeds".to_owned(),
        headings: std::iter::once("dictionary".to_owned())
            .chain(columns.iter().map(|(name, _)| {
                name.replace("approximation suff", "sufficiency")
                    .replace("approximation nec", "necessity")
            }))
            .collect(),
        rows: figures::series(asked.report).iter().filter_map(row).collect(),
        filters: Vec::new(),
    };
    table.render()
}

/// How often each verdict was given, as in the terminal's table.
fn verdicts(asked: &Asked<'_>) -> Markup {
    let mut counts: BTreeMap<(String, &str, &str), usize> = BTreeMap::new();
    for row in &asked.rows {
        if let Some(verdict) = &row.score.verdict {
            *counts
                .entry((row.score.metric.to_string(), verdict, row.family))
                .or_default() += 1;
        }
    }
    let row = |((metric, verdict, family), n): (&(String, &str, &str), &usize)| {
        let cells = [metric.as_str(), verdict, family].map(|text| html! { bdi { (text::shown(text)) } });
        Row::of(cells.into_iter().chain([html! { (n) }]).collect())
    };
    let table = Table {
        id: "verdicts".to_owned(),
        caption: "Verdicts of the checks".to_owned(),
        headings: ["check", "verdict", "dictionary", "sites and seeds"]
            .map(str::to_owned)
            .to_vec(),
        rows: counts.iter().map(row).collect(),
        filters: Vec::new(),
    };
    html! { @if !counts.is_empty() { (table.render()) } }
}

/// The differences that the settings ask for.
fn comparisons(run: &Run) -> Markup {
    let all = &run.report.comparisons;
    let row = |(place, of): (usize, &eval::Comparison)| {
        let at = |field: &str| [format!("/comparisons/{place}/{field}")];
        Row::of(vec![
            html! { bdi { (text::shown(&of.left)) } " − " bdi { (text::shown(&of.right)) } },
            html! { (of.metric) @if let Some(k) = of.k { " k=" (k) } },
            number::of_report(of.left_value, &at("left_value")),
            number::of_report(of.right_value, &at("right_value")),
            number::of_report(of.difference, &at("difference")),
            html! { @if of.low.is_some() { "[" (number::of_report(of.low, &at("low"))) ", " (number::of_report(of.high, &at("high"))) "]" } },
            html! { (of.pairs) @if !of.seeds_agree { ", seeds disagree" } },
        ])
    };
    let table = Table {
        id: "comparisons".to_owned(),
        caption: "Differences with paired intervals".to_owned(),
        headings: [
            "difference",
            "metric",
            "left",
            "right",
            "left − right",
            "interval",
            "places",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: all.iter().enumerate().map(row).collect(),
        filters: Vec::new(),
    };
    html! { @if !all.is_empty() { h3 { "Differences" } (table.render()) } }
}

fn trainings(run: &Run, series: &[String], family: impl Fn(&str) -> String) -> Result<Markup, Error> {
    if run.curves.is_empty() {
        return Ok(html! {});
    }
    let row = |curve: &curves::Curve| {
        let names = [
            html! { bdi { (text::shown(&curve.dictionary)) } },
            html! { bdi { (text::shown(&curve.site)) } },
        ];
        let steps = html! { (curve.steps.last().map_or(0.0, |(step, _)| *step)) };
        Row::of(
            names
                .into_iter()
                .chain([steps])
                .chain(curve.last.iter().take(3).map(|value| number::other(*value)))
                .collect(),
        )
    };
    let table = Table {
        id: "trained".to_owned(),
        caption: "The last step of every training".to_owned(),
        headings: [
            "dictionary",
            "where",
            "last step",
            "unexplained variance",
            "active latents",
            "dead",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: run.curves.iter().map(row).collect(),
        filters: Vec::new(),
    };
    Ok(html! {
        (curves::figure(&run.curves, family).render(series)?)
        details { summary { "The last step of every training" } (table.render()) }
    })
}

fn latents(run: &Run) -> Markup {
    html! {
        @if !run.latents.is_empty() {
            p { "What each " (term("latent")) " does: contexts, logits, predicates, neighbours." }
            ul { @for (address, name) in &run.latents { li { a href=(address) { bdi { (text::shown(name)) } } } } }
        }
    }
}
