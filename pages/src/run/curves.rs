//! What trainings said while they ran: `sae/<name>/<site>/metrics.jsonl`.

use std::path::Path;

use maud::html;
use serde_json::Value;

use crate::figure::{Figure, Kind, Point};
use crate::folders::folders;

/// Quantities that are shown: the name in the file, and on the page.
const SHOWN: &[(&str, &str)] = &[
    ("fvu", "unexplained variance"),
    ("l0", "active latents"),
    ("dead", "share of dead latents"),
    ("loss", "loss"),
];

/// Points of a curve; more would not be seen.
const MOST: usize = 120;

/// The training of one autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Its name.
    pub dictionary: String,
    /// Where it was trained: the name of its folder.
    pub site: String,
    /// Step, and the quantities of [`SHOWN`] at it.
    pub steps: Vec<(f64, Vec<Option<f64>>)>,
    /// The last line of the file.
    pub last: Vec<Option<f64>>,
}

/// All trainings below `dir`.
pub(super) fn read(dir: &Path, troubles: &mut Vec<String>) -> Vec<Curve> {
    let mut curves = Vec::new();
    for dictionary in folders(dir) {
        for site in folders(&dir.join(&dictionary)) {
            let path = dir.join(&dictionary).join(&site).join("metrics.jsonl");
            if !path.exists() {
                continue;
            }
            match std::fs::read_to_string(&path) {
                Ok(text) => curves.push(curve(&dictionary, &site, &text)),
                Err(error) => troubles.push(format!("cannot read {}: {error}", path.display())),
            }
        }
    }
    curves
}

/// A line that is not whole, of a training that goes on, is passed over.
fn curve(dictionary: &str, site: &str, text: &str) -> Curve {
    let lines: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let numbers = |line: &Value| SHOWN.iter().map(|(key, _)| line[key].as_f64()).collect::<Vec<_>>();
    let every = lines.len().div_ceil(MOST).max(1);
    let is_shown = |place: usize| place.is_multiple_of(every) || place + 1 == lines.len();
    let shown = (0..lines.len())
        .filter(|&place| is_shown(place))
        .map(|place| &lines[place]);
    Curve {
        dictionary: dictionary.to_owned(),
        site: site.to_owned(),
        steps: shown
            .filter_map(|line| Some((line["step"].as_f64()?, numbers(line))))
            .collect(),
        last: lines.last().map(numbers).unwrap_or_default(),
    }
}

/// The curves; `family` names what an autoencoder's colour stands for.
pub(super) fn figure(curves: &[Curve], family: impl Fn(&str) -> String) -> Figure {
    let mut points = Vec::new();
    for (quantity, (_, name)) in SHOWN.iter().enumerate() {
        for curve in curves {
            for (step, numbers) in &curve.steps {
                let value = numbers.get(quantity).copied().flatten();
                points.extend(value.filter(|value| value.is_finite()).map(|value| Point {
                    series: family(&curve.dictionary),
                    name: curve.dictionary.clone(),
                    facet: curve.site.clone(),
                    filter: Some((*name).to_owned()),
                    x: Some(*step),
                    value,
                    ..Point::default()
                }));
            }
        }
    }
    Figure {
        id: "training",
        title: "Training".to_owned(),
        caption: html! { "What each autoencoder reached while it was trained, a line a seed." },
        kind: Kind::Lines,
        x: "step".to_owned(),
        y: "value".to_owned(),
        domain: None,
        filter: "Quantity".to_owned(),
        log: false,
        dense: true,
        points,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_is_passed_over_and_many_are_thinned() {
        let line = |step: usize| format!("{{\"step\": {step}, \"fvu\": 0.5, \"dead\": null}}\n");
        let text: String = (0..1000).map(line).chain(["{\"step\": 10".to_owned()]).collect();
        let curve = curve("a", "b", &text);
        assert!(curve.steps.len() <= MOST + 1 && curve.steps.last().unwrap().0 == 999.0);
        assert_eq!(curve.last, [Some(0.5), None, None, None]);
        assert_eq!(
            figure(std::slice::from_ref(&curve), str::to_owned).points.len(),
            curve.steps.len()
        );
    }
}
