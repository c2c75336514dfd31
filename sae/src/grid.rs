//! Many autoencoders trained on one stream of batches.
//!
//! Activations are read, shuffled and scaled once for all of them; each then takes its own step on the batch, so it ends
//! with the bytes it would have ended with alone.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use activations::{BatchOrder, Stream};
use burn::tensor::Device;
use kernels::{Rule, encode, from_vec, is_cpu, is_gpu};
use lm::HookPoint;
use rayon::prelude::*;

use crate::config::refuse;
use crate::pass::Batch;
use crate::resample::resample;
use crate::rows::{Rows, Scaled};
use crate::summary::measure;
use crate::trainer::{Start, Trainer};
use crate::{Architecture, Autoencoder, Error, Outcome, Summary, TrainConfig, Variant};

/// Entries of a batch's codes up to which members take their steps side by side: a single step is then too small to keep all
/// cores busy, and what each holds in memory is little. Results are the same either way.
const SMALL: usize = 1 << 20;
/// Rows on which the threshold of a batch-wise selection is calibrated, at most.
const CALIBRATION_ROWS: usize = 16_384;

/// Autoencoders of one site in training.
#[derive(Debug)]
pub struct Grid {
    config: TrainConfig,
    inputs: Scaled,
    targets: BTreeMap<HookPoint, Scaled>,
    order: BatchOrder,
    /// Where batches come from, if not from `inputs` and `targets`: those are then a sample, and what is held out.
    stream: Option<Stream>,
    /// Rows that are trained on: the first ones.
    n_train: usize,
    pub(crate) members: Vec<(Variant, Trainer)>,
    waited: Duration,
    device: Device,
}

/// What training ends with.
#[derive(Debug)]
pub struct Finished {
    /// What it was trained as.
    pub variant: Variant,
    /// The autoencoder, for inputs as they are stored.
    pub model: Autoencoder,
    /// Measured on what was held out.
    pub summary: Summary,
}

impl Grid {
    /// Autoencoders that have taken no step, one for each of `variants`; `config` says all but which.
    ///
    /// `targets` holds the activations of every hook that a variant has as its target, row by row beside `inputs`.
    ///
    /// # Errors
    ///
    /// Activations that are not finite, or too few for a batch; targets that do not fit; more active latents than there
    /// are; a precision that the device does not have.
    pub fn new(
        inputs: Rows,
        targets: BTreeMap<HookPoint, Rows>,
        variants: Vec<Variant>,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        if !config.precision.is_supported(device) {
            return refuse("precision", "asks for numbers that this device does not multiply");
        }
        let rows = inputs.len();
        let n_train = rows - (rows as f64 * config.held_out) as usize;
        let order = BatchOrder::new(n_train, config.batch, config.seed)?;
        let n_latents = inputs.width * config.expansion;
        let inputs = Scaled::new(inputs, n_train)?;
        let mut scaled = BTreeMap::new();
        for (hook, target) in targets {
            if target.len() != rows {
                let reason = format!("{hook} has {} rows, the inputs have {rows}", target.len());
                return Err(Error::Config {
                    field: "target",
                    reason,
                });
            }
            scaled.insert(hook, Scaled::new(target, n_train)?);
        }
        let mut members = Vec::new();
        for variant in variants {
            if is_gpu(device) && config.batch.saturating_mul(n_latents) > u32::MAX as usize {
                let reason = format!("times {n_latents} latents is more than a GPU's kernels count");
                return Err(Error::Config { field: "batch", reason });
            }
            if let Some(k) = variant.architecture.k().filter(|&k| k > n_latents) {
                let reason = format!("is {k}, more than the {n_latents} latents of this site");
                return Err(Error::Config { field: "k", reason });
            }
            let target_mean = match variant.target {
                None => None,
                Some(hook) => match scaled.get(&hook) {
                    Some(target) => Some(target.mean.clone()),
                    None => {
                        let reason = format!("is {hook}, of which no activations were given");
                        return Err(Error::Config {
                            field: "target",
                            reason,
                        });
                    }
                },
            };
            let start = Start {
                n_latents,
                mean: inputs.mean.clone(),
                target_mean,
                seed: variant.seed,
            };
            let trainer = Trainer::new(variant.architecture, config.schedule(&variant), start, device);
            members.push((variant, trainer));
        }
        Ok(Self {
            config: config.clone(),
            inputs,
            targets: scaled,
            order,
            stream: None,
            n_train,
            members,
            waited: Duration::ZERO,
            device: device.clone(),
        })
    }

    /// The same, with batches from a stream: for stores that do not fit into memory.
    ///
    /// The rows given to [`Grid::new`] then say mean and scale, serve where rows are picked by their loss, and are measured on
    /// in the end. The stream gives the inputs first, then the targets in the order of their hooks, in batches of the config's
    /// size.
    pub fn with_stream(self, stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            ..self
        }
    }

    /// Steps that every member has taken.
    pub fn steps_done(&self) -> usize {
        self.members
            .iter()
            .map(|(_, trainer)| trainer.steps_done())
            .min()
            .unwrap_or(self.config.steps)
    }

    /// The settings of each member ([`TrainConfig::settings`]), by name.
    pub(crate) fn settings(&self) -> BTreeMap<String, serde_json::Value> {
        let of = |variant: &Variant| (variant.name.clone(), self.config.settings(variant));
        self.members.iter().map(|(variant, _)| of(variant)).collect()
    }

    /// Time that steps have spent on getting their activations.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// One step of every member on the next batch; tells what each has come to.
    ///
    /// # Errors
    ///
    /// A loss that is not finite; the member is named. Where it is not known yet, [`Outcome::read`] says so.
    pub fn step(&mut self, on_step: &mut dyn FnMut(&Variant, &Outcome)) -> Result<(), Error> {
        let start = Instant::now();
        let (step, device) = (self.steps_done(), &self.device);
        let (x, targets): (_, BTreeMap<_, _>) = match &mut self.stream {
            Some(stream) => {
                stream.seek(step);
                let mut values = stream.next_batch()?.values.into_iter();
                let x = self.inputs.scaled(values.next().unwrap_or_default(), device); // [B, D]
                let targets = self.targets.iter().zip(values);
                (
                    x,
                    targets
                        .map(|((hook, rows), values)| (*hook, rows.scaled(values, device)))
                        .collect(),
                )
            }
            None => {
                let rows = self.order.batch(step);
                let batch = |of: &Scaled| of.batch(&rows, device); // [B, D] or [B, D_out]
                let targets = self.targets.iter().map(|(hook, rows)| (*hook, batch(rows)));
                (batch(&self.inputs), targets.collect())
            }
        };
        self.waited += start.elapsed();
        let (inputs, device) = (&self.inputs, &self.device);
        let (n_train, batch) = (self.n_train, self.config.batch);
        let one = |(variant, trainer): &mut (Variant, Trainer)| {
            if variant.target.is_none() {
                resample(trainer, inputs, n_train, batch, variant.seed, device)?;
            }
            let target = variant.target.and_then(|hook| targets.get(&hook));
            let (name, step) = (variant.name.clone(), trainer.steps_done());
            match trainer.step(Batch { x: &x, target }) {
                Ok(outcome) => Ok(Outcome { name, ..outcome }),
                Err(Error::Diverged { loss, .. }) => Err(Error::Diverged { name, step, loss }),
                // The activations are finite, so it is the weights that are not.
                Err(Error::NotFinite { .. }) => Err(Error::Diverged {
                    name,
                    step,
                    loss: f32::NAN,
                }),
                Err(other) => Err(other),
            }
        };
        let outcomes: Vec<Result<Outcome, Error>> = if is_small(&self.config, inputs, device) {
            self.members.par_iter_mut().map(one).collect()
        } else {
            self.members.iter_mut().map(one).collect()
        };
        for ((variant, _), outcome) in self.members.iter().zip(outcomes) {
            on_step(variant, &outcome?);
        }
        Ok(())
    }

    /// Refuses members whose parameters are not finite: on a GPU nobody need have read the loss that said so.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let broken = |(_, trainer): &&(Variant, Trainer)| !trainer.parameters().are_finite();
        match self.members.iter().find(broken) {
            None => Ok(()),
            Some((variant, trainer)) => Err(diverged(&variant.name, trainer)),
        }
    }

    /// The autoencoders as they are, measured on what was held out.
    ///
    /// # Errors
    ///
    /// Parameters or pre-activations that are not finite.
    pub fn finish(self) -> Result<Vec<Finished>, Error> {
        self.check()?;
        let (inputs, targets, device, n_train) = (&self.inputs, &self.targets, &self.device, self.n_train);
        let one = |(variant, trainer): (Variant, Trainer)| {
            let broken = diverged(&variant.name, &trainer);
            let target = variant.target.and_then(|hook| targets.get(&hook));
            let scales = (inputs.scale, target.map(|target| target.scale));
            let mut model = Autoencoder::finished(variant.architecture, trainer.into_parameters(), scales);
            if let Architecture::BatchTopk { k } | Architecture::Matryoshka { k, .. } = variant.architecture {
                match calibrate(&mut model, k, &inputs.rows, n_train, device) {
                    // The activations are finite, so it is the weights that are not.
                    Err(Error::NotFinite { .. }) => return Err(broken),
                    other => other?,
                }
            }
            let target = target.map(|target| &target.rows);
            let summary = measure(&model, &inputs.rows, target, n_train, device);
            // Weights so large that no reconstruction is finite.
            if !summary.cosine.is_finite() {
                return Err(broken);
            }
            Ok(Finished {
                variant,
                model,
                summary,
            })
        };
        if is_small(&self.config, inputs, device) {
            self.members.into_par_iter().map(one).collect()
        } else {
            self.members.into_iter().map(one).collect()
        }
    }
}

/// Weights that are not finite, or that give nothing finite, after the last step or one before.
fn diverged(name: &str, trainer: &Trainer) -> Error {
    Error::Diverged {
        name: name.to_owned(),
        step: trainer.steps_done().saturating_sub(1),
        loss: f32::NAN,
    }
}

/// Whether members work side by side.
fn is_small(config: &TrainConfig, inputs: &Scaled, device: &Device) -> bool {
    config.batch * inputs.rows.width * config.expansion <= SMALL && is_cpu(device)
}

/// Trains to the end, without checkpoints.
///
/// # Errors
///
/// As [`Grid::new`] and [`Grid::step`].
pub fn train(
    inputs: Rows,
    targets: BTreeMap<HookPoint, Rows>,
    config: &TrainConfig,
    device: &Device,
) -> Result<Vec<Finished>, Error> {
    let mut grid = Grid::new(inputs, targets, config.variants.clone(), config, device)?;
    while grid.steps_done() < config.steps {
        grid.step(&mut |_, _| ())?;
    }
    grid.finish()
}

/// Sets the threshold that replaces a selection over the batch: the largest with which `k` latents a row are active in the
/// mean, on rows spread evenly over those that were trained on.
fn calibrate(model: &mut Autoencoder, k: usize, inputs: &Rows, n_train: usize, device: &Device) -> Result<(), Error> {
    let step = n_train.div_ceil(CALIBRATION_ROWS).max(1);
    let sample: Vec<f32> = (0..n_train)
        .step_by(step)
        .flat_map(|row| inputs.slice(row..row + 1).iter().copied())
        .collect();
    let n = sample.len() / inputs.width;
    let x = model.centred(from_vec(sample, [n, inputs.width], device)); // [n, D]
    let p = &model.parameters;
    let found = encode(&x, &p.w_enc, &p.b_enc, Rule::PerBatch(k * n), None, None)
        .map_err(|at| Error::NotFinite { row: at.row * step })?;
    let least = found.active.values.iter().copied().reduce(f32::min);
    // Codes are what is above the threshold, and the least of them must stay.
    let threshold = least.map_or(0.0, f32::next_down);
    let n_latents = p.n_latents();
    model.parameters.extra = vec![from_vec(vec![threshold; n_latents], [n_latents], device)];
    Ok(())
}
