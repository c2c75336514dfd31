//! `saelab eval`: all dictionaries of an experiment on approximation, control and interpretability.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use activations::Node;
use anyhow::Context as _;
use artifacts::HeldFolder;
use causal::Cost;
use causal::interventions::Runner;
use dictionaries::Rows;
use eval::{Earlier, EvalConfig, Observer, Parts, evaluate, table};
use indicatif::ProgressBar;
use lm::LoadOptions;
use tasks::Sample;

use super::Context;
use super::opened_run::OpenedRun;
use super::run_folder::{self, RunFolder};
use crate::{build, config, output};

/// Arguments of `saelab eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Eval {
    /// Config, for example configs/eval/ioi-quick.toml
    config: PathBuf,
    /// Model folder in Hugging Face layout, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    /// Folder of the experiment; holds activations/, supervised/ and sae/, and receives the report
    #[arg(long)]
    run: PathBuf,
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Eval {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let start = Instant::now();
        let config: EvalConfig = config::read(&self.config, &self.set)?;
        let options = LoadOptions {
            refactor_attention: config.refactor_attention,
            dtype: config.model_dtype,
        };
        let run = RunFolder(self.run);
        let opened = OpenedRun::open(&self.model, options, &self.sites, &run, context)?;
        for (sample, asked, what) in [
            (Sample::Evaluation, config.prompts, "`prompts`"),
            (
                Sample::Interpretability,
                config.interpretability_prompts,
                "`interpretability_prompts`",
            ),
        ] {
            run_folder::note_available(opened.task.as_ref(), sample, asked, what);
        }
        let held = HeldFolder::new(&run.0)?;
        let sets = opened.sets(&run, &config, context)?;
        let OpenedRun {
            model,
            task,
            sites,
            store,
        } = &opened;
        let parts = Parts::new(run.unfinished(), context.program());
        let trained = |node: Node| -> anyhow::Result<(Node, Rows)> {
            let rows = store.node(&node)?;
            Ok((node, Rows::new(rows.width, rows.values)))
        };
        let earlier = Earlier {
            trained: sites.nodes().into_iter().map(trained).collect::<Result<_, _>>()?,
            parts: Some(&parts),
        };
        let mut told = Told(context.progress.bar("eval", 0));
        let evaluated = evaluate(
            &Runner::new(model, config.batch),
            task.as_ref(),
            sites,
            &sets,
            &config,
            &earlier,
            &mut told,
        )?;
        told.0.finish_and_clear();
        held.check()?;
        evaluated.write(&run.0, circumstances(start, context))?;
        held.check()?;
        parts.remove()?;
        output::result(&table::tables(&evaluated.report))?;
        output::note(&format!(
            "eval: report.json, scores.parquet, resamples.parquet and run.json are in {}",
            run.0.display()
        ));
        Ok(())
    }
}

/// Tells the cost on stderr, and how far the evaluation is.
struct Told(ProgressBar);

impl Observer for Told {
    fn cost(&mut self, cost: &Cost) {
        output::note(&format!(
            "eval: {} interventions, {} passes of a prompt, {:.1e} FLOP, {:.0} MB of clean activations; about {:.0} s for the \
             passes",
            cost.interventions,
            cost.passes,
            cost.flop,
            cost.bytes / 1e6,
            cost.seconds
        ));
    }

    fn step(&mut self, done: usize, total: usize) {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }
}

/// When, where and how long: what is kept out of the report because it changes from run to run.
fn circumstances(start: Instant, context: &Context) -> serde_json::Value {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("no host name")
        .map(|name| name.trim().to_owned());
    serde_json::json!({
        "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "device": context.device_name,
        "git_revision": build::GIT_REVISION,
        "host": host.ok(),
        "sources": build::SOURCES,
        "threads": rayon::current_num_threads(),
        "version": env!("CARGO_PKG_VERSION"),
        "wall_s": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    })
}
