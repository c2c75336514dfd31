//! One training step: forward, backward, constraint, clip, Adam, dead counters.
//!
//! Gao et al. 2024 (<https://arxiv.org/abs/2406.04093>), section A, for the order: project the decoder's gradient, clip
//! the whole gradient, Adam, decoder rows back to norm 1.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::time::{Duration, Instant};

use burn::tensor::{Gradients, Tensor};
use kernels::{Adam, AdamConfig, Update, squared_norm, to_vec};
use serde::Serialize;

use crate::architecture::variance;
use crate::parameters::Parameters;
use crate::pass::{self, Path, Revival};
use crate::{Architecture, Error};

/// Bound on the norm of the whole gradient.
const CLIP_NORM: f64 = 1.0;

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
}

impl Schedule {
    /// Learning rate of a step, from 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let done = (step + 1) as f64 / self.steps as f64;
        let left = (self.steps - step.min(self.steps)) as f64 / self.steps as f64;
        self.learning_rate * (done * 20.0).min(1.0) * (left * 5.0).min(1.0)
    }

    /// Share of its weight that the sparsity penalty has at a step, from 0: it rises over the first twentieth.
    pub fn warm(&self, step: usize) -> f64 {
        ((step + 1) as f64 / (self.steps as f64 / 20.0).max(1.0)).min(1.0)
    }
}

/// What one step reports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepReport {
    /// Step, from 0.
    pub step: usize,
    /// All terms of the loss, in scaled units: squared error summed over dimensions, mean over rows.
    pub loss: f32,
    /// Squared error over the variance of the batch.
    pub fvu: f32,
    /// Mean number of active latents of a row.
    pub l0: f32,
    /// Share of latents that have been silent for as long as makes them dead.
    pub dead: f32,
    /// Norm of the whole gradient before the clip.
    pub gradient_norm: f32,
}

/// Where the time of a step goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// The encoder's dense product.
    pub encode: Duration,
    /// Selection of active entries.
    pub select: Duration,
    /// Decoder and loss.
    pub decode: Duration,
    /// Gradients.
    pub backward: Duration,
    /// Norm, clip, Adam, constraint.
    pub optimiser: Duration,
}

/// An autoencoder in training, in the units of its scaled inputs.
#[derive(Debug)]
pub struct Trainer {
    architecture: Architecture,
    schedule: Schedule,
    parameters: Parameters,
    adam: Adam,
    /// Activations since each latent was last active.
    silent: Vec<u64>,
    step: usize,
    path: Option<Path>,
    /// Set by tests that compare the two paths.
    pinned: Option<Path>,
    times: Times,
}

impl Trainer {
    /// A trainer that has taken no step.
    pub(crate) fn new(architecture: Architecture, schedule: Schedule, parameters: Parameters) -> Self {
        Self {
            architecture,
            schedule,
            adam: Adam::new(AdamConfig::default(), 4 + parameters.extra.len()),
            silent: vec![0; parameters.n_latents()],
            parameters,
            step: 0,
            path: None,
            pinned: None,
            times: Times::default(),
        }
    }

    /// The same trainer on one path only, whatever it costs.
    #[cfg(test)]
    pub(crate) fn on_path(self, path: Path) -> Self {
        Self {
            pinned: Some(path),
            ..self
        }
    }

    /// Sets the learning rate of the next step, whatever the schedule says.
    #[cfg(test)]
    pub(crate) fn set_learning_rate(&mut self, rate: f64) {
        self.schedule.learning_rate = 1.0;
        self.schedule.learning_rate = rate / self.schedule.learning_rate(self.step);
    }

    /// The parameters as they are.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters, for a caller that sets them before the first step.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// Time spent so far.
    pub fn times(&self) -> Times {
        self.times
    }

    /// One optimiser step on rows of scaled activations, `[B, D]` (plain).
    ///
    /// # Errors
    ///
    /// Activations or a loss that are not finite.
    pub fn step(&mut self, x: &Tensor<2>) -> Result<StepReport, Error> {
        let [rows, _] = x.dims();
        let path = self.pinned.or(self.path);
        let path = path.unwrap_or_else(|| pass::first_path(self.architecture, x));
        let dead: Vec<u32> = (0_u32..)
            .zip(&self.silent)
            .filter(|(_, silent)| **silent >= self.schedule.dead_after as u64)
            .map(|(latent, _)| latent)
            .collect();
        let revival = (self.architecture.k().is_some() && self.schedule.auxiliary_weight > 0.0).then(|| Revival {
            dead: &dead,
            k: match self.schedule.auxiliary_k {
                0 => (x.dims()[1] / 2).max(1),
                k => k,
            },
            weight: self.schedule.auxiliary_weight,
        });
        let mut tracked = self.parameters.tracked();
        let warm = self.schedule.warm(self.step);
        let pass = pass::forward(self.architecture, &tracked, x, path, warm, revival)?;
        let start = Instant::now();
        let loss = to_vec(pass.loss.total.clone().inner())[0];
        if !loss.is_finite() {
            return Err(Error::Diverged { step: self.step, loss });
        }
        let fvu =
            to_vec(pass.loss.squared_error.clone().inner() / variance(x).clamp_min(f64::from(f32::MIN_POSITIVE)))[0];
        self.times.encode += pass.encode_time;
        self.times.select += pass.select_time;
        self.times.decode += pass.decode_time + start.elapsed();

        let start = Instant::now();
        let mut grads = pass.loss.total.backward();
        let gradients = Parameters {
            w_enc: grad(&mut tracked.w_enc, &mut grads),
            b_enc: grad(&mut tracked.b_enc, &mut grads),
            w_dec: grad(&mut tracked.w_dec, &mut grads),
            b_dec: grad(&mut tracked.b_dec, &mut grads),
            extra: tracked.extra.iter_mut().map(|p| grad(p, &mut grads)).collect(),
        };
        // Parameters that nobody else holds are updated in place.
        drop((
            tracked,
            grads,
            pass.loss.reconstruction,
            pass.loss.codes,
            pass.loss.squared_error,
        ));
        self.times.backward += start.elapsed();

        let start = Instant::now();
        let gradient_norm = self.apply(gradients);
        self.times.optimiser += start.elapsed();

        for (silent, fired) in self.silent.iter_mut().zip(&pass.fired) {
            *silent = if *fired { 0 } else { *silent + rows as u64 };
        }
        let n_latents = self.parameters.n_latents();
        let density = pass.n_entries as f64 / (rows * n_latents) as f64;
        self.path = Some(pass::next_path(self.architecture, x, density));
        self.step += 1;
        Ok(StepReport {
            step: self.step - 1,
            loss,
            fvu,
            l0: pass.n_active as f32 / rows as f32,
            dead: dead.len() as f32 / n_latents as f32,
            gradient_norm: gradient_norm as f32,
        })
    }

    /// Moves the parameters; gives the norm of the gradient.
    fn apply(&mut self, gradients: Parameters) -> f64 {
        let unit_rows = self.architecture.has_unit_decoder();
        let p = &mut self.parameters;
        let squares = squared_norm(&gradients.w_enc, None)
            + squared_norm(&gradients.b_enc, None)
            + squared_norm(&gradients.w_dec, unit_rows.then_some(&p.w_dec))
            + squared_norm(&gradients.b_dec, None)
            + gradients.extra.iter().map(|g| squared_norm(g, None)).sum::<f64>();
        let norm = squares.sqrt();
        let update = Update {
            gradient_scale: (CLIP_NORM / norm).min(1.0),
            ..Update::plain(self.schedule.learning_rate(self.step))
        };
        self.adam.begin_step();
        self.adam.update(0, &mut p.w_enc, gradients.w_enc, &update);
        self.adam.update(1, &mut p.b_enc, gradients.b_enc, &update);
        self.adam
            .update(2, &mut p.w_dec, gradients.w_dec, &Update { unit_rows, ..update });
        self.adam.update(3, &mut p.b_dec, gradients.b_dec, &update);
        for (slot, (parameter, gradient)) in p.extra.iter_mut().zip(gradients.extra).enumerate() {
            self.adam.update(4 + slot, parameter, gradient, &update);
        }
        if let Architecture::Jumprelu { .. } = self.architecture {
            p.extra[0] = p.extra[0].clone().clamp_min(0.0);
        }
        norm
    }
}

/// The gradient of a tracked parameter; zero where the loss does not depend on it.
fn grad<const D: usize>(tracked: &mut Tensor<D>, grads: &mut Gradients) -> Tensor<D> {
    tracked
        .grad_remove(grads)
        .unwrap_or_else(|| tracked.clone().inner().zeros_like())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::new_trainer;
    use kernels::{cpu, from_vec, random};

    const ARCHITECTURES: [Architecture; 7] = [
        Architecture::Relu { l1: 2.0 },
        Architecture::ReluApril { l1: 2.0 },
        Architecture::Gated { l1: 2.0 },
        Architecture::Jumprelu {
            l0: 6.0,
            bandwidth: 0.4,
        },
        Architecture::Topk { k: 5 },
        Architecture::BatchTopk { k: 5 },
        Architecture::Matryoshka { k: 5, levels: 3 },
    ];

    fn trainer(architecture: Architecture, path: Path, dead_after: usize) -> Trainer {
        let schedule = Schedule {
            steps: 300,
            learning_rate: 1e-3,
            dead_after,
            auxiliary_k: 0,
            auxiliary_weight: 1.0 / 32.0,
        };
        new_trainer(architecture, 96, vec![0.1; 24], schedule, 3, &cpu()).on_path(path)
    }

    fn batch(step: usize) -> Tensor<2> {
        let draws = random::normal(&mut random::rng(step as u64, "batch"), 64 * 24, 1.0);
        // A few directions carry most of the variance, so that there is something to learn.
        let values = draws.chunks(24).flat_map(|row| {
            let (a, b) = (row[0] * 2.0, row[1] * 2.0);
            let shape = |(i, x): (usize, &f32)| 0.3 * x + if i % 2 == 0 { a } else { b } * (i % 5) as f32 * 0.4;
            row.iter().enumerate().map(shape).collect::<Vec<_>>()
        });
        from_vec(values.collect(), [64, 24], &cpu())
    }

    #[test]
    fn both_paths_give_the_same_loss_and_gradients() {
        for architecture in ARCHITECTURES {
            // From the second step on, latents that did not fire in the first are dead.
            let [mut dense, mut sparse] = [Path::Dense, Path::Sparse].map(|path| trainer(architecture, path, 64));
            for step in 0..4 {
                let (a, b) = (dense.step(&batch(step)).unwrap(), sparse.step(&batch(step)).unwrap());
                let gap = ((a.loss - b.loss) / a.loss).abs();
                assert!(
                    gap < 1e-4,
                    "{}, step {step}: {} and {}",
                    architecture.name(),
                    a.loss,
                    b.loss
                );
                let gap = ((a.gradient_norm - b.gradient_norm) / a.gradient_norm).abs();
                let norms = (a.gradient_norm, b.gradient_norm);
                assert!(gap < 1e-3, "{}, step {step}: {norms:?}", architecture.name());
                assert_eq!((a.l0, a.dead), (b.l0, b.dead));
            }
        }
    }

    #[test]
    fn three_hundred_steps_on_either_path_end_with_the_same_loss() {
        for architecture in ARCHITECTURES {
            let last = [Path::Dense, Path::Sparse].map(|path| {
                let mut trainer = trainer(architecture, path, 2000);
                (0..300)
                    .map(|step| trainer.step(&batch(step)).unwrap().loss)
                    .last()
                    .unwrap()
            });
            let gap = ((last[0] - last[1]) / last[0]).abs();
            assert!(gap < 1e-3, "{}: {last:?}", architecture.name());
        }
    }
}
