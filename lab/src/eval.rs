//! `saelab eval`: all dictionaries of an experiment on approximation, control and interpretability.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use activations::Node;
use artifacts::HeldFolder;
use causal::Cost;
use causal::interventions::Runner;
use dictionaries::Rows;
use eval::{Baseline, DictionarySet, Earlier, EvalConfig, EvalFile, Evaluated, Observer, Parts, evaluate, table};
use lm::LoadOptions;
use tasks::Sample;

use crate::error::WithContext as _;
use crate::left_out::LeftOut;
use crate::made::ModelMade;
use crate::opened_run::OpenedRun;
use crate::run_folder::{self, RunFolder};
use crate::{Bar, ConfigError, ConfigFile, Context, Outcome, Result};
use crate::{baselines, dictionary_sets, standing_report};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/eval/ioi-quick.toml.
    pub config: ConfigFile,
    /// Model folder in Hugging Face layout, or the name of a model that was pulled.
    pub model: PathBuf,
    /// Folder of the experiment; holds activations/, supervised/ and sae/, and receives the report unless --out says otherwise.
    pub run: PathBuf,
    /// Sites file.
    pub sites: PathBuf,
    /// Folder that receives the report, if it is not that of the experiment.
    pub out: Option<PathBuf>,
    /// Store of activations, if it is not that of the experiment's folder.
    pub activations: Option<PathBuf>,
    /// Score only the dictionaries of this name or family, and the baselines; may be given several times.
    pub only: Vec<String>,
    /// Overwrite a report of other settings, or with dictionaries that this evaluation lacks.
    pub replace: bool,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Evaluated>> {
        let start = Instant::now();
        let config: EvalConfig = self.config.read()?;
        let options = LoadOptions {
            refactor_attention: config.refactor_attention,
            dtype: config.model_dtype,
        };
        let run = RunFolder(self.run);
        let activations = self.activations.unwrap_or_else(|| run.activations());
        let opened = OpenedRun::open(&self.model, options, &self.sites, &activations, context)?;
        let of_model = ModelMade::new(&self.model, &run_folder::model_folder(&self.model)?, &opened.model);
        for (sample, asked, what) in [
            (Sample::Evaluation, config.prompts, "`prompts`"),
            (
                Sample::Interpretability,
                config.interpretability_prompts,
                "`interpretability_prompts`",
            ),
        ] {
            run_folder::note_available(opened.task.as_ref(), sample, asked, what, context);
        }
        let out = RunFolder(self.out.unwrap_or_else(|| run.0.clone()));
        let held = HeldFolder::new(&out.0)?;
        let OpenedRun {
            model,
            task,
            sites,
            store,
        } = &opened;
        let mut left_out = LeftOut::new("eval", context);
        let sets = dictionary_sets::load(&run, store, &sites.nodes(), &mut left_out, context)?;
        let (mut sets, config) = only(&self.only, sets, config)?;
        let baselines = baselines::make(&config, &sets, store, &sites.nodes(), context)?;
        sets.extend(baselines);
        if !self.replace {
            standing_report::check(&out.0, &config, model.hash(), sites, &sets)?;
        }
        let parts = Parts::new(out.unfinished(), context.program_key());
        let trained = |node: Node| -> Result<(Node, Rows)> {
            let rows = store.node(&node)?;
            Ok((node, Rows::new(rows.width, rows.values)))
        };
        let earlier = Earlier {
            trained: sites.nodes().into_iter().map(trained).collect::<Result<_, _>>()?,
            parts: Some(&parts),
        };
        let mut told = Told {
            bar: context.bar("eval", 0),
            context,
        };
        let evaluated = evaluate(
            &Runner::new(model, config.batch),
            task.as_ref(),
            sites,
            &sets,
            &config,
            &earlier,
            &mut told,
        );
        told.bar.finish_and_clear();
        // A folder that is gone explains whatever could not be written into it.
        held.check()?;
        let evaluated = evaluated?;
        let mut circumstances = circumstances(start, context);
        circumstances["activations"] = store.hash().into();
        circumstances["model"] = serde_json::to_value(of_model)?;
        evaluated.write(&out.0, circumstances)?;
        held.check()?;
        parts.remove()?;
        let tables = table::tables(&evaluated.report);
        Ok(Outcome::new(evaluated, tables)
            .remark(format!(
                "eval: report.json, scores.parquet, resamples.parquet and run.json are in {}",
                out.0.display()
            ))
            .remark(left_out.again()))
    }
}

/// Keeps the sets that are named; pairs to compare, and what random dictionaries are matched to, go with a set that is left out.
fn only(
    names: &[String],
    mut sets: Vec<DictionarySet>,
    config: EvalConfig,
) -> Result<(Vec<DictionarySet>, EvalConfig)> {
    if names.is_empty() {
        return Ok((sets, config));
    }
    let is_named = |set: &DictionarySet, name: &String| set.name == *name || set.family == *name;
    if let Some(unknown) = names.iter().find(|name| !sets.iter().any(|set| is_named(set, name))) {
        let known: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
        let reason = format!("--only {unknown}: the run holds {}", known.join(", "));
        return Err(ConfigError(reason).into());
    }
    sets.retain(|set| names.iter().any(|name| is_named(set, name)));
    let is_there = |family: &String| sets.iter().any(|set| set.family == *family);
    let mut file = EvalFile::from(config);
    if !is_there(&file.matched_to) {
        file.baselines
            .retain(|kind| !matches!(kind, Baseline::Random | Baseline::RandomFvu));
    }
    let baselines: Vec<String> = file
        .baselines
        .iter()
        .map(|kind| baselines::family(*kind).to_owned())
        .collect();
    let is_scored = |family: &String| is_there(family) || baselines.contains(family);
    let both = |pair: &eval::config::Compare| is_scored(&pair.left) && is_scored(&pair.right);
    file.compare.retain(both);
    file.split_alike.retain(both);
    if !is_there(&file.reference) {
        // Nothing is rated by the default where its family is not there.
        file.reference = EvalFile::default().reference;
    }
    let config = EvalConfig::try_from(file).map_err(|error| ConfigError(error.to_string()))?;
    Ok((sets, config))
}

/// Tells the cost on stderr, and how far the evaluation is.
struct Told<'a> {
    bar: Box<dyn Bar>,
    context: &'a Context,
}

impl Observer for Told<'_> {
    fn cost(&mut self, cost: &Cost) {
        self.context.note(&format!(
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
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
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
        "git_revision": context.program.git_revision.as_deref().unwrap_or_default(),
        "host": host.ok(),
        "sources": context.program.sources,
        "threads": rayon::current_num_threads(),
        "version": context.program.version,
        "wall_s": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    })
}
