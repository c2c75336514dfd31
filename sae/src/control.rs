//! A penalty whose weight is raised and lowered until a row has the number of active latents that was asked for.
//!
//! SynthSAEBench (<https://arxiv.org/abs/2602.14687>) tunes weights so, over a hundred times as many steps. Here a step changes the
//! weight in proportion to how far the number is from its aim, by factors, so that all steps of a run together can change it by
//! e^[`REACH`].

use serde::{Deserialize, Serialize};

/// What all steps of a run together can change of the logarithm of the weight.
const REACH: f64 = 15.0;
/// Share of the number of active latents of the steps before in what is compared with the aim.
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
}

impl L0Control {
    pub(crate) fn new(aim: f64) -> Self {
        Self {
            aim,
            log_weight: 0.0,
            recent: None,
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
        let recent = self.recent.map_or(l0, |recent| MEMORY * recent + (1.0 - MEMORY) * l0);
        self.recent = Some(recent);
        let distance = (recent.max(FEWEST) / self.aim).ln().clamp(-1.0, 1.0);
        self.log_weight += REACH / steps as f64 * distance;
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
}
