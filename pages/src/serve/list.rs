//! The list of runs in a folder, and what state each is in.

use std::path::{Path, PathBuf};

use eval::ledger::Selection;
use eval::report::REPORT;
use eval::{Metric, Report};
use maud::{Markup, html};
use serde_json::Value;

use super::paths;
use crate::folders::folders;
use crate::glossary::term;
use crate::shell::Shell;
use crate::table::{Filter, Row, Table};
use crate::{Error, number, text};

/// How deep below the folder runs are looked for.
const DEPTH: usize = 3;

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It has a report.
    Evaluated(Box<Report>),
    /// An evaluation has begun.
    InEvaluation,
    /// It has dictionaries.
    Trained,
    /// It has activations.
    Harvested,
    /// Its report cannot be read: why.
    Damaged(String),
}

/// A run in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Names of the folders that lead to it.
    pub parts: Vec<String>,
    /// How far it is.
    pub state: State,
    /// When it was evaluated, as its `run.json` says.
    pub date: Option<String>,
}

/// The runs in `root`, which must be canonical: all folders that hold what the stages of an experiment leave.
pub fn runs(root: &Path) -> Vec<Listed> {
    let mut found = Vec::new();
    look(root, &mut Vec::new(), &mut found);
    found
}

fn look(root: &Path, parts: &mut Vec<String>, found: &mut Vec<Listed>) {
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    // A link that leads out of the folder is not followed.
    let Some(dir) = paths::inside(root, &names) else { return };
    if let Some(state) = state(&dir) {
        let circumstances: Option<Value> = std::fs::read(dir.join("run.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let date = circumstances.and_then(|facts| facts["date"].as_str().map(str::to_owned));
        found.push(Listed {
            parts: parts.clone(),
            state,
            date,
        });
        return;
    }
    if parts.len() < DEPTH {
        for name in folders(&dir) {
            parts.push(name);
            look(root, parts, found);
            parts.pop();
        }
    }
}

/// None for a folder that is no run.
fn state(dir: &Path) -> Option<State> {
    let has = |name: &str| dir.join(name).exists();
    if has(REPORT) {
        return Some(match Report::read(&dir.join(REPORT)) {
            Ok(report) => State::Evaluated(Box::new(report)),
            Err(error) => State::Damaged(error.to_string()),
        });
    }
    match () {
        () if has("eval-unfinished") => Some(State::InEvaluation),
        () if has("sae") || has("supervised") => Some(State::Trained),
        () if has("activations") => Some(State::Harvested),
        () => None,
    }
}

/// What the page of a run says that has no report that can be read.
pub(super) fn reason(dir: &Path, error: &Error) -> String {
    match state(dir) {
        Some(State::InEvaluation) => {
            "its evaluation has begun and is not finished; `saelab eval` goes on with it".to_owned()
        }
        Some(State::Trained) => "it has dictionaries and was not evaluated; `saelab eval` does".to_owned(),
        Some(State::Harvested) => {
            "it has activations and no dictionaries; `saelab fit` and `saelab train` make them".to_owned()
        }
        _ => error.to_string(),
    }
}

/// A page that says what is wrong with what was asked for.
pub(super) fn damaged(what: &str, reason: &str) -> String {
    let shell = Shell {
        title: &text::shown(what),
        links: vec![("/".to_owned(), "All runs".to_owned())],
        latents: false,
        main: html! { section { h2 { "Not shown" } p { "It cannot be shown: " bdi { (clean(reason)) } } } },
    };
    shell.render_with_forms()
}

/// A message as text: a path in it may be long, and hold anything.
fn clean(reason: &str) -> String {
    let lines: String = reason
        .chars()
        .take(600)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    lines.split(' ').map(text::shown).collect::<Vec<_>>().join(" ")
}

/// The page.
pub(super) fn page(root: &Path) -> Result<String, Error> {
    let runs = runs(root);
    let rows = runs.iter().map(row).collect();
    let states = ["evaluated", "in evaluation", "trained", "harvested", "damaged"];
    let table = Table {
        id: "runs".to_owned(),
        caption: "Runs".to_owned(),
        headings: [
            "run",
            "compare",
            "state",
            "task",
            "sites",
            "dictionaries",
            "best edit accuracy",
            "best F1",
            "evaluated",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
        filters: vec![Filter {
            label: "State".to_owned(),
            values: states.map(str::to_owned).to_vec(),
            first: false,
        }],
    };
    let shell = Shell {
        title: &format!("Runs in {}", text::shown(&crate::run::name_of(&PathBuf::from(root)))),
        links: vec![("#glossary".to_owned(), "Glossary".to_owned())],
        latents: false,
        main: html! {
            section id="list" {
                @if runs.is_empty() { p { "There are no runs here yet: `make eval-ioi` makes one." } }
                form method="get" action="/compare" {
                    (table.render())
                    p { button type="submit" { "Compare the chosen runs" } }
                }
                p class="soft" { "Read anew whenever the page is loaded. Best: of the trained " (term("dictionary")) " whose mean over sites, attributes and seeds is largest." }
            }
        },
    };
    Ok(shell.render_with_forms())
}

fn row(run: &Listed) -> Row {
    let name = text::shown(&if run.parts.is_empty() {
        "(this folder)".to_owned()
    } else {
        run.parts.join("/")
    });
    let address = paths::address(&run.parts);
    let (kind, told) = match &run.state {
        State::Evaluated(_) => ("evaluated", String::new()),
        State::InEvaluation => ("in evaluation", String::new()),
        State::Trained => ("trained", String::new()),
        State::Harvested => ("harvested", String::new()),
        State::Damaged(reason) => ("damaged", clean(reason)),
    };
    let report = match &run.state {
        State::Evaluated(report) => Some(report),
        _ => None,
    };
    let of = |get: &dyn Fn(&Report) -> Markup| report.map_or_else(|| html! { "-" }, |report| get(report));
    Row {
        cells: vec![
            html! { a href={ "/run/" (address) } { bdi { (name) } } },
            html! { @if report.is_some() { label { input type="checkbox" name="run" value=(address.trim_end_matches('/')) aria-label={ "Compare " (name) }; } } },
            html! { span class=(if kind == "damaged" { "state bad" } else { "state" }) { (kind) } @if !told.is_empty() { ": " bdi { (told) } } },
            of(&|report| html! { (report.task) }),
            of(&|report| html! { (report.sites.len()) }),
            of(&|report| html! { (report.dictionaries.len()) }),
            of(&|report| number::other(best(report, Metric::EditAccuracy))),
            of(&|report| number::other(best(report, Metric::F1))),
            html! { bdi { (run.date.as_deref().map_or_else(|| "-".to_owned(), text::shown)) } },
        ],
        keys: vec![kind.to_owned()],
        real: None,
    }
}

/// The largest mean of a metric over the scores of a trained family; of edits by the first search, with the `k` that is compared.
fn best(report: &Report, metric: Metric) -> Option<f64> {
    let selection = Selection {
        metric,
        method: report.config.edits.first().copied(),
        k: Some(report.config.compare_k),
    };
    let trained = report
        .dictionaries
        .iter()
        .filter(|facts| facts.seeded && !facts.folders.is_empty());
    let mean = |family: &str| {
        let members = eval::ledger::members(&report.dictionaries, family);
        let of = report
            .scores
            .iter()
            .filter(|score| members.contains(&score.dictionary.as_str()) && selection.takes(score));
        let values: Vec<f64> = of.filter_map(|score| score.value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    trained.filter_map(|facts| mean(&facts.family)).max_by(f64::total_cmp)
}
