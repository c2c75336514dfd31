//! Matching Pursuit autoencoders (`sae_lens.saes.matching_pursuit_sae`; Costa et al. 2025,
//! <https://arxiv.org/abs/2506.03093>): codes are found one after the other in what the ones before have left over.
//!
//! Encoder and decoder share unit rows. Each of `k` rounds takes the latent most alike the residual, adds its product with the residual to
//! the latent's code and takes the same out of the residual; a latent may be taken again. Training follows the gradient of the squared
//! error through all rounds, the choices held fixed.
//!
//! Shapes: `F` latents, `D` width, `B` rows.

use burn::tensor::{Device, Tensor};
use kernels::{Adam, AdamConfig, Matrix, Update, from_vec, gemm, random, squared_norm, to_vec};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::metrics::Coder;

/// Bound on the norm of the gradient, as of all other autoencoders here.
const CLIP_NORM: f64 = 1.0;
/// Rows that one task follows; their gradients are summed in the order of tasks.
const ROWS_PER_TASK: usize = 64;

/// How one is trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MatchingPursuitSettings {
    /// Rounds, which is the most latents that a row activates.
    pub k: usize,
    /// Seed of the decoder rows.
    pub seed: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
}

/// A Matching Pursuit autoencoder.
#[derive(Debug, Clone)]
pub struct MatchingPursuit {
    k: usize,
    /// Unit rows, `[F, D]`.
    w_dec: Tensor<2>,
    /// Taken from rows first and added to reconstructions, `[D]`.
    b_dec: Tensor<1>,
}

/// Mean squared error of rows, and its gradients.
#[derive(Debug, Clone)]
pub struct Gradients {
    /// Summed over dimensions, mean over rows.
    pub loss: f64,
    /// `[F, D]`.
    pub w_dec: Vec<f32>,
    /// `[D]`.
    pub b_dec: Vec<f32>,
}

/// What a row's rounds took.
struct Pursuit {
    /// Latents and what was added to their codes.
    taken: Vec<(usize, f32)>,
    /// The residual before each round, and what is left after the last one.
    residuals: Vec<Vec<f32>>,
}

impl MatchingPursuit {
    /// Random rows, the mean of the rows as bias.
    pub fn new(k: usize, latents: usize, mean: Vec<f32>, seed: u64, device: &Device) -> Self {
        let d = mean.len();
        let rows = random::unit_rows(&mut random::rng(seed, "synthetic/matching-pursuit"), latents, d);
        Self::from_rows(k, rows, mean, device)
    }

    /// Given unit rows `[F, D]` and a bias `[D]`.
    pub fn from_rows(k: usize, rows: Vec<f32>, b_dec: Vec<f32>, device: &Device) -> Self {
        let d = b_dec.len();
        Self {
            k,
            w_dec: from_vec::<2>(rows.clone(), [rows.len() / d, d], device),
            b_dec: from_vec(b_dec, [d], device),
        }
    }

    /// The same for rows that were not multiplied by `scale` first.
    pub fn unscaled(self, scale: f32) -> Self {
        Self {
            b_dec: self.b_dec / scale,
            ..self
        }
    }

    /// The rounds of a row; `scores` holds its products with all latents.
    fn pursue(&self, w_dec: &[f32], gram: &[f32], centred: &[f32], mut scores: Vec<f32>) -> Pursuit {
        let (d, latents) = (centred.len(), scores.len());
        let mut residuals = vec![centred.to_vec()];
        let mut taken = Vec::with_capacity(self.k);
        for _ in 0..self.k {
            let best = (0..latents).fold(
                0,
                |best, latent| if scores[latent] > scores[best] { latent } else { best },
            );
            let row = &w_dec[best * d..][..d];
            let residual = &residuals[residuals.len() - 1];
            let value = residual.iter().zip(row).map(|(r, w)| r * w).sum::<f32>().max(0.0);
            if value == 0.0 {
                break;
            }
            let next = residual.iter().zip(row).map(|(r, w)| r - value * w).collect();
            residuals.push(next);
            taken.push((best, value));
            // Products with what is left: less the value times products of latents.
            let products = &gram[best * latents..][..latents];
            scores
                .iter_mut()
                .zip(products)
                .for_each(|(score, g)| *score -= value * g);
        }
        Pursuit { taken, residuals }
    }

    fn pursue_all<T: Send>(&self, x: &Tensor<2>, each: impl Fn(&[f32], Vec<Pursuit>) -> T + Sync) -> Vec<T> {
        let ([latents, d], [rows, _]) = (self.w_dec.dims(), x.dims());
        let w_dec = to_vec(self.w_dec.clone());
        let centred = to_vec(x.clone() - self.b_dec.clone().unsqueeze()); // [B, D]
        let mut gram = vec![0.0; latents * latents];
        let rows_of = Matrix::rows(&w_dec, d);
        gemm(&mut gram, rows_of, rows_of.transposed()); // [F, F]
        let mut scores = vec![0.0; rows * latents];
        gemm(&mut scores, Matrix::rows(&centred, d), rows_of.transposed()); // [B, F]
        centred
            .par_chunks(d * ROWS_PER_TASK)
            .zip(scores.par_chunks(latents * ROWS_PER_TASK))
            .map(|(centred, scores)| {
                let rows = centred.chunks_exact(d).zip(scores.chunks_exact(latents));
                let pursuits = rows.map(|(row, scores)| self.pursue(&w_dec, &gram, row, scores.to_vec()));
                each(&w_dec, pursuits.collect())
            })
            .collect()
    }

    /// Loss and gradients on rows `[B, D]`.
    pub fn gradients(&self, x: &Tensor<2>) -> Gradients {
        let ([latents, d], [rows, _]) = (self.w_dec.dims(), x.dims());
        let scale = 2.0 / rows as f32;
        let parts = self.pursue_all(x, |w_dec, pursuits| {
            let mut loss = 0.0_f64;
            let mut by_entry = Vec::new();
            let mut b_dec = vec![0.0_f32; d];
            for Pursuit { taken, residuals } in pursuits {
                let left = &residuals[taken.len()];
                loss += left.iter().map(|r| f64::from(*r).powi(2)).sum::<f64>();
                // From the last round to the first: of the residual after a round to that before it.
                let mut of_residual: Vec<f32> = left.iter().map(|r| r * scale).collect();
                for (&(latent, value), before) in taken.iter().zip(&residuals).rev() {
                    let row = &w_dec[latent * d..][..d];
                    let of_value = -of_residual.iter().zip(row).map(|(g, w)| g * w).sum::<f32>();
                    let gradient = of_residual.iter().zip(before).map(|(g, r)| of_value * r - value * g);
                    by_entry.push((latent, gradient.collect::<Vec<f32>>()));
                    of_residual.iter_mut().zip(row).for_each(|(g, w)| *g += of_value * w);
                }
                b_dec.iter_mut().zip(&of_residual).for_each(|(b, g)| *b -= g);
            }
            (loss, by_entry, b_dec)
        });
        let mut found = Gradients {
            loss: 0.0,
            w_dec: vec![0.0; latents * d],
            b_dec: vec![0.0; d],
        };
        for (loss, by_entry, b_dec) in parts {
            found.loss += loss / rows as f64;
            for (latent, gradient) in by_entry {
                let row = &mut found.w_dec[latent * d..][..d];
                row.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
            found.b_dec.iter_mut().zip(b_dec).for_each(|(sum, g)| *sum += g);
        }
        found
    }
}

/// One in training.
#[derive(Debug)]
pub struct MatchingPursuitTrainer {
    /// As it is.
    pub model: MatchingPursuit,
    adam: Adam,
}

impl MatchingPursuitTrainer {
    /// One that has taken no step.
    pub fn new(model: MatchingPursuit) -> Self {
        Self {
            model,
            adam: Adam::new(AdamConfig::default(), 2),
        }
    }

    /// One step on rows `[B, D]`; gives the loss before it.
    pub fn step(&mut self, x: &Tensor<2>, learning_rate: f64) -> f64 {
        let ([latents, d], device) = (self.model.w_dec.dims(), x.device());
        let Gradients { loss, w_dec, b_dec } = self.model.gradients(x);
        let w_dec: Tensor<2> = from_vec(w_dec, [latents, d], &device);
        let b_dec: Tensor<1> = from_vec(b_dec, [d], &device);
        let squares = squared_norm(&w_dec, Some(&self.model.w_dec)) + squared_norm(&b_dec, None);
        let update = |unit_rows: bool| Update {
            gradient_scale: squares.clip(CLIP_NORM),
            unit_rows,
            ..Update::plain(learning_rate)
        };
        self.adam.begin_step();
        self.adam.update(0, &mut self.model.w_dec, w_dec, &update(true));
        self.adam.update(1, &mut self.model.b_dec, b_dec, &update(false));
        loss
    }
}

impl Coder for MatchingPursuit {
    fn decoder(&self) -> Vec<f32> {
        to_vec(self.w_dec.clone())
    }

    fn run(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let ([latents, d], [rows, _], device) = (self.w_dec.dims(), x.dims(), x.device());
        let x_values = to_vec(x.clone());
        let parts = self.pursue_all(&x, |_, pursuits| {
            let mut codes = vec![0.0; pursuits.len() * latents];
            for (codes, pursuit) in codes.chunks_exact_mut(latents).zip(&pursuits) {
                pursuit.taken.iter().for_each(|&(latent, value)| codes[latent] += value);
            }
            let left = pursuits
                .into_iter()
                .flat_map(|mut pursuit| pursuit.residuals.pop().unwrap_or_default());
            (codes, left.collect::<Vec<f32>>())
        });
        let (codes, left): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let reconstruction = x_values.iter().zip(left.concat()).map(|(x, r)| x - r).collect();
        (
            from_vec(codes.concat(), [rows, latents], &device),
            from_vec(reconstruction, [rows, d], &device),
        )
    }
}
