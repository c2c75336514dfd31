//! The columns of a report's tables, and which scores each of them averages: the same for the terminal and for pages.

use std::collections::BTreeSet;

use tasks::Attribute;

use crate::ledger::Selection;
use crate::metric::{EditMethod, Metric};
use crate::report::{Report, Score};

/// A group of columns under one heading.
pub struct Group {
    /// The heading.
    pub title: String,
    /// Width of each column in a terminal, in characters.
    pub width: usize,
    /// The columns, each with its own heading.
    pub columns: Vec<(String, Column)>,
}

/// What a column shows.
pub struct Column {
    /// Which scores are averaged.
    pub selection: Selection,
    /// The attribute that they are about; none for scores of no attribute.
    pub attribute: Option<Attribute>,
    /// Of scores that have one.
    pub threshold: Option<f64>,
}

impl Column {
    /// Mean of the fitting scores of one family. Edits without a `k` (supervised, none) stand in every column of their
    /// attribute.
    pub fn mean(&self, scores: &[Row<'_>], family: &str) -> Option<f64> {
        let fitting = scores.iter().filter(|row| self.takes(row, family));
        let values: Vec<f64> = fitting.filter_map(|row| row.score.value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// Whether the column averages this score for a family.
    pub fn takes(&self, row: &Row<'_>, family: &str) -> bool {
        row.family == family
            && row.score.attribute == self.attribute
            && row.score.threshold == self.threshold
            && self.selection.takes(row.score)
    }
}

/// A score and the family it counts for; baselines are families of their own.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    /// The family.
    pub family: &'a str,
    /// The score.
    pub score: &'a Score,
}

/// All scores of a report, in its order.
pub fn rows(report: &Report) -> Vec<Row<'_>> {
    let of = |score: &Score| report.dictionaries.iter().find(|facts| facts.name == score.dictionary);
    let families = report.scores.iter().map(of);
    let with_family = families.zip(&report.scores).map(|(facts, score)| Row {
        family: facts.map_or(score.dictionary.as_str(), |facts| facts.family.as_str()),
        score,
    });
    with_family.collect()
}

/// Attributes that are edited somewhere.
pub(super) fn attributes(report: &Report) -> Vec<Attribute> {
    let edited = report.sites.iter().flat_map(|site| site.attributes.iter().copied());
    edited.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A column of a metric that has no edit behind it.
pub(super) fn plain(name: &str, metric: Metric, attribute: Option<Attribute>) -> (String, Column) {
    let selection = Selection {
        metric,
        method: None,
        k: None,
    };
    let column = Column {
        selection,
        attribute,
        threshold: None,
    };
    (name.to_owned(), column)
}

/// A column of an edit by the first search of the config.
pub(super) fn edited(
    report: &Report,
    name: String,
    metric: Metric,
    attribute: Attribute,
    k: usize,
) -> (String, Column) {
    let method = report.config.edits.first().copied().or(Some(EditMethod::Supervised));
    let (selection, attribute) = (
        Selection {
            metric,
            method,
            k: Some(k),
        },
        Some(attribute),
    );
    let column = Column {
        selection,
        attribute,
        threshold: None,
    };
    (name, column)
}

/// Heads an attribute's column under a title that says what is shown.
fn heading(attribute: Attribute) -> String {
    match attribute {
        Attribute::OTHER_GENDER => "other".to_owned(),
        _ => attribute.to_string(),
    }
}

/// Width of columns headed by attributes, which keeps a space between them.
fn width(attributes: &[Attribute]) -> usize {
    let longest = attributes.iter().map(|&attribute| heading(attribute).len()).max();
    longest.map_or(5, |longest| 5.max(longest + 1))
}

/// The columns of the first table.
pub fn groups(report: &Report) -> Vec<Group> {
    let mut groups = vec![Group {
        title: "approximation".to_owned(),
        width: 6,
        columns: vec![
            plain("suff", Metric::Sufficiency, None),
            plain("|1-s|", Metric::SufficiencyGap, None),
            plain("nec", Metric::Necessity, None),
        ],
    }];
    let attributes = attributes(report);
    for &attribute in &attributes {
        let edit = |&k: &usize| edited(report, format!("k={k}"), Metric::EditAccuracy, attribute, k);
        groups.push(Group {
            title: format!("edit {attribute}"),
            width: 5,
            columns: report.config.ks.iter().map(edit).collect(),
        });
    }
    let f1 = |&attribute: &Attribute| plain(&heading(attribute), Metric::F1, Some(attribute));
    groups.push(Group {
        title: "F1".to_owned(),
        width: width(&attributes),
        columns: attributes.iter().map(f1).collect(),
    });
    groups
}

/// The columns of the second table: how large a dictionary is, what of it is alive, and what edits come to at numbers of latents that
/// do not favour one sparsity.
pub fn further(report: &Report) -> Vec<Group> {
    let attributes = attributes(report);
    let mcc = |&attribute: &Attribute| plain(&heading(attribute), Metric::Mcc, Some(attribute));
    let searched = |metric: Metric, method: EditMethod| {
        let column = |&attribute: &Attribute| {
            let (name, column) = plain(&heading(attribute), metric, Some(attribute));
            let selection = Selection {
                method: Some(method),
                ..column.selection
            };
            (name, Column { selection, ..column })
        };
        attributes.iter().map(column).collect()
    };
    let first = report.config.edits.first().copied().unwrap_or(EditMethod::Supervised);
    let facts = vec![
        plain("width", Metric::Width, None),
        plain("alive", Metric::Alive, None),
        plain("L0", Metric::L0, None),
        plain("FVU", Metric::Fvu, None),
    ];
    vec![
        group("at the node", 6, facts),
        group("MCC", width(&attributes), attributes.iter().map(mcc).collect()),
        group(
            "edit L0/2",
            width(&attributes),
            searched(Metric::EditHalf, EditMethod::Greedy),
        ),
        group("edit area", width(&attributes), searched(Metric::EditArea, first)),
    ]
}

/// The columns of the third table.
pub(super) fn causal(report: &Report) -> Vec<Group> {
    let (attributes, k) = (attributes(report), report.config.compare_k);
    let column = |&attribute: &Attribute| edited(report, heading(attribute), Metric::EditKl, attribute, k);
    // The strictest of the thresholds; report.json has them all.
    let threshold = report.config.thresholds.last().copied();
    let at_threshold = |name, metric| {
        let (name, column) = plain(name, metric, None);
        (name, Column { threshold, ..column })
    };
    let thresholds = vec![
        at_threshold("interp", Metric::Interpreted),
        at_threshold("keep", Metric::Keep),
        at_threshold("remove", Metric::Remove),
    ];
    vec![
        group("KL", width(&attributes), attributes.iter().map(column).collect()),
        group("latents", 7, thresholds),
    ]
}

fn group(title: &str, width: usize, columns: Vec<(String, Column)>) -> Group {
    Group {
        title: title.to_owned(),
        width,
        columns,
    }
}
