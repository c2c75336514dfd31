//! `saelab circuit score`: scores of all edges.

use std::path::PathBuf;
use std::time::Instant;

use circuits::{Graph, Intervals, Method, ScoreFile, Scores};
use lm::LoadOptions;
use report::{Cell, Group, Table};

use super::source::{CircuitConfig, Sources};
use crate::estimate;
use crate::made::{Made, ModelMade};
use crate::run_folder;
use crate::{ConfigFile, Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/circuits/ioi.toml.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How its weights are kept.
    pub load: LoadOptions,
    /// Folder for edges.parquet and scores.json.
    pub out: PathBuf,
    /// Overwrite scores of other settings or of another model.
    pub replace: bool,
}

/// Edges that are printed.
const SHOWN: usize = 10;

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Scores>> {
        let config: CircuitConfig = self.config.read()?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        let pairs = config.pairs.open(&tokenizer, context)?;
        let options = config.options();
        let graph = Graph::new(model.spec());
        let cost = circuits::cost(model.spec(), &pairs, &options);
        context.note(&format!(
            "circuit score: {} edges by {} on {} pairs, {:.0} forward and {:.0} backward passes of each, {:.2} TFLOP, about {:.0} s",
            graph.n_edges(),
            options.method,
            pairs.len(),
            cost.forward,
            cost.backward,
            cost.flops / 1e12,
            estimate::of_circuits(cost.flops, &model, context)
        ));
        let folder = run_folder::model_folder(&self.model)?;
        let of_model = ModelMade::new(&self.model, &folder, &model);
        let made = Made::by(context, "circuit score", serde_json::to_value(&config)?).with_model(Some(of_model));
        made.check_place(
            &self.out.join("scores.json"),
            Made::read(&self.out).as_ref(),
            self.replace,
        )?;
        let bar = context.bar("circuit score", pairs.len());
        let start = Instant::now();
        // Exact patching may take hours; what it has come to is kept.
        let parts = self.out.join("parts");
        let keep = (options.method == Method::Exact).then_some(parts.as_path());
        let scores = circuits::score(&model, &pairs, &options, keep, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        let sources = Sources {
            score: config.pairs,
            check: config.check,
        };
        let intervals = Intervals::of(&scores, config.resamples, 0);
        made.write(&self.out)?;
        let file = ScoreFile::write(
            &self.out,
            &scores,
            intervals.as_ref(),
            &options,
            model.file_hash(),
            serde_json::to_value(sources)?,
        )?;
        let out = table(&scores, &file, intervals.as_ref());
        Ok(Outcome::new(scores, out).remark(format!(
            "circuit score: {} in {:.1} s",
            self.out.join("edges.parquet").display(),
            start.elapsed().as_secs_f64()
        )))
    }
}

/// The best edges, and what is known of all.
fn table(scores: &Scores, file: &ScoreFile, intervals: Option<&Intervals>) -> String {
    let graph = &scores.graph;
    let mut order: Vec<usize> = (0..graph.n_edges()).collect();
    order.sort_by(|&a, &b| scores.values[b].abs().total_cmp(&scores.values[a].abs()));
    let accuracy = file.accuracy.map_or_else(String::new, |share| {
        format!("; above 0 on {:.1} % of {} clean prompts", 100.0 * share, file.n_pairs)
    });
    let mut out = format!(
        "{}: {:.4} on clean prompts, {:.4} on corrupted ones{accuracy}\n",
        file.options.metric, file.clean, file.corrupted
    );
    if let Some(overlap) = file.overlap {
        out += &format!(
            "the best {} edges and those of a resample of the pairs: intersection over union {overlap:.3}\n",
            file.top
        );
    }
    let columns = [("score", 10), ("error", 10), ("95 %", 22), ("ranks", 12)];
    let columns = columns.map(|(heading, width)| Group::column(heading, width));
    let mut table = Table::new("edge", 28, columns.to_vec());
    for &number in order.iter().take(SHOWN) {
        let [score, rank] = match intervals {
            None => ["-", "-"].map(str::to_owned),
            Some(intervals) => {
                let ([low, high], [first, last]) = (intervals.scores[number], intervals.ranks[number]);
                [format!("[{low:.4}, {high:.4}]"), format!("{first} to {last}")]
            }
        };
        let cells = vec![
            Cell::number(scores.values[number], 4),
            Cell::number(scores.errors[number], 4),
            Cell::text(score),
            Cell::text(rank),
        ];
        table.push(graph.name(graph.edge(number)), cells);
    }
    out + &table.text()
}
