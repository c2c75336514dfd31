//! Where pairs come from, as configs say it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use circuits::{
    Ablation, Grid, Half, Method, Metric, Pair, PairsFile, Published, ScoreOptions, TaskPairs, behaviour_pairs,
    published_pairs, task_pairs,
};
use serde::{Deserialize, Serialize};
use tasks::world::Behaviour;
use tasks::{Attribute, Role, Sample, TaskSource};
use text::Tokenizer;

use crate::run_folder;
use crate::{ConfigError, Context, Error, Result};

/// Pairs of a task, of a behaviour of the written world, of one of the paper's tasks, or of a file: one of `task`, `behaviour`, `published` and
/// `file` is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PairsSource {
    /// The task whose prompts are the clean ones: `ioi`, `pronoun`, or the path of a task file. Default none: `behaviour`, `published` or `file`
    /// is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskSource>,
    /// The attribute whose counterfactuals are the corrupted prompts. Default none: pairs of a task need it.
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<Attribute>,
    /// Roles at which a corrupted prompt has its counterfactual's token; for pairs of a task. Default: at every position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    at: Vec<Role>,
    /// The sample of the task that prompts are drawn from. Default `locate`: prompts that no dictionary is fitted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
    /// The behaviour of the written world that prompts are of. Default none: `task` or `file` is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    behaviour: Option<Behaviour>,
    /// A task of "Have Faith in Faithfulness" whose rows are the pairs. Default none: `task`, `behaviour` or `file` is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<Published>,
    /// Which half of the rows of `published`. Default `discovery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    half: Option<Half>,
    /// Number of pairs of the task or behaviour. Default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<usize>,
    /// Seed of the pairs of the task or behaviour. Default 0.
    #[serde(default)]
    seed: u64,
    /// A file of JSON lines with the pairs (`docs/circuits.md`). Default none: `task` or `behaviour` is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Pairs where a config does not say how many.
const PAIRS: usize = 100;

/// How edges of a model are scored, and the pairs of prompts that this is done on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitConfig {
    /// How edges are scored. Default `eap-ig-inputs`: the paper's.
    #[serde(default)]
    pub(super) method: Method,
    /// Points of the line between the corrupted and the clean run, for the methods that have one. Default 5, as in the paper.
    #[serde(default = "steps")]
    steps: usize,
    /// Which points of that line are taken by `eap-ig-inputs`. Default `paper`.
    #[serde(default)]
    grid: Grid,
    /// What the output of a source becomes when an edge is cut. Default `counterfactual`.
    #[serde(default)]
    ablation: Ablation,
    /// What is measured of a run. Default `logit_diff`.
    #[serde(default)]
    metric: Metric,
    /// Pairs in one forward pass. Default 16; it changes memory and speed only.
    #[serde(default = "batch")]
    batch: usize,
    /// Bootstrap samples of pairs for the intervals of scores and ranks. Default 200.
    #[serde(default = "resamples")]
    pub(super) resamples: usize,
    /// Pairs that edges are scored on. Required.
    pub(super) pairs: PairsSource,
    /// Pairs that circuits are checked on. Default: those of `pairs`.
    pub(super) check: Option<PairsSource>,
}

fn steps() -> usize {
    ScoreOptions::default().steps
}

fn resamples() -> usize {
    200
}

fn batch() -> usize {
    ScoreOptions::default().batch
}

impl CircuitConfig {
    pub(super) fn options(&self) -> ScoreOptions {
        ScoreOptions {
            method: self.method,
            steps: self.steps,
            grid: self.grid,
            ablation: self.ablation,
            metric: self.metric,
            batch: self.batch,
        }
    }
}

/// What files say of their pairs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sources {
    pub(super) score: PairsSource,
    pub(super) check: Option<PairsSource>,
}

/// Pairs to check circuits on, and what is to be said of them.
pub(super) struct CheckPairs {
    pub(super) source: PairsSource,
    pub(super) pairs: Vec<Pair>,
}

impl Sources {
    /// The pairs that circuits are checked on: with `discovery` those that edges were scored on, as published; otherwise those that the
    /// config names, without prompts that edges were scored on.
    pub(super) fn check_pairs(
        self,
        discovery: bool,
        tokenizer: &Tokenizer,
        command: &str,
        context: &Context,
    ) -> Result<CheckPairs> {
        let of_score = self.score.open(tokenizer, context)?;
        let source = match self.check {
            Some(source) if !discovery => source,
            _ => {
                context.note(&format!(
                    "{command}: on the {} pairs that the edges were scored on, so the circuits are flattered",
                    of_score.len()
                ));
                return Ok(CheckPairs {
                    source: self.score,
                    pairs: of_score,
                });
            }
        };
        let all = source.open(tokenizer, context)?;
        let n = all.len();
        let known: BTreeSet<&[u32]> = of_score.iter().map(|pair| pair.clean.as_slice()).collect();
        let pairs: Vec<Pair> = all
            .into_iter()
            .filter(|pair| !known.contains(pair.clean.as_slice()))
            .collect();
        ensure!(
            !pairs.is_empty(),
            "all {n} prompts to check circuits on are prompts that edges were scored on; name others, or give --discovery"
        );
        if pairs.len() < n {
            context.note(&format!(
                "{command}: {} of {n} pairs have prompts that edges were scored on and are left out",
                n - pairs.len()
            ));
        }
        Ok(CheckPairs { source, pairs })
    }
}

impl PairsSource {
    /// Makes or reads the pairs.
    pub(super) fn open(&self, tokenizer: &Tokenizer, context: &Context) -> Result<Vec<Pair>> {
        let is_of_task =
            self.task.is_some() || self.attribute.is_some() || !self.at.is_empty() || self.sample.is_some();
        let kinds = [
            is_of_task,
            self.behaviour.is_some(),
            self.published.is_some(),
            self.file.is_some(),
        ];
        if kinds.into_iter().filter(|&named| named).count() > 1 {
            return Err(refused(
                "name one of `task` (with `attribute`, `at` and `sample`), `behaviour`, `published` and `file`",
            ));
        }
        if self.half.is_some() && self.published.is_none() {
            return Err(refused("`half` is of `published`"));
        }
        let n = self.n.unwrap_or(PAIRS);
        if let Some(behaviour) = self.behaviour {
            return Ok(behaviour_pairs(tokenizer, behaviour, n, self.seed)?);
        }
        if let Some(task) = self.published {
            let pairs = published_pairs(tokenizer, task, self.half.unwrap_or_default(), n, self.seed)?;
            if pairs.len() < n {
                context.note(&format!("{task}: this tokenizer has {} of the {n} pairs", pairs.len()));
            }
            return Ok(pairs);
        }
        match &self.file {
            Some(_) if self.n.is_some() => Err(refused("`file` stands alone: all of its pairs are taken, not `n`")),
            Some(file) => Ok(PairsFile::read(file, tokenizer)?.pairs),
            None => self.of_task(tokenizer, n, context),
        }
    }

    fn of_task(&self, tokenizer: &Tokenizer, n: usize, context: &Context) -> Result<Vec<Pair>> {
        let task = self
            .task
            .as_ref()
            .ok_or_else(|| refused("name a `task`, a `behaviour`, a `published` task or a `file`"))?;
        let attribute = self
            .attribute
            .ok_or_else(|| refused("name the `attribute` whose counterfactuals corrupt the prompts"))?;
        let of = TaskPairs {
            attribute,
            at: self.at.clone(),
            sample: self.sample.unwrap_or(Sample::Locate),
            n,
            seed: self.seed,
        };
        let task = run_folder::open_task(task, tokenizer, context)?;
        run_folder::note_available(task.as_ref(), of.sample, of.n, "`n`", context);
        Ok(task_pairs(task.as_ref(), &of)?)
    }

    /// The pairs of a file.
    pub(super) fn of_file(file: PathBuf) -> Self {
        Self {
            file: Some(file),
            ..Self::default()
        }
    }

    /// What the pairs are of, in a word.
    pub(super) fn name(&self) -> String {
        let named = [
            self.published.map(|task| task.to_string()),
            self.behaviour.map(|behaviour| behaviour.to_string()),
            self.file.as_ref().map(|file| file.display().to_string()),
            self.attribute.map(|attribute| format!("{attribute}")),
        ];
        named.into_iter().flatten().next().unwrap_or_else(|| "pairs".to_owned())
    }
}

fn refused(reason: &str) -> Error {
    ConfigError(format!("pairs: {reason}")).into()
}
