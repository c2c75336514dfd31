//! What a training says while it runs: metrics of every autoencoder of a site, and progress.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dictionaries::Variant;
use sae::{Outcome, StepReport, TrainConfig};

use crate::error::WithContext as _;
use crate::metrics::Metrics;
use crate::{Bar, Context, Result};

/// Steps between two lines of metrics.
const LOG_EVERY: usize = 50;

/// Lines of a quarter of the steps without which nothing is said of how the loss falls.
const FEWEST_LINES: usize = 5;

/// Metrics and progress of the autoencoders of one site.
pub(crate) struct TrainingLog {
    members: BTreeMap<String, (Metrics, Box<dyn Bar>)>,
    /// Step and loss of each line that was written, by member.
    losses: BTreeMap<String, Vec<(usize, f64)>>,
    pub(crate) bar: Box<dyn Bar>,
    steps: usize,
    batch: usize,
    /// When the last lines were written, at which step, and how long steps had waited for activations until then.
    since: (Instant, usize, Duration),
}

impl TrainingLog {
    pub(crate) fn open(
        variants: &[Variant],
        first: usize,
        config: &TrainConfig,
        folder: impl Fn(&Variant) -> PathBuf,
        context: &Context,
    ) -> Result<Self> {
        let group = context.group("train", config.steps);
        group.set_position(first as u64);
        let mut members = BTreeMap::new();
        for variant in variants {
            let dir = folder(variant);
            let metrics = Metrics::open(&dir, first).with_context(|| format!("cannot write into {}", dir.display()))?;
            members.insert(variant.name.clone(), (metrics, group.line()));
        }
        Ok(Self {
            members,
            losses: BTreeMap::new(),
            bar: group,
            steps: config.steps,
            batch: config.batch,
            since: (Instant::now(), first, Duration::ZERO),
        })
    }

    /// Takes note of a step of every member; what it has come to is read only where it is told.
    pub(crate) fn write(&mut self, step: usize, outcomes: &[(String, Outcome)], waited: Duration) -> Result<()> {
        self.bar.inc(1);
        if !step.is_multiple_of(LOG_EVERY) && step + 1 != self.steps {
            return Ok(());
        }
        let told = outcomes.iter().map(|(name, outcome)| Ok((name, outcome.read()?)));
        let reports = told.collect::<Result<Vec<(&String, StepReport)>, sae::Error>>()?;
        let (start, first, waited_before) = self.since;
        let seconds = start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        let speed = (self.batch * (step + 1 - first)) as f64 / seconds;
        let share = (waited - waited_before).as_secs_f64() / seconds;
        self.since = (Instant::now(), step + 1, waited);
        for (name, report) in reports {
            let Some((metrics, line)) = self.members.get_mut(name) else {
                continue;
            };
            let losses = self.losses.entry(name.clone()).or_default();
            losses.push((step, f64::from(report.loss)));
            line.set_message(format!(
                "{name:<28} unexplained {:.3}, active {:.1}, dead {:.3}",
                report.fvu, report.l0, report.dead
            ));
            let serde_json::Value::Object(mut numbers) = serde_json::json!(report) else {
                continue;
            };
            numbers.insert("tokens_per_s".to_owned(), speed.round().into());
            numbers.insert("waiting".to_owned(), ((share * 1e4).round() / 1e4).into());
            let path = metrics.path().to_owned();
            metrics
                .write(step, &numbers)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// By how much of itself a member's loss fell from the third quarter of the steps to the last, on the lines that were written; none
    /// where too few of them were, as in a short training or one that was resumed late.
    pub(crate) fn last_fall(&self, name: &str) -> Option<f64> {
        let losses = self.losses.get(name)?;
        let mean = |from: usize, to: usize| {
            let of: Vec<f64> = losses
                .iter()
                .filter(|(step, _)| (from..to).contains(step))
                .map(|(_, loss)| *loss)
                .collect();
            (of.len() >= FEWEST_LINES).then(|| of.iter().sum::<f64>() / of.len() as f64)
        };
        let (half, quarter) = (self.steps / 2, self.steps / 4);
        let before = mean(half, half + quarter)?;
        (before > 0.0).then_some(())?;
        Some(1.0 - mean(half + quarter, self.steps)? / before)
    }
}
