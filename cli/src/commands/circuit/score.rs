//! `saelab circuit score`: scores of all edges.

use std::path::PathBuf;
use std::time::Instant;

use circuits::{Graph, ScoreFile};

use super::super::{Context, run_folder};
use super::ModelArg;
use super::source::{CircuitConfig, Sources};
use crate::made::{Made, ModelMade};
use crate::{config, output};

/// Arguments of `saelab circuit score`.
#[derive(Debug, clap::Args)]
pub(super) struct Score {
    /// Config, for example configs/circuits/ioi.toml
    config: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Folder for edges.parquet and scores.json
    #[arg(long)]
    out: PathBuf,
    /// Overwrite scores of other settings or of another model
    #[arg(long)]
    replace: bool,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

/// Edges that are printed.
const SHOWN: usize = 10;

impl Score {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let config: CircuitConfig = config::read(&self.config, &self.set)?;
        let (model, tokenizer) =
            run_folder::load_model(&self.model.model, self.model.weights.options(), &context.device)?;
        let pairs = config.pairs.open(&tokenizer)?;
        let options = config.options();
        let graph = Graph::new(model.spec());
        let cost = circuits::cost(model.spec(), &pairs, &options);
        output::note(&format!(
            "circuit score: {} edges by {} on {} pairs, {:.0} forward and {:.0} backward passes of each, {:.2} TFLOP",
            graph.n_edges(),
            options.method,
            pairs.len(),
            cost.forward,
            cost.backward,
            cost.flops / 1e12
        ));
        let folder = run_folder::model_folder(&self.model.model)?;
        let of_model = ModelMade::new(&self.model.model, &folder, &model);
        let made = Made::by("circuit score", serde_json::to_value(&config)?).with_model(Some(of_model));
        made.check_place(
            &self.out.join("scores.json"),
            Made::read(&self.out).as_ref(),
            self.replace,
        )?;
        let bar = context.progress.bar("circuit score", pairs.len());
        let start = Instant::now();
        let scores = circuits::score(&model, &pairs, &options, &|done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        let sources = Sources {
            score: config.pairs,
            check: config.check,
        };
        made.write(&self.out)?;
        let file = ScoreFile::write(
            &self.out,
            &scores,
            &options,
            model.file_hash(),
            serde_json::to_value(sources)?,
        )?;
        let mut order: Vec<usize> = (0..graph.n_edges()).collect();
        order.sort_by(|&a, &b| scores.values[b].abs().total_cmp(&scores.values[a].abs()));
        let mut out = format!(
            "{}: {:.4} on clean prompts, {:.4} on corrupted ones\n{:<28} {:>10} {:>10}\n",
            options.metric, file.clean, file.corrupted, "edge", "score", "error"
        );
        for &number in order.iter().take(SHOWN) {
            let error = scores.errors[number].map_or_else(|| "-".to_owned(), |error| format!("{error:.4}"));
            out += &format!(
                "{:<28} {:>10.4} {error:>10}\n",
                graph.name(graph.edge(number)),
                scores.values[number]
            );
        }
        output::result(&out)?;
        output::note(&format!(
            "circuit score: {} in {:.1} s",
            self.out.join("edges.parquet").display(),
            start.elapsed().as_secs_f64()
        ));
        Ok(())
    }
}
