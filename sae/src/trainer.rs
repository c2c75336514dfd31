//! One training step: forward, backward, constraint, clip, Adam, dead counters.
//!
//! Gao et al. 2024 (<https://arxiv.org/abs/2406.04093>), section A, for the order: project the decoder's gradient, clip
//! the whole gradient, Adam, decoder rows back to norm 1.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::time::Instant;

use burn::tensor::Device;
use dictionaries::{Architecture, Parameters};
use kernels::{Adam, AdamConfig, Scalar, from_vec, is_cpu, to_vec, variance};
use serde::{Deserialize, Serialize};

use crate::architecture::{Anneal, Phase, Training as _};
use crate::batch::{Batch, Revival};
use crate::control::L0Control;
use crate::gradients::Gradients;
use crate::pass::{self, Path, Plan};
use crate::silence::{Dead, Silence};
use crate::{Error, Outcome, Schedule, Times, gradients};

/// Bound on the norm of the whole gradient.
const CLIP_NORM: f64 = 1.0;
/// Norm of decoder rows at the start, where they are free.
const FREE_DECODER_NORM: f32 = 0.1;

/// What an autoencoder starts from.
#[derive(Debug, Clone)]
pub struct Start {
    /// Number of latents.
    pub n_latents: usize,
    /// Mean of the inputs.
    pub mean: Vec<f32>,
    /// Mean of what is to be reconstructed when it is not the inputs.
    pub target_mean: Option<Vec<f32>>,
    /// Seed of the weights.
    pub seed: u64,
}

/// What a checkpoint holds of a trainer besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counters {
    step: usize,
    silent: Vec<u64>,
    path: Option<Path>,
    anneal: Option<Anneal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    control: Option<L0Control>,
}

impl Counters {
    /// Says what contradicts a checkpoint of this step of an autoencoder of so many latents.
    pub(crate) fn check(&self, step: usize, n_latents: usize) -> Result<(), String> {
        if self.step != step {
            return Err(format!("it counts {} steps of an autoencoder after {step}", self.step));
        }
        match self.silent.len() == n_latents {
            true => Ok(()),
            false => Err(format!(
                "it counts the silence of {} latents of {n_latents}",
                self.silent.len()
            )),
        }
    }
}

/// An autoencoder in training, in the units of its scaled inputs.
#[derive(Debug)]
pub struct Trainer {
    pub(crate) architecture: Architecture,
    pub(crate) schedule: Schedule,
    pub(crate) parameters: Parameters,
    pub(crate) adam: Adam,
    pub(crate) clip_norm: f64,
    silence: Silence,
    pub(crate) step: usize,
    path: Option<Path>,
    anneal: Option<Anneal>,
    control: Option<L0Control>,
    /// Set by tests that compare the two paths.
    pinned: Option<Path>,
    times: Times,
}

impl Trainer {
    /// A trainer that has taken no step, with random decoder rows, the encoder their transpose, and the mean of what is to
    /// be reconstructed as the decoder's bias.
    ///
    /// Where that bias is not subtracted before the encoder, the encoder's own bias takes the mean away at the start.
    pub fn new(architecture: Architecture, schedule: Schedule, start: Start, device: &Device) -> Self {
        let Start {
            n_latents,
            mean,
            target_mean,
            seed,
        } = start;
        let (d_in, transcodes) = (mean.len(), target_mean.is_some());
        let b_dec = target_mean.unwrap_or_else(|| mean.clone());
        let extra = architecture.initial_extra();
        let mut parameters = Parameters::init(n_latents, d_in, b_dec, extra, seed, device, transcodes);
        if !architecture.has_unit_decoder() {
            parameters.w_dec = parameters.w_dec * FREE_DECODER_NORM;
            parameters.w_enc = parameters.w_enc * FREE_DECODER_NORM;
        }
        if transcodes || !architecture.subtracts_b_dec() {
            let mean = from_vec(mean, [d_in, 1], device);
            parameters.b_enc = -parameters.w_enc.clone().matmul(mean).reshape([n_latents]); // [F]
        }
        Self {
            architecture,
            schedule,
            adam: Adam::new(AdamConfig::default(), Parameters::EXTRA + parameters.extra.len()),
            clip_norm: CLIP_NORM,
            silence: Silence::new(n_latents, schedule.dead_after, device),
            parameters,
            step: 0,
            path: None,
            anneal: match architecture {
                Architecture::PAnneal { p_end, .. } => Some(Anneal::new(p_end)),
                _ => None,
            },
            control: schedule.l0.map(L0Control::new),
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

    /// The same trainer with other settings of the optimiser, which no config offers.
    #[cfg(test)]
    pub(crate) fn with_optimiser(mut self, beta_1: f32, clip_norm: f64) -> Self {
        let config = AdamConfig {
            beta_1,
            ..AdamConfig::default()
        };
        self.adam = Adam::new(config, Parameters::EXTRA + self.parameters.extra.len());
        self.clip_norm = clip_norm;
        self
    }

    /// Counts a step whose gradients were applied from outside.
    #[cfg(test)]
    pub(crate) fn count_step(&mut self) {
        self.step += 1;
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

    /// The parameters of a run that is over.
    pub(crate) fn into_parameters(self) -> Parameters {
        self.parameters
    }

    /// The parameters, for a caller that sets them before the first step.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// Time spent so far.
    pub fn times(&self) -> Times {
        self.times
    }

    /// What it is trained as.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Steps taken.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters {
            step: self.step,
            silent: self.silence.counts(),
            path: self.path,
            anneal: self.anneal.clone(),
            control: self.control.clone(),
        }
    }

    /// The optimiser, whose moments are in the slots of [`Parameters`].
    pub(crate) fn adam(&self) -> &Adam {
        &self.adam
    }

    /// Goes back to what [`Trainer::counters`], the parameters and the moments were.
    pub(crate) fn restore(&mut self, counters: Counters, parameters: Parameters, moments: Vec<(Vec<f32>, Vec<f32>)>) {
        let device = parameters.b_enc.device();
        self.adam = Adam::restore(AdamConfig::default(), counters.step as i32, moments, &device);
        self.parameters = parameters;
        self.step = counters.step;
        self.silence = Silence::restored(&counters.silent, self.schedule.dead_after, &device);
        // Where the path depends on the step before, which is on the CPU only; a GPU's choice is not the CPU's.
        self.path = counters
            .path
            .filter(|_| is_cpu(&device) && self.architecture.k().is_none());
        if let (Some(anneal), Some(from)) = (&mut self.anneal, counters.anneal) {
            *anneal = anneal.restored(from);
        }
        if let (Some(control), Some(from)) = (&mut self.control, counters.control) {
            *control = control.restored(from);
        }
    }

    /// Latents that have not been active for `activations`, ascending.
    pub(crate) fn silent_for(&self, activations: u64) -> Vec<u32> {
        let activations = Silence::countable(activations);
        let silent = (0_u32..).zip(self.silence.counts());
        silent
            .filter(|(_, n)| *n >= activations)
            .map(|(latent, _)| latent)
            .collect()
    }

    /// Makes latents anew: decoder rows `[n, D]`, encoder rows, encoder biases 0, and no memory of their gradients.
    pub(crate) fn replace_latents(&mut self, latents: &[u32], w_enc: &[f32], w_dec: &[f32]) {
        let (n_latents, device) = (self.parameters.n_latents(), self.parameters.b_enc.device());
        let p = &mut self.parameters;
        for (matrix, rows) in [(&mut p.w_enc, w_enc), (&mut p.w_dec, w_dec)] {
            let [_, d] = matrix.dims();
            let mut values = to_vec(matrix.clone());
            for (&latent, row) in latents.iter().zip(rows.chunks_exact(d)) {
                values[latent as usize * d..][..d].copy_from_slice(row);
            }
            *matrix = from_vec(values, [n_latents, d], &device);
        }
        let mut bias = to_vec(p.b_enc.clone());
        latents.iter().for_each(|&latent| bias[latent as usize] = 0.0);
        p.b_enc = from_vec(bias, [n_latents], &device);
        for slot in [Parameters::W_ENC, Parameters::B_ENC, Parameters::W_DEC] {
            self.adam.reset_rows(slot, latents, n_latents);
        }
    }

    /// Loss and gradients of a batch at the parameters as they are, before the decoder's constraint and the clip.
    ///
    /// # Errors
    ///
    /// Pre-activations that are not finite.
    pub fn gradients(&self, batch: Batch<'_>) -> Result<(f32, Parameters), Error> {
        let dead = self.silence.look();
        let found = self.learn(batch, dead.as_ref())?;
        Ok((found.loss.read() as f32, found.of))
    }

    fn learn(&self, batch: Batch<'_>, dead: Option<&Dead>) -> Result<Gradients, Error> {
        let ([rows, d], device) = (batch.x.dims(), batch.x.device());
        let (precision, n_latents) = (self.schedule.precision, self.parameters.n_latents());
        let path = self.pinned.or(self.path);
        let architecture = self.schedule.annealed(self.architecture, self.step, n_latents);
        let path = path.unwrap_or_else(|| pass::first_path(architecture, precision, n_latents, &device));
        let revival = dead.map(|dead| Revival {
            dead,
            k: match self.schedule.auxiliary_k {
                0 => (d / 2).max(1),
                k => k,
            },
            weight: self.schedule.auxiliary_weight,
        });
        let phase = Phase {
            sparsity: self.schedule.sparsity(self.architecture, self.step)
                * self.anneal.as_ref().map_or(1.0, |anneal| f64::from(anneal.alpha))
                * self.control.as_ref().map_or(1.0, L0Control::weight),
            p: self.anneal.as_ref().map_or(1.0, Anneal::p),
            next_p: self.anneal.as_ref().and_then(Anneal::next_p),
            batch_l0: None,
        };
        let plan = Plan {
            architecture,
            path,
            precision,
            phase,
            revival,
        };
        let slice_rows = gradients::slice_rows(plan, rows, n_latents, is_cpu(&device));
        gradients::gradients(plan, &self.parameters, batch, slice_rows)
    }

    /// One optimiser step on rows of scaled activations. A GPU is not waited for, but by JumpReLU's target, the dead of its
    /// tanh, p-annealing and a weight that is to come to a number of active latents, and to look every 32 steps whether the latents that may be dead are.
    ///
    /// # Errors
    ///
    /// Activations or a loss that are not finite; where the loss is not known yet, [`Outcome::read`] says so.
    pub fn step(&mut self, batch: Batch<'_>) -> Result<Outcome, Error> {
        // From here on every parallel loop is entered by a thread of the pool: entered from outside, each of the dozens of a
        // step would put one thread to sleep and wake another.
        rayon::scope(|_| self.step_in_pool(batch))
    }

    fn step_in_pool(&mut self, batch: Batch<'_>) -> Result<Outcome, Error> {
        let ([rows, _], n_latents) = (batch.x.dims(), self.parameters.n_latents());
        let device = batch.x.device();
        let dead = self.silence.dead();
        let found = self.learn(batch, dead.as_ref())?;
        let outcome = Outcome {
            name: self.architecture.name().to_owned(),
            step: self.step,
            rows,
            n_latents,
            loss: found.loss,
            squared_error: found.squared_error,
            variance: Scalar::of(variance(batch.target())),
            n_active: found.n_active,
            dead: dead.map_or(0.0.into(), |dead| Scalar::of(dead.mask.sum())),
            gradient: 0.0.into(),
        };
        outcome.check()?;
        if let (Some(anneal), Some(powers)) = (&mut self.anneal, found.powers) {
            anneal.observe(powers, self.step, self.schedule.steps);
        }
        if let Some(control) = &mut self.control {
            control.observe(outcome.n_active.read() / rows as f64, self.schedule.steps);
        }
        self.times.encode += found.encode_time;
        self.times.select += found.select_time;
        self.times.decode += found.decode_time;
        self.times.backward += found.backward_time;

        let start = Instant::now();
        let gradient = self.apply(found.of);
        self.times.optimiser += start.elapsed();

        self.silence.step(found.active_rows, rows);
        let density = found.n_entries.map(|n| n as f64 / (rows * n_latents) as f64);
        let precision = self.schedule.precision;
        self.path = Some(pass::next_path(
            self.schedule.annealed(self.architecture, self.step + 1, n_latents),
            precision,
            n_latents,
            &device,
            density,
        ));
        self.step += 1;
        Ok(Outcome { gradient, ..outcome })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::EXAMPLES;
    use burn::tensor::Tensor;
    use kernels::{Precision, cpu, from_vec, random};

    fn trainer(architecture: Architecture, path: Path, dead_after: usize) -> Trainer {
        let schedule = Schedule {
            steps: 300,
            learning_rate: 1e-3,
            dead_after,
            auxiliary_k: 0,
            auxiliary_weight: 1.0 / 32.0,
            resamples: 0,
            frozen_decoder: false,
            l0: None,
            anneal_k: 1.0,
            precision: Precision::F32,
        };
        let start = Start {
            n_latents: 96,
            mean: vec![0.1; 24],
            target_mean: None,
            seed: 3,
        };
        Trainer::new(architecture, schedule, start, &cpu()).on_path(path)
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
        for architecture in EXAMPLES {
            // From the second step on, latents that did not fire in the first are dead.
            let [mut dense, mut sparse] = [Path::Dense, Path::Sparse].map(|path| trainer(architecture, path, 64));
            for step in 0..4 {
                let x = batch(step);
                let batch = Batch { x: &x, target: None };
                let [a, b] = [&mut dense, &mut sparse].map(|trainer| trainer.step(batch).unwrap().read().unwrap());
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
        for architecture in EXAMPLES {
            let last = [Path::Dense, Path::Sparse].map(|path| {
                let mut trainer = trainer(architecture, path, 2000);
                let mut step = |step| {
                    let (x, target) = (&batch(step), None);
                    trainer.step(Batch { x, target }).unwrap().read().unwrap().loss
                };
                (0..300).map(&mut step).last().unwrap()
            });
            let gap = ((last[0] - last[1]) / last[0]).abs();
            // Near 0 the slope of a power below 1 has no bound, so rounding grows faster.
            let most = match architecture {
                Architecture::PAnneal { .. } => 1e-2,
                _ => 1e-3,
            };
            assert!(gap < most, "{}: {last:?}", architecture.name());
        }
    }

    #[test]
    fn bf16_takes_the_sparse_path_and_ends_where_f32_does() {
        for architecture in [Architecture::Topk { k: 6 }, Architecture::Relu { l1: 0.1 }] {
            let last = [Precision::F32, Precision::Bf16].map(|precision| {
                let mut trainer = trainer(architecture, Path::Sparse, 2000);
                trainer.schedule.precision = precision;
                let mut step = |step| {
                    let (x, target) = (&batch(step), None);
                    trainer.step(Batch { x, target }).unwrap().read().unwrap().loss
                };
                (0..300).map(&mut step).last().unwrap()
            });
            let gap = ((last[0] - last[1]) / last[0]).abs();
            assert!(gap > 0.0 && gap < 0.01, "{}: {last:?}", architecture.name());
        }
        let first = |precision| pass::first_path(Architecture::Topk { k: 6 }, precision, 96, &cpu());
        assert_eq!(first(Precision::Bf16), Path::Sparse);
        assert_eq!(first(Precision::F16), Path::Dense);
    }
}
