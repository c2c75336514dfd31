//! P4: on two Gaussians, do autoencoders with many latents split the two clusters?
//!
//! The toy of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4.4): an equal mixture
//! of `+mu + N(0, I)` and `-mu + N(0, I)` in 100 dimensions, `|mu| = 2`. The ideal dictionary has two latents, along `mu`
//! and `-mu`. Two latents find it at a middling lambda, from about half of the seeds: where both begin on the same side
//! of `mu` they end in a local minimum that is worse. With many latents the autoencoder pays less by keeping many alive. Every batch is drawn afresh, so what is found is no fit to a finite sample; the scores are on a held-out draw.
//!
//! The total loss stands beside that of the ideal pair ([`crate::splitting_analytic`]) at the same lambda. `toy.rs`
//! says how training goes.
//!
//! Shape legend: `D` = 100, `F` latents, `B` rows of a batch, `N` held-out rows.

use crate::Error;
use crate::splitting_analytic::{self, SILENT, TwoGaussians, WIDTH};
use crate::toy::{Toy, Training};
use burn::tensor::Device;
use dictionaries::Rows;
use serde::{Deserialize, Serialize};

/// Held-out draws that the scores are taken on: the loss of two latents is known to about 0.02.
const HELD_OUT: usize = 40_000;
/// Of them, how many are worked on at once.
const CHUNK: usize = 2_000;

/// One run of the toy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Latents `F`.
    pub latents: usize,
    /// Weight of the L1 penalty, for activations as they are.
    pub lambda: f64,
    /// Optimiser steps.
    pub steps: usize,
    /// Activations of a step, each drawn once.
    pub batch: usize,
    /// Peak learning rate of Adam.
    pub learning_rate: f64,
    /// Seed of activations and weights.
    pub seed: u64,
}

/// What one run of the toy shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// |cos| with `mu` of the decoder rows of latents that are alive, falling; the first ten.
    pub cosines: Vec<f64>,
    /// Latents that are active on at least one in a thousand held-out draws.
    pub alive: usize,
    /// Mean number of active latents.
    pub l0: f64,
    /// Squared error, summed over dimensions.
    pub squared_error: f64,
    /// Squared error + lambda times the sum of codes.
    pub loss: f64,
    /// The same of the best ideal pair.
    pub ideal_loss: f64,
}

impl Settings {
    /// Trains one autoencoder; tells each step.
    ///
    /// # Errors
    /// A loss that is not finite.
    pub fn run(&self, device: &Device, on_step: &mut dyn FnMut()) -> Result<Outcome, Error> {
        let training = Training {
            latents: self.latents,
            lambda: self.lambda,
            steps: self.steps,
            learning_rate: self.learning_rate,
            seed: self.seed,
        };
        let mut stream = TwoGaussians::new(self.seed, "splitting-toy/train");
        let mut toy = Toy::new(vec![0.0; WIDTH], training, device); // the mean of the mixture is 0
        for _ in 0..self.steps {
            toy.step(stream.draw(self.batch))?;
            on_step();
        }
        Ok(self.score(&toy))
    }

    /// The scores on held-out draws. The loss is measured as the change from an autoencoder that does nothing, whose loss
    /// is known, since the squared norm of the draws varies far more than what is to be told apart.
    fn score(&self, toy: &Toy) -> Outcome {
        let mut source = TwoGaussians::new(self.seed, "splitting-toy/held-out");
        let mut active = vec![0usize; self.latents];
        let (mut change, mut price) = (0.0, 0.0);
        for _ in 0..HELD_OUT / CHUNK {
            let rows = Rows::new(WIDTH, source.draw(CHUNK));
            let (codes, rebuilt) = toy.reconstruct(&rows);
            for i in 0..codes.len() {
                for (active, &code) in active.iter_mut().zip(codes.row(i)) {
                    *active += usize::from(code > 0.0);
                    price += f64::from(code);
                }
            }
            let pairs = rebuilt.values().iter().zip(rows.values());
            change += pairs
                .map(|(rebuilt, x)| f64::from(rebuilt - x).powi(2) - f64::from(*x).powi(2))
                .sum::<f64>();
        }
        let n = HELD_OUT as f64;
        let directions = toy.directions();
        let alive = directions
            .chunks(WIDTH)
            .zip(&active)
            .filter(|(_, active)| **active >= HELD_OUT / 1000);
        let mut cosines: Vec<f64> = alive.map(|(row, _)| source.cosine(row)).collect();
        cosines.sort_by(|a, b| b.total_cmp(a));
        let alive = cosines.len();
        cosines.truncate(10);
        let squared_error = SILENT + change / n;
        let ideal = splitting_analytic::ideal(&[self.lambda]);
        Outcome {
            cosines,
            alive,
            l0: active.iter().sum::<usize>() as f64 / n,
            squared_error,
            loss: squared_error + self.lambda * price / n,
            ideal_loss: ideal.first().map_or(f64::NAN, |point| point.loss),
        }
    }
}
