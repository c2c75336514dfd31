//! What a bench found: a table, and the phenomena that SynthSAEBench (<https://arxiv.org/abs/2602.14687>) publishes, as bars.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::config::ModelSettings;
use crate::metrics::Scores;

/// The number of active latents at which bars are held, about that of the features that as many latents as the CPU-sized bench
/// has can stand for.
const BAR_AIM: f64 = 5.0;
/// A row whose number of active latents is further from its aim than this share of it does not speak to a bar.
const OFF_AIM: f64 = 0.2;

/// Kinds of autoencoders that there are, Matching Pursuit apart.
const ARCHITECTURES: usize = 10;

/// What is known of a model without a trained autoencoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Mean number of active features of a row.
    pub l0: f64,
    /// Mean over features of the largest absolute cosine with another one.
    pub closeness: f64,
    /// MCC of as many random directions as there are latents.
    pub chance_mcc: f64,
    /// Explained variance of the true activations of the most frequent features, as many as there are latents.
    pub oracle_variance: f64,
    /// F1 of supervised probes of those features; none if there are none.
    pub probe_f1: Option<f64>,
    /// TopK of random rows, one for each number of active latents.
    pub random: Vec<Row>,
}

/// An autoencoder and its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What it is; that of all seeds and sparsities of one table of the config.
    pub kind: String,
    /// The number of active latents that it aims at.
    pub aim: Option<f64>,
    /// Seed of its weights.
    pub seed: u64,
    /// What was measured.
    pub scores: Scores,
}

/// A statement, and whether it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// The statement.
    pub name: String,
    /// Cases that speak to it.
    pub cases: usize,
    /// The least favourable margin: the statement holds where it is at least 0.
    pub margin: Option<f64>,
    /// Whether it holds in all cases; `None` where there is none.
    pub holds: Option<bool>,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model.
    pub model: ModelSettings,
    /// What is known of it.
    pub facts: Option<Facts>,
    /// The autoencoders, in the order of the config.
    pub rows: Vec<Row>,
    /// The phenomena.
    pub bars: Vec<Bar>,
}

impl Report {
    /// Judges rows.
    pub fn new(model: ModelSettings, facts: Option<Facts>, rows: Vec<Row>) -> Self {
        let bars = bars(facts.as_ref(), &rows);
        Self {
            model,
            facts,
            rows,
            bars,
        }
    }

    /// The tables for a terminal: seeds are taken together, and what they spread is said of F1.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let ModelSettings { features, width, .. } = self.model;
        if let Some(facts) = &self.facts {
            let probe = facts
                .probe_f1
                .map_or("not measured".to_owned(), |f1| format!("{f1:.3}"));
            let _ = writeln!(
                out,
                "{features} features in {width} dimensions, L0 {:.2}, nearest other feature at |cos| {:.3}\n\
                 chance MCC {:.3}; F1 of supervised probes {probe}; explained variance of the true features {:.3}\n",
                facts.l0, facts.closeness, facts.chance_mcc, facts.oracle_variance
            );
        }
        let columns = ["MCC", "F1", "+-", "P", "R", "EV", "shrink", "unique", "dead", "L0"];
        let _ = write!(out, "{:>5} {:<22} {:>5}", "aim", "autoencoder", "seeds");
        let _ = writeln!(out, "{}", columns.map(|name| format!(" {name:>6}")).concat());
        let random = self.facts.iter().flat_map(|facts| &facts.random);
        for ((aim, kind), scores) in grouped(self.rows.iter().chain(random)) {
            let mean = |of: &dyn Fn(&Scores) -> f64| scores.iter().map(of).sum::<f64>() / scores.len() as f64;
            let f1 = || scores.iter().map(|scores| scores.f1);
            let spread = (f1().fold(f64::MIN, f64::max) - f1().fold(f64::MAX, f64::min)) / 2.0;
            let _ = writeln!(
                out,
                "{aim:>5} {kind:<22} {:>5} {:>6.3} {:>6.3} {spread:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6.1} {:>6.2}",
                scores.len(),
                mean(&|s| s.mcc),
                mean(&|s| s.f1),
                mean(&|s| s.precision),
                mean(&|s| s.recall),
                mean(&|s| s.explained_variance),
                mean(&|s| s.shrinkage),
                mean(&|s| s.uniqueness),
                mean(&|s| s.dead as f64),
                mean(&|s| s.l0),
            );
        }
        let _ = writeln!(out, "\n{:<62} {:>5} {:>7}", "BARS", "cases", "margin");
        for bar in &self.bars {
            let verdict = match bar.holds {
                Some(true) => "holds",
                Some(false) => "DOES NOT HOLD",
                None => "not measured",
            };
            let margin = bar.margin.map_or("-".to_owned(), |margin| format!("{margin:.3}"));
            let _ = writeln!(out, "{:<62} {:>5} {margin:>7}  {verdict}", bar.name, bar.cases);
        }
        out
    }
}

/// Scores of all seeds, by aim and kind, in the order of the aims and then of the rows; rows without an aim come last.
fn grouped<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<((String, &'a str), Vec<Scores>)> {
    let mut groups: Vec<(f64, &str, Vec<Scores>)> = Vec::new();
    for row in rows {
        let aim = row.aim.unwrap_or(f64::INFINITY);
        match groups.iter_mut().find(|group| group.0 == aim && group.1 == row.kind) {
            Some(group) => group.2.push(row.scores),
            None => groups.push((aim, &row.kind, vec![row.scores])),
        }
    }
    groups.sort_by(|a, b| a.0.total_cmp(&b.0));
    let named = groups.into_iter().map(|(aim, kind, scores)| {
        let aim = if aim.is_finite() {
            aim.to_string()
        } else {
            "-".to_owned()
        };
        ((aim, kind), scores)
    });
    named.collect()
}

fn bars(facts: Option<&Facts>, rows: &[Row]) -> Vec<Bar> {
    let at = |kind: &str, aim: f64| -> BTreeMap<u64, Scores> {
        let rows = rows.iter().filter(|row| row.kind == kind && row.aim == Some(aim));
        rows.map(|row| (row.seed, row.scores)).collect()
    };
    // A margin for each seed that both have.
    let between = |a: (&str, f64), b: (&str, f64), margin: &dyn Fn(&Scores, &Scores) -> f64| -> Vec<f64> {
        let (a, b) = (at(a.0, a.1), at(b.0, b.1));
        a.iter().filter_map(|(seed, a)| Some(margin(a, b.get(seed)?))).collect()
    };
    let compare =
        |a: &str, b: &str, margin: &dyn Fn(&Scores, &Scores) -> f64| between((a, BAR_AIM), (b, BAR_AIM), margin);
    let least = |kind: &str, f1: f64| {
        at(kind, BAR_AIM)
            .values()
            .map(|scores| scores.f1 - f1)
            .collect::<Vec<_>>()
    };
    let ev = |a: &Scores, b: &Scores| a.explained_variance - b.explained_variance;
    let near: Vec<&Row> = rows
        .iter()
        .filter(|row| row.aim == Some(BAR_AIM) && (row.scores.l0 - BAR_AIM).abs() <= OFF_AIM * BAR_AIM)
        .collect();
    // Every seed of a kind must be above; the best kind speaks.
    let mut kinds: BTreeMap<&str, f64> = BTreeMap::new();
    for row in &near {
        let f1 = kinds.entry(&row.kind).or_insert(f64::INFINITY);
        *f1 = f1.min(row.scores.f1);
    }
    // Of a few architectures alone nobody asks for the best.
    let all: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.aim == Some(BAR_AIM))
        .map(|row| row.kind.as_str())
        .collect();
    let best = kinds
        .into_values()
        .reduce(f64::max)
        .filter(|_| all.len() >= ARCHITECTURES);
    let ceiling = facts.and_then(|facts| facts.probe_f1);
    let below: Vec<f64> = ceiling.map_or(Vec::new(), |f1| rows.iter().map(|row| f1 - row.scores.f1).collect());
    let trade = |kind: &str| {
        let of = |margin: &dyn Fn(&Scores, &Scores) -> f64| between((kind, 8.0), (kind, 3.0), margin);
        let mut margins = of(&|dense, sparse| dense.recall - sparse.recall);
        margins.extend(of(&|dense, sparse| sparse.precision - dense.precision));
        margins
    };
    let (pursuit, batch, nested) = ("matching-pursuit", "batch-topk", "matryoshka");
    vec![
        bar(
            "F1 at 5: Matryoshka - BatchTopK >= 0.1",
            compare(nested, batch, &|a, b| a.f1 - b.f1 - 0.1),
        ),
        bar(
            "F1 at 5: BatchTopK - Matching Pursuit >= 0.2",
            compare(batch, pursuit, &|a, b| a.f1 - b.f1 - 0.2),
        ),
        bar(
            "explained variance at 5: Matching Pursuit > BatchTopK",
            compare(pursuit, batch, &ev),
        ),
        bar(
            "explained variance at 5: BatchTopK > Matryoshka",
            compare(batch, nested, &ev),
        ),
        bar("BatchTopK, 3 to 8: recall rises, precision falls", trade(batch)),
        bar("Matryoshka, 3 to 8: recall rises, precision falls", trade(nested)),
        bar("F1: supervised probes > every autoencoder", below),
        bar("F1 at 5: BatchTopK >= 0.67", least(batch, 0.67)),
        bar("F1 at 5: Matryoshka >= 0.88", least(nested, 0.88)),
        bar(
            "F1 at 5: the best of all architectures > 0.92, every seed",
            best.map(|f1| f1 - 0.92).into_iter().collect(),
        ),
    ]
}

fn bar(name: &str, margins: Vec<f64>) -> Bar {
    let margin = margins.iter().copied().reduce(f64::min);
    Bar {
        name: name.to_owned(),
        cases: margins.len(),
        margin,
        holds: margin.map(|margin| margin >= 0.0),
    }
}
