//! `saelab circuit compare`: scores of several methods side by side.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use circuits::{Circuit, Faithfulness, Graph, Ranking, Rule, ScoreFile, Selection, agreement, areas, evaluate};
use serde::Serialize;

use super::super::{Context, run_folder};
use super::ModelArg;
use super::source::Sources;
use crate::config::ConfigError;
use crate::output;

/// Arguments of `saelab circuit compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Compare {
    /// Folders of `saelab circuit score` of one model; the others are held against the first, so name exact patching first
    #[arg(required = true)]
    scores: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArg,
    /// Shares of all edges at which circuits are measured
    #[arg(long, value_delimiter = ',', default_values_t = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])]
    shares: Vec<f64>,
    /// greedy or top-n
    #[arg(long, default_value_t = Rule::Greedy)]
    rule: Rule,
    /// Rank by the score with its sign
    #[arg(long)]
    signed: bool,
    /// Leave out the control: circuits of as many edges, chosen by random scores
    #[arg(long)]
    no_random: bool,
    /// Bootstrap samples of pairs
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// JSON file to write
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One row of scores.
struct Scored {
    name: String,
    label: String,
    file: ScoreFile,
    values: Vec<f64>,
}

/// A point of a curve.
#[derive(Debug, Serialize)]
struct Point {
    scores: String,
    method: String,
    asked: usize,
    kept: usize,
    faithfulness: Faithfulness,
}

impl Compare {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        if let Some(share) = self.shares.iter().find(|share| !(0.0..=1.0).contains(*share)) {
            return Err(ConfigError(format!("--shares {share}: give numbers from 0 to 1")).into());
        }
        let (graph, all) = self.read()?;
        let (model, tokenizer) =
            run_folder::load_model(&self.model.model, self.model.weights.options(), &context.device)?;
        let first = &all[0];
        anyhow::ensure!(
            first.file.model == model.file_hash(),
            "{} has scores of another model: give the model that they were made with",
            first.name
        );
        let sources: Sources =
            serde_json::from_value(first.file.pairs.clone()).with_context(|| format!("{} is damaged", first.name))?;
        let pairs = sources.check.unwrap_or(sources.score).open(&tokenizer)?;
        let mut sizes: Vec<usize> = self
            .shares
            .iter()
            .map(|share| (share * graph.n_edges() as f64) as usize)
            .collect();
        sizes.retain(|&size| size > 0);
        sizes.dedup();
        let ranking = if self.signed {
            Ranking::Signed
        } else {
            Ranking::Absolute
        };
        let select = |scored: &Scored, edges| {
            let rule = self.rule;
            Circuit::select(&graph, &scored.values, Selection { edges, rule, ranking })
        };
        let circuits: Vec<Circuit> = all
            .iter()
            .flat_map(|scored| sizes.iter().map(move |&size| (scored, size)))
            .map(|(scored, size)| select(scored, size))
            .collect();
        output::note(&format!(
            "circuit compare: {} circuits on {} pairs, a forward pass each",
            circuits.len(),
            pairs.len()
        ));
        let bar = context.progress.bar("circuit compare", circuits.len() * pairs.len());
        let options = first.file.options;
        let found = evaluate(&model, &pairs, &circuits, options.metric, options.batch, &|done| {
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        let points: Vec<Point> = circuits
            .iter()
            .zip(&found.circuits)
            .enumerate()
            .map(|(place, (circuit, values))| {
                let scored = &all[place / sizes.len()];
                Point {
                    scores: scored.name.clone(),
                    method: scored.label.clone(),
                    asked: sizes[place % sizes.len()],
                    kept: circuit.len(),
                    faithfulness: Faithfulness::of(&found.clean, &found.corrupted, values, self.resamples, 0),
                }
            })
            .collect();
        output::result(&agreement_table(&all))?;
        output::result(&curves(&all, &sizes, &points, &graph))?;
        if let Some(path) = &self.out {
            artifacts::write_json(path, &points)?;
            output::note(&format!("circuit compare: {}", path.display()));
        }
        Ok(())
    }

    fn read(&self) -> anyhow::Result<(Graph, Vec<Scored>)> {
        let mut graph = None;
        let mut all: Vec<Scored> = Vec::new();
        for folder in &self.scores {
            let (file, of, values) = ScoreFile::read(folder)?;
            let name = folder.display().to_string();
            if let Some(first) = all.first() {
                let fits = first.file.model == file.model && first.file.options.metric == file.options.metric;
                anyhow::ensure!(
                    fits,
                    "{name} has scores of another model or metric than {}: compare scores of one model and metric",
                    first.name
                );
            }
            graph.get_or_insert(of);
            all.push(Scored {
                label: file.options.method.to_string(),
                name,
                file,
                values,
            });
        }
        let graph = graph.context("name at least one folder of scores")?;
        if !self.no_random {
            all.push(random(&graph, &all[0].file));
        }
        Ok((graph, all))
    }
}

/// Scores that know nothing, the control.
fn random(graph: &Graph, file: &ScoreFile) -> Scored {
    let mut rng = kernels::random::rng(0, "circuit control");
    let values = kernels::random::normal(&mut rng, graph.n_edges(), 1.0);
    Scored {
        name: "no scores".to_owned(),
        label: "random".to_owned(),
        file: file.clone(),
        values: values.into_iter().map(f64::from).collect(),
    }
}

/// How well every list of scores agrees with the first.
fn agreement_table(all: &[Scored]) -> String {
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
fn curves(all: &[Scored], sizes: &[usize], points: &[Point], graph: &Graph) -> String {
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
