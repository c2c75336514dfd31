//! The toys of occlusion and over-splitting: their sweeps, and which statements about them hold.

use maud::{Markup, html};
use toys::Summary;
use toys::job::Outcome;

use crate::figure::{Figure, Kind, Point};
use crate::table::{Row, Table};
use crate::{Error, number};

/// The part of the page about toys.
pub(super) fn section(summary: &Summary) -> Result<Markup, Error> {
    let row = |bar: &toys::summary::Bar| {
        let verdict = match bar.holds {
            Some(true) => html! { span class="good" { "holds" } },
            Some(false) => html! { span class="bad" { "does not hold" } },
            None => html! { "not measured" },
        };
        Row::of(vec![
            html! { (bar.name) },
            html! { (bar.n) },
            number::other(bar.worst),
            verdict,
        ])
    };
    let table = Table {
        id: "toys".to_owned(),
        caption: "Statements about the toys".to_owned(),
        headings: ["statement", "configurations", "least favourable", "verdict"]
            .map(str::to_owned)
            .to_vec(),
        rows: summary.bars.iter().map(row).collect(),
        filters: Vec::new(),
    };
    Ok(html! {
        p { "Toys in which the truth is known: two sets of vectors of different norm (occlusion), two Gaussians (over-splitting)." }
        (table.render())
        (occlusion(summary).render(&[])?)
        (splitting(summary).render(&[])?)
    })
}

/// Coverage of the strong and of the weak values over training, a picture a configuration.
fn occlusion(summary: &Summary) -> Figure {
    let mut points = Vec::new();
    for record in &summary.records {
        let Outcome::Occlusion(outcome) = &record.outcome else {
            continue;
        };
        for checkpoint in &outcome.checkpoints {
            for coverage in &checkpoint.coverage {
                for (series, value) in [("strong", coverage.strong), ("weak", coverage.weak)] {
                    points.push(Point {
                        series: series.to_owned(),
                        name: series.to_owned(),
                        facet: record.settings.name(),
                        filter: Some(format!("{}", coverage.theta)),
                        x: Some(checkpoint.epoch),
                        value,
                        ..Point::default()
                    });
                }
            }
        }
    }
    Figure {
        id: "toy-occlusion",
        title: "Occlusion toy: coverage over training".to_owned(),
        caption: html! { "Share of the strong and of the weak values that some latent stands for, by the F1 that counts." },
        kind: Kind::Lines,
        x: "epoch".to_owned(),
        y: "coverage".to_owned(),
        domain: Some([0.0, 1.0]),
        filter: "F1".to_owned(),
        log: false,
        dense: true,
        points,
    }
}

/// Loss of the ideal dictionary and of random ones against the penalty.
fn splitting(summary: &Summary) -> Figure {
    let mut points = Vec::new();
    for record in &summary.records {
        let Outcome::SplittingAnalytic(outcome) = &record.outcome else {
            continue;
        };
        for row in &outcome.rows {
            for (series, value) in [
                ("ideal", row.ideal.loss),
                ("published", row.published),
                ("many random latents", row.random),
            ] {
                points.push(Point {
                    series: series.to_owned(),
                    name: series.to_owned(),
                    x: Some(row.ideal.lambda),
                    value,
                    ..Point::default()
                });
            }
        }
    }
    Figure {
        id: "toy-splitting",
        title: "Over-splitting toy: loss against the penalty".to_owned(),
        caption: html! { "Where many random latents have less loss than the ideal two, the loss rewards splitting." },
        kind: Kind::Lines,
        x: "weight of the penalty".to_owned(),
        y: "loss".to_owned(),
        domain: None,
        filter: String::new(),
        log: false,
        dense: false,
        points,
    }
}
