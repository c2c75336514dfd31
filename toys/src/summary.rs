//! All configurations of the toys together: bars and tables.
//!
//! Bars say whether the phenomena of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), figures
//! 13 and 14) are there. A bar that no configuration speaks to is not measured, which is not the same as met.

use crate::dose_response::{Dose, doses};
use crate::job::{Job, Outcome, Record};
use crate::{occlusion, splitting};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Latents from which on an autoencoder of the splitting toy has many.
const MANY: usize = 1000;

/// A statement about the toys, and whether it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// The statement.
    pub name: String,
    /// Configurations that speak to it.
    pub n: usize,
    /// The number in the least favourable of them.
    pub worst: Option<f64>,
    /// Whether it holds in all of them; `None` when there are none.
    pub holds: Option<bool>,
}

/// What the toys showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Bars.
    pub bars: Vec<Bar>,
    /// Occlusion against the norm ratio.
    pub dose_response: Vec<Dose>,
    /// Configurations, in the order of the config.
    pub records: Vec<Record>,
}

impl Summary {
    /// Judges `records`.
    pub fn new(records: Vec<Record>) -> Self {
        let analytic = || {
            let of = |record: &Record| match &record.outcome {
                Outcome::SplittingAnalytic(outcome) => outcome.rows.clone(),
                _ => Vec::new(),
            };
            records.iter().flat_map(of).collect::<Vec<_>>()
        };
        let gap_to_published = analytic()
            .iter()
            .map(|row| (row.ideal.loss - row.published).abs())
            .collect();
        let tried = analytic().into_iter().filter(|row| row.ideal.lambda <= 6.0);
        let margins = tried.map(|row| row.ideal.loss - row.random).collect();

        let splitting = || records.iter().filter_map(splitting_run);
        // Half of the seeds end in a local minimum; the one that ends lowest speaks for the optimum.
        let pairs = splitting().filter(|(settings, _)| settings.latents == 2 && settings.lambda == 2.0);
        let lowest = pairs.min_by(|a, b| a.1.loss.total_cmp(&b.1.loss));
        let cosines = lowest.map(|(_, outcome)| match outcome.cosines.as_slice() {
            [_, least] => *least,
            _ => 0.0, // a latent is dead
        });
        let many = || {
            let chosen =
                |settings: &splitting::Settings| settings.latents >= MANY && [1.0, 3.0, 5.0].contains(&settings.lambda);
            splitting().filter(move |(settings, _)| chosen(settings))
        };
        // At a ratio of 1 no attribute is the stronger one.
        let occlusion = || {
            records
                .iter()
                .filter_map(occlusion_run)
                .filter(|(settings, _)| settings.ratio > 1.0)
        };
        let orders = occlusion().filter_map(|(_, outcome)| outcome.worst_order);
        let widened = occlusion().filter_map(|(_, outcome)| outcome.gaps.map(|[low, high]| high - low));
        let bars = vec![
            bar(
                "P5: |ideal curve - published| <= 0.1",
                gap_to_published,
                Worst::Largest,
                |x| x <= 0.1,
            ),
            bar(
                "P5: ideal - tuned random > 0, lambda <= 6",
                margins,
                Worst::Smallest,
                |x| x > 0.0,
            ),
            bar(
                "P4: 2 latents, lambda 2, best seed: |cos(mu)| >= 0.95",
                cosines.into_iter().collect(),
                Worst::Smallest,
                |x| x >= 0.95,
            ),
            bar(
                "P4: many latents, lambda 1, 3, 5: alive >= 20",
                many().map(|(_, outcome)| outcome.alive as f64).collect(),
                Worst::Smallest,
                |x| x >= 20.0,
            ),
            bar(
                "P4: many latents, lambda 1, 3, 5: L0 > 2",
                many().map(|(_, outcome)| outcome.l0).collect(),
                Worst::Smallest,
                |x| x > 2.0,
            ),
            bar(
                "O3: weak - strong <= 0.01 where strong >= 0.2",
                orders.collect(),
                Worst::Largest,
                |x| x <= 0.01,
            ),
            bar(
                "O4: gap(0.9) - gap(0.5) > 0 once strong >= 0.5",
                widened.collect(),
                Worst::Smallest,
                |x| x > 0.0,
            ),
        ];
        let runs: Vec<_> = records.iter().filter_map(occlusion_run).collect();
        Self {
            bars,
            dose_response: doses(&runs),
            records,
        }
    }

    /// The tables for a terminal.
    pub fn table(&self) -> String {
        let mut out = String::new();
        self.analytic_table(&mut out);
        self.splitting_table(&mut out);
        self.occlusion_table(&mut out);
        self.dose_table(&mut out);
        let _ = writeln!(out, "{:<54} {:>5} {:>9}", "BARS", "runs", "worst");
        for bar in &self.bars {
            let verdict = match bar.holds {
                Some(true) => "holds",
                Some(false) => "DOES NOT HOLD",
                None => "not measured",
            };
            let worst = number(bar.worst, 3);
            let _ = writeln!(out, "{:<54} {:>5} {worst:>9}  {verdict}", bar.name, bar.n);
        }
        out
    }

    fn analytic_table(&self, out: &mut String) {
        for record in &self.records {
            let Outcome::SplittingAnalytic(outcome) = &record.outcome else {
                continue;
            };
            let columns = ["ideal", "published", "random", "+-", "margin", "firing"];
            let _ = write!(out, "TWO GAUSSIANS, NO TRAINING\n{:>6}", "lambda");
            let _ = writeln!(out, "{}", columns.map(|name| format!(" {name:>9}")).concat());
            for row in &outcome.rows {
                let margin = row.ideal.loss - row.random;
                let _ = writeln!(
                    out,
                    "{:>6} {:>9.2} {:>9.2} {:>9.2} {:>9.3} {margin:>9.2} {:>9.3}",
                    row.ideal.lambda, row.ideal.loss, row.published, row.random, row.random_error, row.ideal.firing
                );
            }
            let _ = writeln!(out);
        }
    }

    fn splitting_table(&self, out: &mut String) {
        let mut rows = self.records.iter().filter_map(splitting_run).peekable();
        if rows.peek().is_none() {
            return;
        }
        let columns = ["lambda", "seed", "|cos| 1", "|cos| 2", "alive", "L0", "loss", "ideal"];
        let _ = write!(out, "TWO GAUSSIANS, TRAINED\n{:>7}", "latents");
        let _ = writeln!(out, "{}", columns.map(|name| format!(" {name:>8}")).concat());
        for (settings, outcome) in rows {
            let cosine = |place: usize| number(outcome.cosines.get(place).copied(), 3);
            let _ = writeln!(
                out,
                "{:>7} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8.2} {:>8.2} {:>8.2}",
                settings.latents,
                settings.lambda,
                settings.seed,
                cosine(0),
                cosine(1),
                outcome.alive,
                outcome.l0,
                outcome.loss,
                outcome.ideal_loss
            );
        }
        let _ = writeln!(out);
    }

    fn occlusion_table(&self, out: &mut String) {
        let mut rows = self.records.iter().filter_map(occlusion_run).peekable();
        if rows.peek().is_none() {
            return;
        }
        let columns = [
            "latents", "lambda", "seed", "epoch", "index", "end", "strong", "weak", "L0", "gap .5", "gap .9",
        ];
        let title = "STRONG + WEAK VECTORS: occlusion index at F1 0.9, when strong >= 0.6 first and at the end";
        let _ = write!(out, "{title}\n{:>6}", "ratio");
        let _ = writeln!(out, "{}", columns.map(|name| format!(" {name:>7}")).concat());
        for (settings, outcome) in rows {
            let last = outcome.checkpoints.last();
            let at_end = last.and_then(|point| point.coverage.iter().find(|c| c.theta == occlusion::THETA));
            let gap = |place: usize| number(outcome.gaps.map(|gaps| gaps[place]), 3);
            let _ = writeln!(
                out,
                "{:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
                settings.ratio,
                settings.latents,
                settings.lambda,
                settings.seed,
                number(outcome.first_epoch, 0),
                number(outcome.first_index, 3),
                number(outcome.final_index, 3),
                number(at_end.map(|coverage| coverage.strong), 3),
                number(at_end.map(|coverage| coverage.weak), 3),
                number(last.map(|point| point.l0), 2),
                gap(0),
                gap(1)
            );
        }
        let _ = writeln!(out);
    }

    fn dose_table(&self, out: &mut String) {
        if self.dose_response.is_empty() {
            return;
        }
        let columns = [
            "latents",
            "lambda",
            "runs",
            "epoch",
            "index",
            "end",
            "weak at .8-.9",
            "at .9-1",
        ];
        let _ = write!(
            out,
            "DOSE-RESPONSE: means over seeds; weak coverage where strong is as stated\n{:>6}",
            "ratio"
        );
        let _ = writeln!(out, "{}", columns.map(|name| format!(" {name:>7}")).concat());
        for dose in &self.dose_response {
            let _ = writeln!(
                out,
                "{:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>13} {:>7}",
                dose.ratio,
                dose.latents,
                dose.lambda,
                dose.runs,
                number(dose.first_epoch, 0),
                number(dose.first_index, 3),
                number(dose.final_index, 3),
                number(dose.weak_given_strong[0], 3),
                number(dose.weak_given_strong[1], 3)
            );
        }
        let _ = writeln!(out);
    }
}

/// Which of several numbers speaks most against a bar.
#[derive(Debug, Clone, Copy)]
enum Worst {
    Largest,
    Smallest,
}

fn bar(name: &str, numbers: Vec<f64>, worst: Worst, holds: impl Fn(f64) -> bool) -> Bar {
    let n = numbers.len();
    let found = match worst {
        Worst::Largest => numbers.into_iter().reduce(f64::max),
        Worst::Smallest => numbers.into_iter().reduce(f64::min),
    };
    Bar {
        name: name.to_owned(),
        n,
        worst: found,
        holds: found.map(holds),
    }
}

fn splitting_run(record: &Record) -> Option<(&splitting::Settings, &splitting::Outcome)> {
    match (&record.settings, &record.outcome) {
        (Job::Splitting(settings), Outcome::Splitting(outcome)) => Some((settings, outcome)),
        _ => None,
    }
}

fn occlusion_run(record: &Record) -> Option<(&occlusion::Settings, &occlusion::Outcome)> {
    match (&record.settings, &record.outcome) {
        (Job::Occlusion(settings), Outcome::Occlusion(outcome)) => Some((settings, outcome)),
        _ => None,
    }
}

/// A number with some decimals; `-` for what is undefined.
fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occlusion::{Checkpoint, Coverage, THETAS};

    fn pair(seed: u64, least: f64, loss: f64) -> Record {
        let settings = Job::Splitting(splitting::Settings {
            latents: 2,
            lambda: 2.0,
            steps: 1,
            batch: 1,
            learning_rate: 1.0,
            seed,
        });
        let outcome = Outcome::Splitting(splitting::Outcome {
            cosines: vec![0.99, least],
            alive: 2,
            l0: 0.9,
            squared_error: 100.0,
            loss,
            ideal_loss: 102.0,
        });
        Record {
            hash: String::new(),
            settings,
            outcome,
        }
    }

    fn run(ratio: f64, order: f64) -> Record {
        let settings = Job::Occlusion(occlusion::Settings {
            ratio,
            latents: 8,
            lambda: 1.0,
            epochs: 1,
            samples: 8,
            batch: 8,
            learning_rate: 1.0,
            seed: 0,
        });
        let coverage = THETAS.map(|theta| Coverage {
            theta,
            strong: 0.7,
            weak: 0.2,
        });
        let outcome = Outcome::Occlusion(occlusion::Outcome {
            checkpoints: vec![Checkpoint {
                step: 1,
                epoch: 1.0,
                l0: 3.0,
                coverage: coverage.to_vec(),
            }],
            first_index: Some(0.7143),
            first_epoch: Some(1.0),
            final_index: None,
            worst_order: Some(order),
            gaps: Some([0.1, 0.5]),
        });
        Record {
            hash: String::new(),
            settings,
            outcome,
        }
    }

    #[test]
    fn bars_are_judged_by_the_runs_that_speak_to_them() {
        let records = vec![
            pair(0, 0.90, 102.4),
            pair(1, 0.99, 102.1),
            run(1.0, 0.3),
            run(1.5, -0.2),
        ];
        let summary = Summary::new(records);
        let verdict = |start: &str| {
            let bar = summary.bars.iter().find(|bar| bar.name.starts_with(start)).unwrap();
            (bar.n, bar.worst, bar.holds)
        };
        assert_eq!(verdict("P4: 2 latents"), (1, Some(0.99), Some(true)));
        assert_eq!(verdict("P4: many latents"), (0, None, None));
        assert_eq!(verdict("P5"), (0, None, None));
        assert_eq!(
            verdict("O3"),
            (1, Some(-0.2), Some(true)),
            "a ratio of 1 says nothing of the order"
        );
        assert_eq!(verdict("O4"), (1, Some(0.4), Some(true)));
        let failed = Summary::new(vec![run(1.5, 0.2)]);
        assert!(failed.table().contains("DOES NOT HOLD"));
        insta::assert_snapshot!(summary.table());
    }
}
