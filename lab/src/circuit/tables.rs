//! The tables of `saelab circuit compare`: agreement of scores, and faithfulness by size.

use std::fmt::Write as _;

use circuits::{Graph, agreement, areas};

use super::compare::{Point, Scored};

/// How well every list of scores agrees with the first.
pub(super) fn agreement_table(all: &[Scored]) -> String {
    let first = &all[0];
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
    let magnitudes = |scored: &Scored| scored.values.iter().map(|score| score.abs()).collect::<Vec<_>>();
    let mut out = format!(
        "agreement with {} ({})\n{:<28} {:>8} {:>8} {:>8} {:>8} {:>8}\n",
        first.label, first.name, "", "pearson", "|score|", "kendall", "top 10", "top 100"
    );
    for scored in &all[1..] {
        let (a, b) = (&scored.values, &first.values);
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:<28} {:>8} {:>8} {:>8} {:>8} {:>8}  {}",
            scored.label,
            number(agreement::pearson(a, b)),
            number(agreement::pearson(&magnitudes(scored), &magnitudes(first))),
            number(agreement::kendall(a, b)),
            number(agreement::average_overlap(a, b, 10)),
            number(agreement::average_overlap(a, b, 100)),
            scored.name,
        );
    }
    out
}

/// Faithfulness by size, a column for each list of scores; below it the areas and the size from which 0.85 is reached.
pub(super) fn curves(all: &[Scored], sizes: &[usize], points: &[Point], graph: &Graph) -> String {
    let of = |column: usize| &points[column * sizes.len()..(column + 1) * sizes.len()];
    let value = |point: &Point| {
        let share = point
            .faithfulness
            .faithfulness
            .map_or_else(|| "-".to_owned(), |share| format!("{share:.3}"));
        format!("{share} ({})", point.kept)
    };
    let columns = || 0..all.len();
    let row = |name: String, cells: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = columns().map(|column| format!("{:>26}", cells(column))).collect();
        format!("{name:<14}{}\n", cells.concat())
    };
    let mut out = String::from("faithfulness at a number of edges asked for (and left after pruning)\n");
    out += &row("edges".to_owned(), &|column| all[column].label.clone());
    for (place, size) in sizes.iter().enumerate() {
        out += &row(size.to_string(), &|column| value(&of(column)[place]));
    }
    let curve = |column: usize| -> Option<Vec<(f64, f64)>> {
        let share = |point: &Point| {
            Some((
                point.asked as f64 / graph.n_edges() as f64,
                point.faithfulness.faithfulness?,
            ))
        };
        of(column).iter().map(share).collect()
    };
    let area = |place: usize| {
        move |curve: Option<Vec<(f64, f64)>>| {
            curve.map_or_else(|| "-".to_owned(), |curve| format!("{:.3}", areas(&curve)[place]))
        }
    };
    out += &row("CPR".to_owned(), &|column| area(0)(curve(column)));
    out += &row("CMD".to_owned(), &|column| area(1)(curve(column)));
    out += &row("0.85 from".to_owned(), &|column| {
        let reached = of(column)
            .iter()
            .find(|point| point.faithfulness.faithfulness.is_some_and(|share| share >= 0.85));
        reached.map_or_else(
            || "never".to_owned(),
            |point| format!("{} ({})", point.asked, point.kept),
        )
    });
    out
}
