//! Figures: their data, from which the page draws them, shows them as a table and exports them.

use maud::{Markup, PreEscaped, html};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Error, number, text};

/// How points are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A row for each series, the value along it with its interval.
    Whiskers,
    /// Lines over `x`; a point without `x` is a level.
    Lines,
    /// The value against `x`.
    Scatter,
}

/// One number and where it stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Point {
    /// What colour and symbol stand for.
    pub(crate) series: String,
    /// What is measured: points of one name are joined.
    pub(crate) name: String,
    /// The small picture that it belongs to.
    pub(crate) facet: String,
    /// Shown only where this is chosen; always where there is none.
    pub(crate) filter: Option<String>,
    pub(crate) x: Option<f64>,
    pub(crate) value: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// A line across, not a point.
    pub(crate) rule: bool,
    /// What a check says.
    pub(crate) verdict: Option<String>,
    /// The score of the report that it is.
    pub(crate) score: Option<usize>,
    /// The address of what is behind it.
    pub(crate) link: Option<String>,
}

/// A figure.
pub(crate) struct Figure {
    /// Its identifier on the page, and the name of what is exported.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// What is seen, in words.
    pub(crate) caption: Markup,
    pub(crate) kind: Kind,
    pub(crate) x: String,
    pub(crate) y: String,
    /// The least and largest value of the axis of values, where it is not taken from the points.
    pub(crate) domain: Option<[f64; 2]>,
    /// Name of what `filter` chooses.
    pub(crate) filter: String,
    /// Whether `x` is on a logarithmic axis.
    pub(crate) log: bool,
    /// Whether there are so many points that lines show them better.
    pub(crate) dense: bool,
    pub(crate) points: Vec<Point>,
}

impl Figure {
    /// A figure without points is nothing.
    pub(crate) fn render(&self, series: &[String]) -> Result<Markup, Error> {
        if self.points.is_empty() {
            return Ok(html! {});
        }
        let spec = text::json(&self.spec(series))?;
        let mut filters: Vec<&str> = Vec::new();
        for filter in self.points.iter().filter_map(|point| point.filter.as_deref()) {
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        Ok(html! {
            figure id=(self.id) data-figure {
                figcaption { h3 { (self.title) } p { (self.caption) } }
                div class="tools" {
                    @if filters.len() > 1 {
                        label { (self.filter) " " select { @for filter in &filters { option value=(filter) { (filter) } } } }
                    }
                    button type="button" data-act="save-csv" { "CSV" }
                    button type="button" data-act="save-svg" { "SVG" }
                    button type="button" data-act="save-png" { "PNG" }
                }
                ul class="legend" {}
                div class="plot" role="img" aria-label={ (self.title) ". The table below has the same numbers." } {}
                @if !self.dense { (self.table()) }
                script type="application/json" class="spec" { (PreEscaped(spec)) }
            }
        })
    }

    fn table(&self) -> Markup {
        let has_x = self.points.iter().any(|point| point.x.is_some());
        let has_filter = self.points.iter().any(|point| point.filter.is_some());
        let has_verdict = self.points.iter().any(|point| point.verdict.is_some());
        html! {
            details {
                summary { "The numbers (" (self.points.len()) ")" }
                div class="scroll" tabindex="0" role="region" aria-label={ "Numbers of: " (self.title) } {
                    table {
                        thead { tr {
                            th scope="col" { "dictionary" } th scope="col" class="text" { "where" }
                            @if has_filter { th scope="col" class="text" { (self.filter) } }
                            @if has_x { th scope="col" { (self.x) } }
                            th scope="col" { (self.y) } th scope="col" { "95 %" }
                            @if has_verdict { th scope="col" class="text" { "verdict" } }
                        } }
                        tbody { @for point in &self.points { tr {
                            td { @match &point.link {
                                Some(link) => a href=(link) { bdi { (text::shown(&point.name)) } },
                                None => bdi { (text::shown(&point.name)) },
                            } }
                            td class="text" { bdi { (text::shown(&point.facet)) } }
                            @if has_filter { td class="text" { (point.filter.as_deref().unwrap_or("all")) } }
                            @if has_x { td { (point.x.map_or_else(|| "-".to_owned(), |x| format!("{x:.3}").trim_end_matches('0').trim_end_matches('.').to_owned())) } }
                            @match point.score {
                                Some(score) => {
                                    td { (number::of_report(Some(point.value), &[number::pointer(score, "value")])) }
                                    td { (number::interval(point.low, point.high, score)) }
                                },
                                None => {
                                    td { (number::other(Some(point.value))) }
                                    td { @if point.low.is_some() { "[" (number::other(point.low)) ", " (number::other(point.high)) "]" } }
                                },
                            }
                            @if has_verdict { td class="text" { (point.verdict.as_deref().unwrap_or("")) } }
                        } } }
                    }
                }
            }
        }
    }

    /// What the page's script draws. `series`: the order of colours, the same for all figures of a page.
    fn spec(&self, series: &[String]) -> Value {
        let mut all: Vec<&str> = series.iter().map(String::as_str).collect();
        for point in &self.points {
            if !all.contains(&point.series.as_str()) {
                all.push(&point.series);
            }
        }
        let place = |name: &str| all.iter().position(|known| *known == name);
        let row = |point: &Point| {
            json!([
                place(&point.series),
                text::shown(&point.name),
                text::shown(&point.facet),
                point.filter,
                point.x,
                point.value,
                point.low,
                point.high,
                point.rule.then_some("rule"),
                point.verdict,
                point.link,
            ])
        };
        json!({
            "kind": self.kind, "x": self.x, "y": self.y, "domain": self.domain, "log": self.log, "dense": self.dense,
            "series": all.iter().map(|name| text::shown(name)).collect::<Vec<_>>(),
            "columns": ["series", "name", "facet", "filter", "x", "value", "low", "high", "kind", "verdict", "link"],
            "rows": self.points.iter().map(row).collect::<Vec<_>>(),
        })
    }
}
