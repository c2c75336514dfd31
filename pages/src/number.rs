//! Numbers, as all pages show them: with the place in `report.json` that they come from.

use maud::{Markup, html};

/// Three decimals, as in the terminal's tables of differences; `-` for what is undefined or was not measured.
pub(crate) fn plain(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

/// A number of the report. `from`: pointers into `report.json`, one, or those of all that it is the mean of.
pub(crate) fn of_report(value: Option<f64>, from: &[String]) -> Markup {
    html! {
        @match value {
            Some(value) => data value=(value) data-from=(from.join(" ")) { (plain(Some(value))) },
            None => { "-" }
        }
    }
}

/// A number from elsewhere.
pub(crate) fn other(value: Option<f64>) -> Markup {
    html! {
        @match value {
            Some(value) => data value=(value) { (plain(Some(value))) },
            None => { "-" }
        }
    }
}

/// The pointer to a field of a score.
pub(crate) fn pointer(score: usize, field: &str) -> String {
    format!("/scores/{score}/{field}")
}

/// `[low, high]` of a score; nothing where it has no interval.
pub(crate) fn interval(low: Option<f64>, high: Option<f64>, score: usize) -> Markup {
    html! {
        @if let (Some(_), Some(_)) = (low, high) {
            "[" (of_report(low, &[pointer(score, "low")])) ", " (of_report(high, &[pointer(score, "high")])) "]"
        }
    }
}
