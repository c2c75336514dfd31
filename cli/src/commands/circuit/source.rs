//! Where pairs come from, as configs say it.

use std::path::PathBuf;

use circuits::{Grid, Method, Metric, Pair, PairsFile, ScoreOptions, TaskPairs, behaviour_pairs, task_pairs};
use serde::{Deserialize, Serialize};
use tasks::world::Behaviour;
use tasks::{Attribute, Role, Sample, TaskSource};
use text::Tokenizer;

use super::super::run_folder;
use crate::config::ConfigError;

/// Pairs of a task, of a behaviour of the written world, or of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PairsSource {
    /// A task, or `behaviour` or `file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskSource>,
    /// The attribute whose counterfactuals are the corrupted prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<Attribute>,
    /// Roles at which a corrupted prompt has its counterfactual's token; everywhere where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    at: Vec<Role>,
    /// The task's sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
    /// A behaviour of the written world.
    #[serde(skip_serializing_if = "Option::is_none")]
    behaviour: Option<Behaviour>,
    /// Pairs of the task or behaviour.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<usize>,
    #[serde(default)]
    seed: u64,
    /// A file of pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// Pairs where a config does not say how many.
const PAIRS: usize = 100;

/// A config of `saelab circuit score`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CircuitConfig {
    #[serde(default)]
    pub(super) method: Method,
    #[serde(default = "steps")]
    steps: usize,
    #[serde(default)]
    grid: Grid,
    #[serde(default)]
    metric: Metric,
    #[serde(default = "batch")]
    batch: usize,
    /// Pairs that edges are scored on.
    pub(super) pairs: PairsSource,
    /// Pairs that circuits are checked on; the same where none are named.
    pub(super) check: Option<PairsSource>,
}

fn steps() -> usize {
    ScoreOptions::default().steps
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

impl PairsSource {
    /// Makes or reads the pairs.
    pub(super) fn open(&self, tokenizer: &Tokenizer) -> anyhow::Result<Vec<Pair>> {
        let refused = |reason: &str| ConfigError(format!("pairs: {reason}"));
        let is_of_task =
            self.task.is_some() || self.attribute.is_some() || !self.at.is_empty() || self.sample.is_some();
        if let Some(behaviour) = self.behaviour {
            if is_of_task || self.file.is_some() {
                return Err(refused(
                    "`behaviour` stands with `n` and `seed` only: `task`, `attribute`, `at` and `sample` are of a task",
                )
                .into());
            }
            return Ok(behaviour_pairs(
                tokenizer,
                behaviour,
                self.n.unwrap_or(PAIRS),
                self.seed,
            )?);
        }
        if let Some(file) = &self.file {
            if is_of_task || self.n.is_some() {
                return Err(
                    refused("`file` stands alone: `task`, `attribute`, `at`, `sample` and `n` are of a task").into(),
                );
            }
            return Ok(PairsFile::read(file, tokenizer)?.pairs);
        }
        let task = self
            .task
            .as_ref()
            .ok_or_else(|| refused("name a `task`, a `behaviour` or a `file`"))?;
        let attribute = self
            .attribute
            .ok_or_else(|| refused("name the `attribute` whose counterfactuals corrupt the prompts"))?;
        let of = TaskPairs {
            attribute,
            at: self.at.clone(),
            sample: self.sample.unwrap_or(Sample::Locate),
            n: self.n.unwrap_or(PAIRS),
            seed: self.seed,
        };
        let task = run_folder::open_task(task, tokenizer)?;
        run_folder::note_available(task.as_ref(), of.sample, of.n, "`n`");
        Ok(task_pairs(task.as_ref(), &of)?)
    }
}

impl PairsSource {
    /// The pairs of a file.
    pub(super) fn of_file(file: PathBuf) -> Self {
        Self {
            task: None,
            attribute: None,
            at: Vec::new(),
            sample: None,
            behaviour: None,
            n: None,
            seed: 0,
            file: Some(file),
        }
    }
}
