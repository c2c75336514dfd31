//! How the learning rate and the weight of the penalty go over a run, and what is left out of it.

use dictionaries::Architecture;
use kernels::Precision;

/// What a trainer does at every step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Optimiser steps of the whole run.
    pub steps: usize,
    /// Peak learning rate; it rises over the first twentieth of the steps and falls to 0 over the last fifth.
    pub learning_rate: f64,
    /// Activations without which a latent counts as dead.
    pub dead_after: usize,
    /// Dead latents that help with each row (AuxK); 0 for half the width.
    pub auxiliary_k: usize,
    /// Weight of AuxK; 0 turns it off.
    pub auxiliary_weight: f64,
    /// How often dead latents of the ReLU of 2023 are made anew, at equal distances over the first half of the run.
    pub resamples: usize,
    /// Decoder rows stay as they were drawn, and all else is trained around them: the paper's baseline.
    pub frozen_decoder: bool,
    /// Active latents of a row that the weight of the penalty is to come to; none where the weight stays.
    pub l0: Option<f64>,
    /// How many times its `k` latents an architecture has active at the first step.
    pub anneal_k: f64,
    /// What the factors of dense products are rounded to; parameters, their gradients and everything else are f32.
    pub precision: Precision,
}

impl Schedule {
    /// Learning rate of a step, from 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let done = (step + 1) as f64 / self.steps as f64;
        let left = (self.steps - step.min(self.steps)) as f64 / self.steps as f64;
        self.learning_rate * (done * 20.0).min(1.0) * (left * 5.0).min(1.0)
    }

    /// Share of its weight that the sparsity penalty has at a step, from 0: it rises over the first twentieth, the tanh
    /// penalty over the whole run.
    pub fn sparsity(&self, architecture: Architecture, step: usize) -> f64 {
        let rise = match architecture {
            Architecture::JumpreluTanh { .. } => 1.0,
            _ => 1.0 / 20.0,
        };
        ((step + 1) as f64 / (self.steps as f64 * rise).max(1.0)).min(1.0)
    }

    /// The architecture at a step, from 0: with more active latents over the first half of the run, where it has a number of them.
    pub(crate) fn annealed(&self, architecture: Architecture, step: usize, n_latents: usize) -> Architecture {
        let left = (1.0 - 2.0 * step as f64 / self.steps as f64).max(0.0);
        let times = 1.0 + (self.anneal_k - 1.0) * left;
        match architecture.k() {
            Some(k) => architecture.with_k(((k as f64 * times).round() as usize).min(n_latents)),
            None => architecture,
        }
    }

    /// Steps between two resamplings; none where there are none.
    pub(crate) fn resample_interval(&self, architecture: Architecture) -> Option<usize> {
        let interval = self.steps / 2 / self.resamples.max(1);
        // Latents that are made anew take directions of the activations, which a frozen decoder must not know.
        let applies = matches!(architecture, Architecture::Relu { .. }) && !self.frozen_decoder;
        (applies && self.resamples > 0 && interval > 0).then_some(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap 6 of the published code: the decay multiplied the rate of the step before, and so fell much faster than a line.
    #[test]
    fn the_rate_falls_along_a_line() {
        let schedule = Schedule {
            steps: 1000,
            learning_rate: 1.0,
            dead_after: 1,
            auxiliary_k: 0,
            auxiliary_weight: 0.0,
            resamples: 0,
            frozen_decoder: false,
            l0: None,
            anneal_k: 1.0,
            precision: Precision::F32,
        };
        assert_eq!([400, 800].map(|step| schedule.learning_rate(step)), [1.0, 1.0]);
        for (step, expected) in [(850, 0.75), (900, 0.5), (950, 0.25), (999, 0.005)] {
            assert!((schedule.learning_rate(step) - expected).abs() < 1e-9, "step {step}");
        }
        let schedule = Schedule {
            anneal_k: 4.0,
            ..schedule
        };
        let at = |step| schedule.annealed(Architecture::Topk { k: 5 }, step, 18).k();
        assert_eq!([0, 250, 500, 999].map(at), [Some(18), Some(13), Some(5), Some(5)]);
    }
}
