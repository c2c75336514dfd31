//! A penalty whose weight is raised and lowered until a row has the number of active latents that was asked for.
//!
//! SynthSAEBench (<https://arxiv.org/abs/2602.14687>) tunes weights so, over a hundred times as many steps. Here a step changes the
//! weight in proportion to how far the number will be from its aim, by factors, so that all steps of a run together can change it by
//! e^[`REACH`]. What counts is not the number of now but that of [`AHEAD`] of the run later, were it to go on as it goes: it follows the
//! weight late, and thresholds that have risen too far come back slowly, since what lies below their window does not feel them.

use serde::{Deserialize, Serialize};

/// What all steps of a run together can change of the logarithm of the weight.
const REACH: f64 = 15.0;
/// How far ahead the number of active latents is told, as a share of the run.
const AHEAD: f64 = 0.05;
/// Share of the steps before in what is known of the number of active latents, and of how it changes.
const MEMORY: f64 = 0.95;
/// The least number of active latents that is told from none.
const FEWEST: f64 = 1e-3;

/// The weight as it is at a step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct L0Control {
    /// From the config, not from a checkpoint.
    #[serde(skip)]
    aim: f64,
    /// Logarithm of what the weight is multiplied by.
    log_weight: f64,
    /// Mean number of active latents of the last steps.
    recent: Option<f64>,
    /// What a step adds to the logarithm of that mean, a mean over the last steps too. A checkpoint from before it was known has none.
    #[serde(default)]
    trend: f64,
}

impl L0Control {
    pub(crate) fn new(aim: f64) -> Self {
        Self {
            aim,
            log_weight: 0.0,
            recent: None,
            trend: 0.0,
        }
    }

    /// As a checkpoint has it.
    pub(crate) fn restored(&self, from: Self) -> Self {
        Self { aim: self.aim, ..from }
    }

    /// What the weight is multiplied by.
    pub(crate) fn weight(&self) -> f64 {
        self.log_weight.exp()
    }

    /// Takes note of the mean number of active latents of a step of a run of `steps`.
    pub(crate) fn observe(&mut self, l0: f64, steps: usize) {
        let before = self.recent.unwrap_or(l0).max(FEWEST);
        let recent = (MEMORY * before + (1.0 - MEMORY) * l0).max(FEWEST);
        self.recent = Some(recent);
        self.trend = MEMORY * self.trend + (1.0 - MEMORY) * (recent / before).ln();
        let distance = (recent / self.aim).ln() + AHEAD * steps as f64 * self.trend;
        self.log_weight += REACH / steps as f64 * distance.clamp(-1.0, 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_follows_the_weight_comes_to_its_aim() {
        for start in [400.0, 0.02] {
            let mut control = L0Control::new(5.0);
            // An autoencoder goes a hundredth of the way to what the weight asks for.
            let mut l0: f64 = start;
            for _ in 0..3000 {
                control.observe(l0, 3000);
                let asked = start.ln() - 0.8 * control.log_weight;
                l0 = (l0.ln() + 0.01 * (asked - l0.ln())).exp();
            }
            assert!((l0 / 5.0 - 1.0).abs() < 0.03, "from {start}: {l0}");
        }
    }

    #[test]
    fn a_number_that_hardly_comes_back_does_not_fall_below_its_aim() {
        let mut control = L0Control::new(5.0);
        let (mut l0, mut least): (f64, f64) = (100.0, 100.0);
        for _ in 0..1500 {
            control.observe(l0, 1500);
            let wanted = (100.0_f64.ln() - 0.8 * control.log_weight) - l0.ln();
            // Thresholds rise by no more than a step of the optimiser allows, and fall at a tenth of that.
            l0 *= (0.01 * wanted).clamp(-0.01, 0.001).exp();
            least = least.min(l0);
        }
        assert!(least > 4.5 && l0 < 5.5, "{least} at the least, {l0} at the end");
    }
}
