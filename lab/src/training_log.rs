//! What a training says while it runs: metrics of every autoencoder of a site, and progress.

use std::collections::BTreeMap;
use std::ops::Range;
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

    /// The number of steps after which the next line is written, when `done` steps are.
    pub(crate) fn next_line(done: usize) -> usize {
        done.next_multiple_of(LOG_EVERY) + 1
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

    /// By how much of itself a member's loss fell from the third quarter of the steps to the last: of the medians of the lines that
    /// were written, since resampled dead latents raise single steps a thousandfold. None where too few lines were written, as in
    /// a short training or one that was resumed late.
    pub(crate) fn last_fall(&self, name: &str) -> Option<f64> {
        let losses = self.losses.get(name)?;
        let (half, quarter) = (self.steps / 2, self.steps / 4);
        let before = median(losses, half..half + quarter)?;
        (before > 0.0).then_some(())?;
        Some(1.0 - median(losses, half + quarter..self.steps)? / before)
    }
}

/// The median loss of the lines of some steps, if they are enough.
fn median(losses: &[(usize, f64)], steps: Range<usize>) -> Option<f64> {
    let mut of: Vec<f64> = losses
        .iter()
        .filter(|(step, _)| steps.contains(step))
        .map(|(_, loss)| *loss)
        .collect();
    of.sort_by(f64::total_cmp);
    (of.len() >= FEWEST_LINES).then(|| of[of.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_see_the_step_at_which_dead_latents_were_resampled() {
        let losses: Vec<(usize, f64)> = (0..FEWEST_LINES + 2)
            .map(|step| (step, if step == 1 { 1e6 } else { 10.0 - step as f64 / 100.0 }))
            .collect();
        let found = median(&losses, 0..losses.len()).unwrap();
        assert!((9.0..10.0).contains(&found), "{found}");
        assert_eq!(median(&losses, 0..FEWEST_LINES - 1), None);
    }
}
