//! A ReLU autoencoder on vectors whose truth is known, trained with [`sae::Trainer`] and read back in their own units.
//!
//! Inputs are **not** scaled here. `saelab train` scales them to a mean norm of root(`D`), `x = s a`; codes scale with
//! their input, so `|x - x^|^2 + lambda_s sum f_s = s^2 (|a - a^|^2 + (lambda_s / s) sum f)`, and a weight `lambda` in the
//! units of the paper, Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), has the same minimum
//! as `l1 = s lambda` in a train config: `s` is 2.6 on the occlusion toy and 0.98 on the splitting toy. The way there is
//! not the same. Adam moves every parameter by as much, whatever its unit, so that biases take `s` times as many steps;
//! on the occlusion toy the strong values were found after 410 instead of 270 epochs. The toys are about training time,
//! so they train in the units of the paper, and `lambda` is `l1`.
//!
//! Three things of the trainer differ from plain Adam: learning rate and penalty rise over the first twentieth of the
//! schedule, the gradient is clipped to norm 1, and the learning rate falls to 0 over the last fifth. The last would end
//! each run with another phenomenon (coverage falls while the rate does), so the schedule is made a quarter longer than
//! the run. Latents are not made anew, as in the toys of the paper.
//!
//! Shape legend: `B` rows of a batch, `N` rows, `D` width, `F` latents.

use crate::Error;
use burn::tensor::{Device, Tensor};
use dictionaries::{Architecture, Rows};
use kernels::{Precision, from_vec, matmul, to_vec};
use sae::{Batch, Schedule, Start, StepReport, Trainer};

/// What a toy autoencoder is trained with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    /// Latents `F`.
    pub(crate) latents: usize,
    /// Weight of the penalty.
    pub(crate) lambda: f64,
    /// Optimiser steps of the whole run.
    pub(crate) steps: usize,
    /// Peak learning rate of Adam.
    pub(crate) learning_rate: f64,
    /// Seed of the weights.
    pub(crate) seed: u64,
}

/// An autoencoder in training.
pub(crate) struct Toy {
    trainer: Trainer,
    width: usize,
    device: Device,
}

/// The encoder: `h = W a + b`.
pub(crate) struct Encoder {
    /// `W`, `[F, D]`, row-major.
    pub(crate) weights: Vec<f32>,
    /// `b`, `[F]`: the decoder's bias, which is subtracted from inputs first, is folded in.
    pub(crate) bias: Vec<f32>,
}

impl Toy {
    /// An autoencoder that has taken no step; `mean`, `[D]`, is that of the inputs.
    pub(crate) fn new(mean: Vec<f32>, training: Training, device: &Device) -> Self {
        let width = mean.len();
        let start = Start {
            n_latents: training.latents,
            mean,
            target_mean: None,
            seed: training.seed,
        };
        let schedule = Schedule {
            steps: training.steps + training.steps.div_ceil(4),
            learning_rate: training.learning_rate,
            dead_after: usize::MAX,
            auxiliary_k: 0,
            auxiliary_weight: 0.0,
            resamples: 0,
            frozen_decoder: false,
            l0: None,
            anneal_k: 1.0,
            precision: Precision::F32,
        };
        let architecture = Architecture::Relu { l1: training.lambda };
        Self {
            trainer: Trainer::new(architecture, schedule, start, device),
            width,
            device: device.clone(),
        }
    }

    /// One step on rows `[B, D]`, row-major.
    ///
    /// # Errors
    /// A loss that is not finite.
    pub(crate) fn step(&mut self, rows: Vec<f32>) -> Result<StepReport, Error> {
        let n = rows.len() / self.width;
        let x = from_vec(rows, [n, self.width], &self.device); // [B, D]
        Ok(self.trainer.step(Batch { x: &x, target: None })?.read()?)
    }

    /// The encoder as it is.
    pub(crate) fn encoder(&self) -> Encoder {
        let p = self.trainer.parameters();
        let shift = matmul(p.w_enc.clone(), p.b_dec.clone().reshape([self.width, 1])); // [F, 1]
        let bias = p.b_enc.clone() - shift.reshape([p.n_latents()]); // [F]
        Encoder {
            weights: to_vec(p.w_enc.clone()),
            bias: to_vec(bias),
        }
    }

    /// The decoder's unit rows, `[F, D]`, row-major.
    pub(crate) fn directions(&self) -> Vec<f32> {
        to_vec(self.trainer.parameters().w_dec.clone())
    }

    /// Codes `[N, F]` and reconstructions `[N, D]` of rows `[N, D]`.
    pub(crate) fn reconstruct(&self, rows: &Rows) -> (Rows, Rows) {
        let p = self.trainer.parameters();
        let bias = p.b_dec.clone().unsqueeze::<2>(); // [1, D]
        let x = rows.tensor(0..rows.len(), &self.device) - bias.clone(); // [N, D]
        let h = matmul(x, p.w_enc.clone().transpose()) + p.b_enc.clone().unsqueeze(); // [N, F]
        let codes: Tensor<2> = h.clamp_min(0.0); // [N, F]
        let rebuilt = matmul(codes.clone(), p.w_dec.clone()) + bias; // [N, D]
        (Rows::from_tensor(codes), Rows::from_tensor(rebuilt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{cpu, random};

    /// The trainer's loss is that of the reconstruction with `lambda` as it stands, and the folded encoder gives its codes.
    #[test]
    fn lambda_is_the_weight_of_the_penalty() {
        let (n, width) = (256, 8);
        let training = Training {
            latents: 12,
            lambda: 0.3,
            steps: 400,
            learning_rate: 3e-3,
            seed: 1,
        };
        let mut values = random::normal(&mut random::rng(0, "toy/test"), n * width, 0.4);
        values.chunks_mut(width).for_each(|row| row[0] += 0.7);
        let rows = Rows::new(width, values.clone());
        let mut toy = Toy::new(rows.mean(), training, &cpu());
        let loss = |toy: &Toy| {
            let (codes, rebuilt) = toy.reconstruct(&rows);
            let error: f32 = rebuilt.values().iter().zip(&values).map(|(a, b)| (a - b).powi(2)).sum();
            (error + 0.3 * codes.values().iter().sum::<f32>()) / n as f32
        };
        let (mut before, mut told) = (loss(&toy), 0.0);
        let first = before;
        for _ in 0..training.steps {
            before = loss(&toy);
            told = toy.step(values.clone()).unwrap().loss;
        }
        assert!((told / before - 1.0).abs() < 1e-4, "{told}, {before}");
        assert!(before < 0.9 * first, "{first} to {before}");

        let (codes, encoder) = (toy.reconstruct(&rows).0, toy.encoder());
        for i in 0..5 {
            for latent in 0..training.latents {
                let w = &encoder.weights[latent * width..][..width];
                let h: f32 = w.iter().zip(rows.row(i)).map(|(w, x)| w * x).sum::<f32>() + encoder.bias[latent];
                assert!((h.max(0.0) - codes.row(i)[latent]).abs() < 1e-5);
            }
        }
    }
}
