//! Explanations of latents with their scores: `explain.json`, as far as it is shown.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Deserialize;

use crate::table::{Row, Table};
use crate::{number, text};

/// Explanations that are shown.
const MOST: usize = 400;

/// What `explain.json` holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Explanations {
    dictionaries: Vec<OfDictionary>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OfDictionary {
    dictionary: String,
    site: String,
    latents: Vec<OfLatent>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OfLatent {
    latent: u32,
    methods: Vec<OfMethod>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct OfMethod {
    method: String,
    explanation: String,
    scores: BTreeMap<String, Option<f64>>,
}

/// A row an explanation, a column a score.
pub(super) fn section(explanations: &Explanations) -> Markup {
    let all: Vec<(&OfDictionary, &OfLatent, &OfMethod)> = explanations
        .dictionaries
        .iter()
        .flat_map(|of| of.latents.iter().map(move |latent| (of, latent)))
        .flat_map(|(of, latent)| latent.methods.iter().map(move |method| (of, latent, method)))
        .collect();
    let mut scores: Vec<&String> = all.iter().flat_map(|(_, _, method)| method.scores.keys()).collect();
    scores.sort();
    scores.dedup();
    let row = |(of, latent, method): &(&OfDictionary, &OfLatent, &OfMethod)| {
        let words = [&of.dictionary, &of.site].map(|name| html! { bdi { (text::shown(name)) } });
        let explanation = html! { bdi { (text::shown(&method.explanation)) } };
        let number_of = html! { (latent.latent) };
        let by = html! { bdi { (text::shown(&method.method)) } };
        let scored = scores
            .iter()
            .map(|name| number::other(method.scores.get(*name).copied().flatten()));
        Row::of(
            words
                .into_iter()
                .chain([number_of, by, explanation])
                .chain(scored)
                .collect(),
        )
    };
    let fixed = ["dictionary", "site", "latent", "method", "explanation"].map(str::to_owned);
    let table = Table {
        id: "explained".to_owned(),
        caption: "Explanations of latents".to_owned(),
        headings: fixed
            .into_iter()
            .chain(scores.iter().map(|name| text::shown(name)))
            .collect(),
        rows: all.iter().take(MOST).map(row).collect(),
        filters: Vec::new(),
    };
    html! {
        @if all.len() > MOST { p { "The first " (MOST) " of " (all.len()) "; explain.json has them all." } }
        (table.render())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_are_text_with_a_column_a_score() {
        let json = r#"{"dictionaries": [{"dictionary": "a", "site": "b", "family": "a", "latents": [{"latent": 7, "methods": [
            {"method": "offline", "explanation": "<b>names</b>", "scores": {"detection": 0.75}}]}]}]}"#;
        let found: Explanations = serde_json::from_str(json).unwrap();
        let page = section(&found).into_string();
        assert!(
            page.contains("&lt;b&gt;names")
                && page.contains("detection")
                && page.contains(">0.750<")
                && page.contains("<td>7</td>"),
            "{page}"
        );
    }
}
