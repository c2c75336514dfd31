//! `saelab eval`: all dictionaries of an experiment on approximation, control and interpretability.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use activations::Node;
use artifacts::HeldFolder;
use causal::Cost;
use causal::interventions::Runner;
use dictionaries::Rows;
use eval::config::Compare;
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
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
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
        let mut sets = dictionary_sets::load(&run, store, &sites.nodes(), &self.only, &mut left_out, context)?;
        let (config, note) = fitted(!self.only.is_empty(), &sets, config)?;
        if let Some(note) = note {
            context.note(&note);
        }
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

/// The settings that fit the dictionaries of a run. Where a family that a *default* names is not there, the first trained one takes
/// its place, which the text that is returned says, and what has nothing to be matched to or compared with is left out. With `--only`, what goes with a
/// family that was not asked for is left out as well. A family that the config itself names must be there.
fn fitted(
    is_part: bool,
    sets: &[DictionarySet],
    config: EvalConfig,
) -> Result<(EvalConfig, Option<String>), ConfigError> {
    let mut note = None;
    let (mut file, default) = (EvalFile::from(config), EvalFile::default());
    let is_there = |family: &String| sets.iter().any(|set| set.family == *family);
    let is_random = |kind: &Baseline| matches!(kind, Baseline::Random | Baseline::RandomFvu);
    if file.baselines.iter().any(is_random) && !is_there(&file.matched_to) {
        let trained = sets.iter().find(|set| set.seeded).map(|set| set.family.clone());
        match trained.filter(|_| file.matched_to == default.matched_to && !is_part) {
            Some(family) => {
                note = Some(format!(
                    "eval: the run holds no {}; random directions are matched to {family} (`matched_to`)",
                    file.matched_to
                ));
                file.matched_to = family;
            }
            None if file.matched_to == default.matched_to || is_part => file.baselines.retain(|kind| !is_random(kind)),
            None => {}
        }
    }
    if file.compare == default.compare {
        file.compare = vec![Compare {
            left: file.matched_to.clone(),
            right: baselines::family(Baseline::Random).to_owned(),
        }];
        if !file.baselines.contains(&Baseline::Random) || !is_there(&file.matched_to) {
            file.compare.clear();
        }
    }
    let mut known: BTreeSet<&str> = sets.iter().map(|set| set.family.as_str()).collect();
    known.extend(file.baselines.iter().map(|kind| baselines::family(*kind)));
    let both = |pair: &Compare| {
        [&pair.left, &pair.right]
            .iter()
            .all(|family| known.contains(family.as_str()))
    };
    if is_part {
        file.compare.retain(both);
        file.split_alike.retain(both);
        if !is_there(&file.reference) {
            // Nothing is rated by the default where its family is not there.
            file.reference = default.reference;
        }
    }
    if let Some(pair) = file.compare.iter().chain(&file.split_alike).find(|pair| !both(pair)) {
        let known: Vec<&str> = known.into_iter().collect();
        let reason = format!(
            "the config compares {} with {}; the run holds {}",
            pair.left,
            pair.right,
            known.join(", ")
        );
        return Err(ConfigError(reason));
    }
    let config = EvalConfig::try_from(file).map_err(|error| ConfigError(error.to_string()))?;
    Ok((config, note))
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
        "instruction_set": kernels::instruction_set(),
        "bf16_instruction_set": kernels::bf16_instruction_set(),
        "git_revision": context.program.git_revision.as_deref().unwrap_or_default(),
        "host": host.ok(),
        "sources": context.program.sources,
        "threads": rayon::current_num_threads(),
        "version": context.program.version,
        "wall_s": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use eval::Edit;

    use super::*;

    fn set(family: &str, seeded: bool) -> DictionarySet {
        DictionarySet {
            name: family.to_owned(),
            family: family.to_owned(),
            identity: String::new(),
            folders: BTreeMap::new(),
            seeded,
            edit: Edit::Greedy,
            by_node: BTreeMap::new(),
            reads: BTreeMap::new(),
        }
    }

    fn config(text: &str) -> EvalConfig {
        let file: EvalFile = toml::from_str(text).unwrap();
        EvalConfig::try_from(file).unwrap()
    }

    fn pairs(config: &EvalConfig) -> Vec<(&str, &str)> {
        let pairs = config.compare.iter();
        pairs.map(|pair| (pair.left.as_str(), pair.right.as_str())).collect()
    }

    #[test]
    fn defaults_follow_the_dictionaries_that_there_are() {
        let sets = [
            set("supervised-mean", false),
            set("mine-k8", true),
            set("mine-k9", true),
        ];
        let (found, note) = fitted(false, &sets, config("")).unwrap();
        assert!(note.unwrap().contains("no sae-topk"));
        assert_eq!(found.matched_to, "mine-k8");
        assert_eq!(pairs(&found), [("mine-k8", "random")]);
        assert_eq!(found.baselines.len(), 4);
        // Nothing was trained.
        let (found, _) = fitted(false, &sets[..1], config("")).unwrap();
        assert_eq!(found.baselines, [Baseline::Neurons, Baseline::Pca]);
        assert!(found.compare.is_empty());
        // Where the default is there, it stays.
        let sets = [set("mine", true), set("sae-topk", true)];
        assert_eq!(fitted(false, &sets, config("")).unwrap(), (config(""), None));
    }

    #[test]
    fn what_a_config_names_must_be_there() {
        let sets = [set("supervised-mean", false), set("mine", true)];
        let error = fitted(false, &sets, config("compare = [{left = \"mine\", right = \"yours\"}]")).unwrap_err();
        assert!(error.to_string().contains("compares mine with yours"), "{error}");
        // A name that is not there is refused where random directions are made.
        assert_eq!(
            fitted(false, &sets, config("matched_to = \"yours\"\ncompare = []"))
                .unwrap()
                .0
                .matched_to,
            "yours"
        );
        // Of a part that --only names, what is not there is left out.
        let (part, _) = fitted(true, &sets, config("compare = [{left = \"mine\", right = \"yours\"}]")).unwrap();
        assert!(part.compare.is_empty() && !part.baselines.contains(&Baseline::Random));
    }
}
