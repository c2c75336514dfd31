//! `saelab circuit compare`: scores of several methods side by side, or circuits of several tasks.

use std::path::PathBuf;

use circuits::{
    Circuit, Faithfulness, Graph, Ranking, Rule, ScoreFile, Selection, evaluate, forward_flops, weight_norm_scores,
};
use lm::{LoadOptions, Model};
use serde::Serialize;

use super::source::Sources;
use super::{across, tables};
use crate::error::WithContext as _;
use crate::estimate;
use crate::run_folder;
use crate::{ConfigError, Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folders of `saelab circuit score` of one model; the others are held against the first, so name exact patching first.
    pub scores: Vec<PathBuf>,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// The folders are of several tasks: run the circuit of each on the pairs of all, and say how much the circuits have in common.
    pub across: bool,
    /// Share of all edges of the circuits of several tasks.
    pub share: f64,
    /// Shares of all edges at which circuits are measured.
    pub shares: Vec<f64>,
    /// greedy or top-n.
    pub rule: Rule,
    /// Rank by the score with its sign.
    pub signed: bool,
    /// Leave out the controls: circuits of as many edges, chosen by random scores and by the norms of weights.
    pub no_controls: bool,
    /// On the pairs that edges were scored on, as published.
    pub discovery: bool,
    /// Bootstrap samples of pairs.
    pub resamples: usize,
    /// JSON file to write.
    pub out: Option<PathBuf>,
}

/// One list of scores.
pub(super) struct Scored {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) file: ScoreFile,
    pub(super) values: Vec<f64>,
}

impl Scored {
    /// Where its pairs come from.
    pub(super) fn sources(&self) -> Result<Sources> {
        serde_json::from_value(self.file.pairs.clone()).with_context(|| format!("{} is damaged", self.name))
    }
}

/// A point of a curve.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    scores: String,
    method: String,
    pub(super) asked: usize,
    pub(super) kept: usize,
    pub(super) faithfulness: Faithfulness,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        if let Some(share) = self
            .shares
            .iter()
            .chain([&self.share])
            .find(|share| !(0.0..=1.0).contains(*share))
        {
            return Err(ConfigError(format!("--shares {share}: give numbers from 0 to 1")).into());
        }
        let (graph, mut all) = self.read()?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        ensure!(
            all[0].file.model == model.file_hash(),
            "{} has scores of another model: give the model that they were made with",
            all[0].name
        );
        if self.across {
            return across::run(&self, &graph, &all, &model, &tokenizer, context);
        }
        let pairs = all[0]
            .sources()?
            .check_pairs(self.discovery, &tokenizer, "circuit compare", context)?
            .pairs;
        if !self.no_controls {
            let controls = controls(&graph, &model, &all[0].file);
            all.extend(controls);
        }
        let mut sizes: Vec<usize> = self
            .shares
            .iter()
            .map(|share| (share * graph.n_edges() as f64) as usize)
            .collect();
        sizes.retain(|&size| size > 0);
        sizes.dedup();
        let circuits: Vec<Circuit> = all
            .iter()
            .flat_map(|scored| sizes.iter().map(move |&size| (scored, size)))
            .map(|(scored, size)| self.select(&graph, scored, size))
            .collect();
        context.note(&format!(
            "circuit compare: {} circuits on {} pairs, a forward pass each, about {:.0} s",
            circuits.len(),
            pairs.len(),
            estimate::of_circuits(
                circuits.len() as f64 * forward_flops(model.spec(), &pairs),
                &model,
                context
            )
        ));
        let bar = context.bar("circuit compare", circuits.len() * pairs.len());
        let options = all[0].file.options;
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
        if let Some(path) = &self.out {
            artifacts::write_json(path, &points)?;
        }
        let remark = self.out.map(|path| format!("circuit compare: {}", path.display()));
        Ok(Outcome {
            found: (),
            results: vec![
                tables::agreement_table(&all),
                tables::curves(&all, &sizes, &points, &graph),
            ],
            remarks: remark.into_iter().collect(),
        })
    }

    /// The circuit of some size.
    pub(super) fn select(&self, graph: &Graph, scored: &Scored, edges: usize) -> Circuit {
        let ranking = if self.signed {
            Ranking::Signed
        } else {
            Ranking::Absolute
        };
        let rule = self.rule;
        Circuit::select(graph, &scored.values, Selection { edges, rule, ranking })
    }

    fn read(&self) -> Result<(Graph, Vec<Scored>)> {
        let mut graph = None;
        let mut all: Vec<Scored> = Vec::new();
        for folder in &self.scores {
            let (file, of, values) = ScoreFile::read(folder)?;
            let name = folder.display().to_string();
            if let Some(first) = all.first() {
                let fits =
                    first.file.model == file.model && (self.across || first.file.options.metric == file.options.metric);
                ensure!(
                    fits,
                    "{name} has scores of another model or metric than {}: compare scores of one model and metric",
                    first.name
                );
            }
            graph.get_or_insert(of);
            all.push(Scored {
                label: match file.imported {
                    true => "imported".to_owned(),
                    false => file.options.method.to_string(),
                },
                name,
                file,
                values,
            });
        }
        Ok((graph.context("name at least one folder of scores")?, all))
    }
}

/// Scores that know nothing of the behaviour: random ones, and norms of weights.
fn controls(graph: &Graph, model: &Model, file: &ScoreFile) -> [Scored; 2] {
    let mut rng = kernels::random::rng(0, "circuit control");
    let random = kernels::random::normal(&mut rng, graph.n_edges(), 1.0);
    let scored = |label: &str, values: Vec<f64>| Scored {
        name: "control".to_owned(),
        label: label.to_owned(),
        file: file.clone(),
        values,
    };
    [
        scored("random", random.into_iter().map(f64::from).collect()),
        scored("weight-norm", weight_norm_scores(model)),
    ]
}
