//! The three axes as figures: every score of a report as it stands there, with its interval.

use eval::metric::{EditMethod, Metric};
use eval::report::{ALWAYS_ON, NONE, Report};
use eval::table::columns::{self, Row};
use maud::html;

use super::behind::Behind;
use crate::figure::{Figure, Kind, Point};
use crate::glossary::term;

/// The order of colours on a page: families and baselines in the order of the report.
pub(crate) fn series(report: &Report) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for row in columns::rows(report) {
        if !all.iter().any(|known| known == row.family) {
            all.push(row.family.to_owned());
        }
    }
    all
}

/// A score as a point, which leads to the latents behind it; none where it is undefined.
fn point(row: &Row<'_>, place: usize, facet: String, behind: &Behind<'_>) -> Option<Point> {
    let score = row.score;
    Some(Point {
        series: row.family.to_owned(),
        name: score.dictionary.clone(),
        facet,
        value: score.value?,
        low: score.low,
        high: score.high,
        verdict: score.verdict.clone(),
        score: Some(place),
        link: behind.score(score),
        ..Point::default()
    })
}

/// Site and attribute of a score.
fn place(row: &Row<'_>) -> String {
    match row.score.attribute {
        Some(attribute) => format!("{} · {attribute}", row.score.site),
        None => row.score.site.clone(),
    }
}

fn points(report: &Report, each: impl Fn(&Row<'_>, usize) -> Option<Point>) -> Vec<Point> {
    let rows = columns::rows(report);
    rows.iter().enumerate().filter_map(|(at, row)| each(row, at)).collect()
}

/// The points of some metrics, which can be filtered by the metrics' names, in the order of the list.
fn points_by_metric(report: &Report, behind: &Behind<'_>, shown: &[(Metric, &str)]) -> Vec<Point> {
    let of = |row: &Row<'_>, at| {
        let (_, name) = shown.iter().find(|(metric, _)| *metric == row.score.metric)?;
        Some(Point {
            filter: Some((*name).to_owned()),
            ..point(row, at, place(row), behind)?
        })
    };
    let mut points = points(report, of);
    points.sort_by_key(|point| {
        shown
            .iter()
            .position(|(_, name)| point.filter.as_deref() == Some(*name))
    });
    points
}

/// Axis 1: sufficiency and necessity by site.
pub(crate) fn approximation(report: &Report, behind: &Behind<'_>) -> Figure {
    let shown = [
        (Metric::Sufficiency, "sufficiency"),
        (Metric::Necessity, "necessity"),
        (Metric::Fvu, "FVU"),
        (Metric::L0, "L0"),
    ];
    let points = points_by_metric(report, behind, &shown);
    Figure {
        id: "approximation",
        title: "Approximation by site".to_owned(),
        caption: html! {
            (term("sufficiency")) ": does the model do the same on reconstructions? " (term("necessity")) ": does taking them away do as much harm as ablation? \
             The best of both is 1, more is not better. A point a " (term("seed")) ", with its " (term("interval")) "."
        },
        kind: Kind::Whiskers,
        x: String::new(),
        y: "value".to_owned(),
        domain: None,
        filter: "Score".to_owned(),
        log: false,
        dense: false,
        points,
    }
}

/// Axis 2: edit accuracy against the number of exchanged latents.
pub(crate) fn control(report: &Report, behind: &Behind<'_>) -> Figure {
    let of = |row: &Row<'_>, at| {
        let score = row.score;
        let method = score.method.filter(|method| *method != EditMethod::Supervised);
        (score.metric == Metric::EditAccuracy).then_some(())?;
        Some(Point {
            filter: method.map(|method| method.to_string()),
            x: score.k.map(|k| k as f64),
            ..point(row, at, place(row), behind)?
        })
    };
    let points = by_search(report, points(report, of));
    Figure {
        id: "control",
        title: "Edit accuracy by number of exchanged latents".to_owned(),
        caption: html! {
            (term("edit accuracy")) " against " (term("k")) ", a line a dictionary. Dashed lines exchange nothing (none, the " (term("chance level"))
            ") or one supervised value, whatever k."
        },
        kind: Kind::Lines,
        x: "k".to_owned(),
        y: "edit accuracy".to_owned(),
        domain: Some([0.0, 1.0]),
        filter: "Search".to_owned(),
        log: false,
        dense: false,
        points,
    }
}

/// The searches of edits that the report has, in the order of its settings.
fn methods(report: &Report) -> Vec<String> {
    report.config.edits.iter().map(ToString::to_string).collect()
}

/// Axis 2: how much of the reference's success edits have, against how much more they change.
pub(crate) fn magnitude(report: &Report, behind: &Behind<'_>) -> Figure {
    let rows = columns::rows(report);
    let excess = |row: &Row<'_>| {
        let fits = |other: &&Row<'_>| {
            let (a, b) = (row.score, other.score);
            b.metric == Metric::EditExcess
                && (&a.dictionary, &a.site, a.attribute, a.method, a.k)
                    == (&b.dictionary, &b.site, b.attribute, b.method, b.k)
        };
        rows.iter().find(fits).and_then(|row| row.score.value)
    };
    let of = |row: &Row<'_>, at| {
        let score = row.score;
        (score.metric == Metric::EditSuccess).then_some(())?;
        let attribute = score
            .attribute
            .map(|attribute| attribute.to_string())
            .unwrap_or_default();
        Some(Point {
            filter: score.method.map(|method| method.to_string()),
            x: Some(excess(row)?),
            name: format!(
                "{} k={} at {}",
                score.dictionary,
                score.k.map_or_else(|| "-".to_owned(), |k| k.to_string()),
                score.site
            ),
            ..point(row, at, attribute, behind)?
        })
    };
    Figure {
        id: "magnitude",
        title: "Success against magnitude".to_owned(),
        caption: html! {
            (term("edit success")) " (1: as good as the reference " bdi { (crate::text::shown(&report.config.reference)) } ") against " (term("edit excess"))
            " (0: no more changed than by the reference). The best is the upper left."
        },
        kind: Kind::Scatter,
        x: "edit excess".to_owned(),
        y: "edit success".to_owned(),
        domain: None,
        filter: "Search".to_owned(),
        log: false,
        dense: false,
        points: by_search(report, points(report, of)),
    }
}

/// The searches in the order of the settings; the first one is shown first.
fn by_search(report: &Report, mut points: Vec<Point>) -> Vec<Point> {
    let methods = methods(report);
    let place = |point: &Point| {
        methods
            .iter()
            .position(|method| point.filter.as_ref() == Some(method))
            .unwrap_or(usize::MAX)
    };
    points.sort_by_key(place);
    points
}

/// Axis 3: F1 of the best latents, with the chance level as a line.
pub(crate) fn interpretability(report: &Report, behind: &Behind<'_>) -> Figure {
    let shown = [
        (Metric::F1, "F1"),
        (Metric::Precision, "precision"),
        (Metric::Recall, "recall"),
        (Metric::Mcc, "MCC"),
        (Metric::AveragePrecision, "average precision"),
    ];
    let of = |row: &Row<'_>, at| {
        let (_, name) = shown.iter().find(|(metric, _)| *metric == row.score.metric)?;
        Some(Point {
            filter: Some((*name).to_owned()),
            rule: row.score.dictionary == ALWAYS_ON || row.score.dictionary == NONE,
            ..point(row, at, place(row), behind)?
        })
    };
    let mut points = points(report, of);
    points.sort_by_key(|point| {
        shown
            .iter()
            .position(|(_, name)| point.filter.as_deref() == Some(*name))
    });
    Figure {
        id: "interpretability",
        title: "Agreement of latents with attributes".to_owned(),
        caption: html! {
            (term("F1")) " of the best " (term("latent")) " for each value. The dashed line is the " (term("chance level")) ": a latent that is "
            (term("always-on")) "."
        },
        kind: Kind::Whiskers,
        x: String::new(),
        y: "value".to_owned(),
        domain: Some([0.0, 1.0]),
        filter: "Score".to_owned(),
        log: false,
        dense: false,
        points,
    }
}

/// The checks for occlusion and over-splitting.
pub(crate) fn checks(report: &Report, behind: &Behind<'_>) -> Figure {
    let shown = [
        (Metric::Occlusion, "occlusion"),
        (Metric::OverSplitting, "over-splitting"),
        (Metric::SplittingAgreement, "agreement of seeds"),
        (Metric::SplittingAcross, "agreement of samples"),
    ];
    let points = points_by_metric(report, behind, &shown);
    Figure {
        id: "checks",
        title: "Occlusion and over-splitting".to_owned(),
        caption: html! {
            (term("occlusion")) " index and " (term("over-splitting")) " share, 0 where there is none, with what the check says (" (term("verdict")) ")."
        },
        kind: Kind::Whiskers,
        x: String::new(),
        y: "value".to_owned(),
        domain: None,
        filter: "Check".to_owned(),
        log: false,
        dense: false,
        points,
    }
}
