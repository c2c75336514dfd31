//! O3, O4 and the dose-response: does an autoencoder find the features of small norm later, or never?
//!
//! The toy of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4.4 and figure 13):
//! an activation is `a = u_i + v_j`, the sum of one of 216 strong and one of 216 weak Gaussian vectors in 64 dimensions,
//! `i` and `j` independent and uniform. The paper's mean norms are 2.44 and 1.85; here their ratio is the dose, from 1
//! (no attribute is the stronger one: the control) to 2, and the norm of the sum stays that of the paper, so that
//! one lambda means the same at every dose. The paper does not say how many samples it trained on.
//!
//! Training is on a fixed sample of pairs; coverage ([`eval::phenomena::coverage`]) is taken over all 216 x 216 pairs, exactly and
//! without drawing any: a pre-activation is a number of `u_i` plus a number of `v_j`, so the pairs on which a latent is
//! active are counted by sorting 216 numbers. It is taken at thirty-odd points in geometric progression of training
//! time, because on this toy the gap is largely one of time: the weak features come later. The index is therefore given
//! twice, at the first checkpoint where the strong coverage reaches 0.6 and at the end.
//!
//! `phenomena/toy.rs` says how training goes, and what lambda is in the units of a train config.
//!
//! Shape legend: `P` = 216 values of an attribute, `D` = 64, `F` latents, `B` rows of a batch.

use crate::Error;
use crate::toy::{Encoder, Toy, Training};
use activations::BatchOrder;
use burn::tensor::Device;
use dictionaries::{Rows, dot};
use eval::phenomena::coverage::{Counts, coverage, occlusion_index};
use eval::phenomena::occlusion::ENOUGH;
use kernels::{Matrix, gemm, random};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Values of each of the two attributes, `P`.
pub const VALUES: usize = 216;
/// Width of an activation, `D`.
pub const WIDTH: usize = 64;
/// Norm of the two mean norms together, root(2.44^2 + 1.85^2).
const NORM: f64 = 3.062;
/// F1 at which a value counts as covered: the effect fades with it (O4).
pub const THETAS: [f64; 3] = [0.5, 0.7, 0.9];
/// The F1 of the bars.
pub const THETA: f64 = 0.9;
/// Ratio of the training times of two checkpoints.
const CHECKPOINT_RATIO: f64 = 1.25;

/// One run of the toy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Mean norm of the strong vectors over that of the weak ones; the paper's is 1.319.
    pub ratio: f64,
    /// Latents `F`.
    pub latents: usize,
    /// Weight of the L1 penalty, for activations as they are.
    pub lambda: f64,
    /// Passes over the sample.
    pub epochs: usize,
    /// Activations of the sample.
    pub samples: usize,
    /// Activations of a step.
    pub batch: usize,
    /// Peak learning rate of Adam.
    pub learning_rate: f64,
    /// Seed of vectors, sample, order and weights.
    pub seed: u64,
}

/// Coverage of both attributes at one F1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The F1 that counts as covered.
    pub theta: f64,
    /// Share of the strong values with a latent of their own.
    pub strong: f64,
    /// Share of the weak values.
    pub weak: f64,
}

/// The autoencoder at one point of its training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Optimiser steps taken.
    pub step: usize,
    /// The same in passes over the sample.
    pub epoch: f64,
    /// Mean number of active latents over all pairs.
    pub l0: f64,
    /// Coverage at each of [`THETAS`].
    pub coverage: Vec<Coverage>,
}

impl Checkpoint {
    /// Coverage at `theta`, one of [`THETAS`].
    pub(crate) fn at(&self, theta: f64) -> Option<&Coverage> {
        self.coverage.iter().find(|coverage| coverage.theta == theta)
    }
}

/// What one run of the toy shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rising in time; the last is the end.
    pub checkpoints: Vec<Checkpoint>,
    /// 1 - weak / strong at [`THETA`], at the first checkpoint where the strong coverage is at least [`ENOUGH`].
    pub first_index: Option<f64>,
    /// Epoch of that checkpoint.
    pub first_epoch: Option<f64>,
    /// The same index at the end; `None` when nothing is covered.
    pub final_index: Option<f64>,
    /// The largest weak - strong at [`THETA`] over checkpoints with strong >= 0.2; `None` when there is none.
    pub worst_order: Option<f64>,
    /// strong - weak at F1 0.5 and at F1 0.9, at the first checkpoint where the strong coverage at 0.9 is at least 0.5.
    pub gaps: Option<[f64; 2]>,
}

impl Settings {
    /// Optimiser steps of the run.
    pub fn steps(&self) -> usize {
        (self.epochs * self.samples).div_ceil(self.batch.max(1))
    }

    /// Steps after which coverage is taken, rising; the last is the end.
    fn checkpoints(&self) -> Vec<usize> {
        let steps = self.steps();
        let epoch = self.samples as f64 / self.batch as f64;
        let times = std::iter::successors(Some(epoch), |time| Some(time * CHECKPOINT_RATIO));
        let mut at: Vec<usize> = times
            .take_while(|time| *time < steps as f64)
            .map(|t| t as usize)
            .collect();
        // The one before the end would be too close to it to say anything of its own.
        at.retain(|&step| step > 0 && (step as f64) * CHECKPOINT_RATIO.sqrt() < steps as f64);
        at.push(steps);
        at.dedup();
        at
    }

    /// Trains one autoencoder; tells each step.
    ///
    /// # Errors
    /// A batch larger than the sample; a loss that is not finite.
    pub fn run(&self, device: &Device, on_step: &mut dyn FnMut()) -> Result<Outcome, Error> {
        let vectors = Vectors::draw(self.ratio, self.seed);
        let mut rng = random::rng(self.seed, "occlusion-toy/sample");
        let pairs: Vec<[usize; 2]> = (0..self.samples)
            .map(|_| [rng.random_range(0..VALUES), rng.random_range(0..VALUES)])
            .collect();
        let sample = Rows::new(WIDTH, pairs.iter().flat_map(|pair| vectors.sum(*pair)).collect());
        let steps = self.steps();
        let training = Training {
            latents: self.latents,
            lambda: self.lambda,
            steps,
            learning_rate: self.learning_rate,
            seed: self.seed,
        };
        let mut toy = Toy::new(sample.mean(), training, device);
        let mut order = BatchOrder::new(self.samples, self.batch, self.seed)?;
        let mut checkpoints = Vec::new();
        let mut due = self.checkpoints().into_iter().peekable();
        for step in 0..steps {
            let rows = order.batch(step).into_iter();
            toy.step(rows.flat_map(|row| sample.row(row)).copied().collect())?;
            on_step();
            if due.next_if_eq(&(step + 1)).is_some() {
                let epoch = ((step + 1) * self.batch) as f64 / self.samples as f64;
                checkpoints.push(vectors.checkpoint(&toy.encoder(), step + 1, epoch));
            }
        }
        Ok(Outcome::of(checkpoints))
    }
}

impl Outcome {
    fn of(checkpoints: Vec<Checkpoint>) -> Self {
        let at = |theta| {
            checkpoints
                .iter()
                .filter_map(move |point| Some((point, point.at(theta)?)))
        };
        let index = |coverage: &Coverage| occlusion_index(coverage.strong, coverage.weak);
        let first = at(THETA).find(|(_, coverage)| coverage.strong >= ENOUGH);
        let strong_enough = at(THETA).filter(|(_, coverage)| coverage.strong >= 0.2);
        let order = strong_enough.map(|(_, coverage)| coverage.weak - coverage.strong);
        let half = at(THETA).find(|(_, coverage)| coverage.strong >= 0.5);
        let gap = |coverage: &Coverage| coverage.strong - coverage.weak;
        let gaps = half.and_then(|(point, high)| Some([gap(point.at(THETAS[0])?), gap(high)]));
        let (first_index, first_epoch) = (
            first.and_then(|(_, coverage)| index(coverage)),
            first.map(|(point, _)| point.epoch),
        );
        let final_index = at(THETA).next_back().and_then(|(_, coverage)| index(coverage));
        let worst_order = order.reduce(f64::max);
        Self {
            first_index,
            first_epoch,
            final_index,
            worst_order,
            gaps,
            checkpoints,
        }
    }
}

/// The vectors that activations are sums of.
struct Vectors {
    strong: Vec<f32>, // [P, D]
    weak: Vec<f32>,   // [P, D]
}

impl Vectors {
    fn draw(ratio: f64, seed: u64) -> Self {
        let weak = NORM / (1.0 + ratio * ratio).sqrt();
        Self {
            strong: gaussian(weak * ratio, seed, "occlusion-toy/strong"),
            weak: gaussian(weak, seed, "occlusion-toy/weak"),
        }
    }

    /// `u_i + v_j`, `[D]`.
    fn sum(&self, [i, j]: [usize; 2]) -> impl Iterator<Item = f32> {
        let rows = self.strong[i * WIDTH..][..WIDTH]
            .iter()
            .zip(&self.weak[j * WIDTH..][..WIDTH]);
        rows.map(|(u, v)| u + v)
    }

    /// Coverage and L0 over all pairs.
    fn checkpoint(&self, encoder: &Encoder, step: usize, epoch: f64) -> Checkpoint {
        let n_latents = encoder.bias.len();
        let part = |vectors: &[f32]| {
            let mut out = vec![0.0; n_latents * VALUES];
            let w = Matrix::rows(&encoder.weights, WIDTH);
            gemm(&mut out, w, Matrix::rows(vectors, WIDTH).transposed()); // [F, P]
            out
        };
        let (of_strong, of_weak) = (part(&self.strong), part(&self.weak));
        let [mut strong, mut weak] = [0, 1].map(|_| Counts::new(n_latents, VALUES));
        for (latent, &bias) in encoder.bias.iter().enumerate() {
            let place = latent * VALUES;
            let p: Vec<f32> = of_strong[place..][..VALUES].iter().map(|p| p + bias).collect();
            let q = &of_weak[place..][..VALUES];
            strong.both[place..][..VALUES].copy_from_slice(&partners(&p, q));
            weak.both[place..][..VALUES].copy_from_slice(&partners(q, &p));
            let active = strong.both[place..][..VALUES].iter().sum();
            (strong.active[latent], weak.active[latent]) = (active, active);
        }
        strong.holds.fill(VALUES as u32);
        weak.holds.fill(VALUES as u32);
        let pairs = (VALUES * VALUES) as f64;
        let l0 = strong.active.iter().map(|&n| f64::from(n)).sum::<f64>() / pairs;
        let (strong, weak) = (strong.best_f1(1), weak.best_f1(1));
        let of = |best: &[Option<f64>], theta| coverage(best, theta).unwrap_or(0.0);
        let coverage = THETAS.map(|theta| Coverage {
            theta,
            strong: of(&strong, theta),
            weak: of(&weak, theta),
        });
        Checkpoint {
            step,
            epoch,
            l0,
            coverage: coverage.to_vec(),
        }
    }
}

/// For each `a`, how many `b` there are with `a + b > 0`.
fn partners(a: &[f32], b: &[f32]) -> Vec<u32> {
    let mut sorted = b.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    a.iter()
        .map(|a| (sorted.len() - sorted.partition_point(|b| a + b <= 0.0)) as u32)
        .collect()
}

/// Gaussian vectors `[P, D]`, all multiplied by one number that makes their mean norm `norm`.
fn gaussian(norm: f64, seed: u64, stream: &str) -> Vec<f32> {
    let mut values = random::normal(&mut random::rng(seed, stream), VALUES * WIDTH, 1.0);
    let mean_norm = values.chunks(WIDTH).map(|row| dot(row, row).sqrt()).sum::<f64>() / VALUES as f64;
    values.iter_mut().for_each(|x| *x *= (norm / mean_norm) as f32);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use dictionaries::Codes;

    fn norm(row: &[f32]) -> f64 {
        dot(row, row).sqrt()
    }

    #[test]
    fn vectors_have_the_norms_of_the_paper() {
        let vectors = Vectors::draw(2.44 / 1.85, 0);
        let mean = |rows: &[f32]| rows.chunks(WIDTH).map(norm).sum::<f64>() / VALUES as f64;
        assert!((mean(&vectors.strong) - 2.44).abs() < 1e-3, "{}", mean(&vectors.strong));
        assert!((mean(&vectors.weak) - 1.85).abs() < 1e-3);
    }

    /// Counting by sorting agrees with codes computed pair by pair.
    #[test]
    fn coverage_of_all_pairs_equals_brute_force() {
        let (vectors, n_latents) = (Vectors::draw(1.5, 3), 40);
        let mut rng = random::rng(3, "test");
        // Latents that answer to single vectors and mixtures of them, with biases that let some through.
        let mut weights = random::normal(&mut rng, n_latents * WIDTH, 0.05);
        for (latent, row) in weights.chunks_mut(WIDTH).enumerate() {
            let source = if latent % 2 == 0 {
                &vectors.strong
            } else {
                &vectors.weak
            };
            let target = &source[latent * WIDTH..][..WIDTH];
            row.iter_mut()
                .zip(target)
                .for_each(|(w, x)| *w += x / norm(target) as f32);
        }
        let bias = (0..n_latents).map(|latent| -1.4 + 0.01 * latent as f32).collect();
        let encoder = Encoder { weights, bias };
        let found = vectors.checkpoint(&encoder, 1, 0.5);

        let mut codes = Codes {
            n_latents,
            rows: Vec::new(),
        };
        let mut values = [Vec::new(), Vec::new()];
        for i in 0..VALUES {
            for j in 0..VALUES {
                let a: Vec<f32> = vectors.sum([i, j]).collect();
                let code = |latent: usize| {
                    let w = &encoder.weights[latent * WIDTH..][..WIDTH];
                    encoder.bias[latent] + w.iter().zip(&a).map(|(w, x)| w * x).sum::<f32>()
                };
                let active = (0..n_latents).map(|latent| (latent as u32, code(latent)));
                codes.rows.push(active.filter(|(_, code)| *code > 0.0).collect());
                values[0].push(i);
                values[1].push(j);
            }
        }
        assert!((codes.mean_active() - found.l0).abs() < 1e-3, "{}", found.l0);
        let weights = vec![1; codes.rows.len()];
        let codes = [codes];
        let [strong, weak] = values.map(|values| Counts::of_codes(&codes, &values, VALUES, &weights).best_f1(1));
        for coverage_found in &found.coverage {
            let theta = coverage_found.theta;
            assert_eq!(coverage(&strong, theta), Some(coverage_found.strong), "{theta}");
            assert_eq!(coverage(&weak, theta), Some(coverage_found.weak), "{theta}");
        }
        assert!(
            found.coverage[0].strong > 0.0 && found.coverage[0].weak > 0.0,
            "{found:?}"
        );
    }

    #[test]
    fn checkpoints_rise_to_the_end() {
        let settings = Settings {
            ratio: 1.3,
            latents: 8,
            lambda: 1.0,
            epochs: 1000,
            samples: 20_000,
            batch: 1024,
            learning_rate: 1e-3,
            seed: 0,
        };
        let at = settings.checkpoints();
        assert_eq!((at[0], at.last()), (19, Some(&settings.steps())));
        assert!(
            at.windows(2).all(|pair| pair[0] < pair[1]) && (25..40).contains(&at.len()),
            "{at:?}"
        );
        let short = Settings { epochs: 1, ..settings };
        assert_eq!(short.checkpoints(), [20]);
    }

    #[test]
    fn outcome_reads_the_right_checkpoints() {
        let point = |step: usize, strong: [f64; 3], weak: [f64; 3]| Checkpoint {
            step,
            epoch: step as f64,
            l0: 3.0,
            coverage: (0..3)
                .map(|i| Coverage {
                    theta: THETAS[i],
                    strong: strong[i],
                    weak: weak[i],
                })
                .collect(),
        };
        let outcome = Outcome::of(vec![
            point(1, [0.9, 0.4, 0.1], [0.8, 0.2, 0.3]), // too early for the order to count
            point(2, [1.0, 0.8, 0.55], [0.9, 0.6, 0.1]),
            point(3, [1.0, 0.9, 0.8], [1.0, 0.7, 0.2]),
            point(4, [1.0, 1.0, 1.0], [1.0, 1.0, 0.9]),
        ]);
        let close = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-12);
        close(outcome.first_index, 0.75);
        close(outcome.first_epoch, 3.0);
        close(outcome.final_index, 0.1);
        close(outcome.worst_order, -0.1);
        let [low, high] = outcome.gaps.unwrap();
        assert!((low - 0.1).abs() < 1e-12 && (high - 0.45).abs() < 1e-12);
        assert_eq!(Outcome::of(Vec::new()).first_index, None);
    }
}
