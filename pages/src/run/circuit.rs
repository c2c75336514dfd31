//! Circuits of a run: `circuits/<name>/` with `circuit.json`, `check.json` and `curves.json`.

use std::path::Path;

use circuits::{CircuitFile, Faithfulness, draw};
use maud::{Markup, PreEscaped, html};
use serde_json::Value;

use super::{optional, or_trouble};
use crate::figure::{Figure, Kind, Point};
use crate::folders::folders;
use crate::{Error, number, text};

/// A folder of a circuit.
#[derive(Debug)]
pub struct CircuitFolder {
    name: String,
    /// Its picture, edges kept and edges of the graph.
    circuit: Option<(String, usize, usize)>,
    /// What the circuit and all other edges keep of the behaviour.
    check: Option<[Faithfulness; 2]>,
    /// Points of curves: method, edges kept, faithfulness.
    curves: Vec<(String, usize, Faithfulness)>,
}

/// All circuits below `dir`, at most two folders deep.
pub(super) fn read(dir: &Path, troubles: &mut Vec<String>) -> Vec<CircuitFolder> {
    let mut found = Vec::new();
    for name in folders(dir) {
        let inner = folders(&dir.join(&name));
        let deeper = inner.into_iter().map(|inner| format!("{name}/{inner}"));
        for name in std::iter::once(name.clone()).chain(deeper) {
            let folder = dir.join(&name);
            let circuit = match folder.join("circuit.json") {
                path if path.exists() => or_trouble(CircuitFile::read(&path), troubles),
                _ => None,
            };
            let circuit =
                circuit.map(|(file, circuit, scores)| (draw::svg(&circuit, &scores), file.kept, file.n_edges));
            let check: Option<Value> = or_trouble(optional(&folder.join("check.json")), troubles).flatten();
            let check =
                check.and_then(|check| Some([faithfulness(&check["circuit"])?, faithfulness(&check["complement"])?]));
            let curves: Option<Value> = or_trouble(optional(&folder.join("curves.json")), troubles).flatten();
            let curves = curves.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let point = |point: &Value| {
                let method = point["method"].as_str()?.to_owned();
                Some((
                    method,
                    point["kept"].as_u64()? as usize,
                    faithfulness(&point["faithfulness"])?,
                ))
            };
            let curves: Vec<_> = curves.iter().filter_map(point).collect();
            if circuit.is_some() || check.is_some() || !curves.is_empty() {
                found.push(CircuitFolder {
                    name,
                    circuit,
                    check,
                    curves,
                });
            }
        }
    }
    found
}

fn faithfulness(value: &Value) -> Option<Faithfulness> {
    let interval = value["interval"]
        .as_array()
        .map(|ends| [0, 1].map(|place| ends.get(place).and_then(Value::as_f64)));
    Some(Faithfulness {
        clean: value["clean"].as_f64()?,
        corrupted: value["corrupted"].as_f64()?,
        circuit: value["circuit"].as_f64()?,
        faithfulness: value["faithfulness"].as_f64(),
        interval: match interval {
            Some([Some(low), Some(high)]) => Some([low, high]),
            _ => None,
        },
    })
}

/// The part of the page about circuits.
pub(super) fn section(circuits: &[CircuitFolder]) -> Result<Markup, Error> {
    let share = |of: &Faithfulness| {
        html! {
            (number::other(of.faithfulness))
            @if let Some([low, high]) = of.interval { " [" (number::other(Some(low))) ", " (number::other(Some(high))) "]" }
        }
    };
    Ok(html! {
        @for circuit in circuits {
            h3 { bdi { (text::shown(&circuit.name)) } }
            @if let Some([kept, others]) = &circuit.check {
                p { "Faithfulness of the circuit " (share(kept)) ", of all other edges " (share(others)) ", 95 % over pairs." }
            }
            @if let Some((svg, kept, edges)) = &circuit.circuit {
                p { (kept) " of " (edges) " edges. Widths are shares of the largest score; queries magenta, keys green, values blue; what hurts is dashed." }
                // Made from names of heads and MLPs and from numbers, none of which is text of a file.
                div class="circuit" role="img" aria-label={ "Graph of " (kept) " edges" } tabindex="0" { (PreEscaped(svg)) }
            }
        }
        (figure(circuits).render(&[])?)
    })
}

fn figure(circuits: &[CircuitFolder]) -> Figure {
    let points = circuits.iter().flat_map(|circuit| {
        circuit.curves.iter().filter_map(|(method, kept, of)| {
            Some(Point {
                series: method.clone(),
                name: method.clone(),
                facet: circuit.name.clone(),
                x: Some(*kept as f64),
                value: of.faithfulness?,
                low: of.interval.map(|ends| ends[0]),
                high: of.interval.map(|ends| ends[1]),
                ..Point::default()
            })
        })
    });
    Figure {
        id: "faithfulness",
        title: "Faithfulness by size".to_owned(),
        caption: html! { "How much of the behaviour circuits of each size keep, by the method that scored the edges; `random` knows nothing." },
        kind: Kind::Lines,
        x: "edges".to_owned(),
        y: "faithfulness".to_owned(),
        domain: None,
        filter: String::new(),
        log: true,
        dense: false,
        points: points.collect(),
    }
}
