//! Training of a small GPT-2 from scratch with AdamW, fed with batches of token ids.
//!
//! A checkpoint holds parameters, both moments and the step, with a checksum of all; the caller numbers its batches, so a resumed run goes on
//! with the batch that comes next and ends with the same bytes.
//!
//! Shapes: `B` rows, `T` tokens of context, `V` d_vocab.

use std::collections::BTreeMap;
use std::path::Path;

use artifacts::{HostTensor, Sha256Hex, WithMetadata};
use burn::tensor::{Device, Tensor, TensorData, activation};
use kernels::{Adam, AdamConfig, Scalar, Update, random, squared_norm, to_vec};
use rayon::prelude::*;

use crate::entry::Entry;
use crate::families::entries;
use crate::interchange::{self, Interchange, N_LOSSES, Pair};
use crate::model::from_host;
use crate::shards::WEIGHTS;
use crate::weights::Weights;
use crate::{Error, Logits, Model, Request, Spec, Start, TokenBatch, to_hugging_face};

/// Hyperparameters of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct PretrainConfig {
    /// Optimiser steps of the whole run.
    pub steps: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from 0; it then falls along a cosine to a tenth of its peak.
    pub warmup_steps: usize,
    /// AdamW's weight decay, on matrices only.
    pub weight_decay: f64,
    /// Bound on the norm of the whole gradient.
    pub clip_norm: f64,
    /// Standard deviation of the initial matrices.
    pub init_std: f32,
    /// Seed of the initial weights.
    pub seed: u64,
}

/// Threads that a batch is dealt to; fixed, so that results do not depend on the machine.
const PARTS: usize = 2;

/// Mean losses of a step, in nats, before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses {
    /// Of the next token of the text.
    pub text: f32,
    /// Of an [`Interchange`], where one is given: of the bits at the clues, of the bits at the last positions, of the answers.
    pub interchange: Option<[f32; N_LOSSES]>,
}

impl Losses {
    fn plus(self, other: Self) -> Self {
        Self {
            text: self.text + other.text,
            interchange: match (self.interchange, other.interchange) {
                (Some(one), Some(other)) => Some(std::array::from_fn(|i| one[i] + other[i])),
                (one, other) => one.or(other),
            },
        }
    }

    fn is_finite(&self) -> bool {
        self.interchange.into_iter().flatten().all(f32::is_finite) && self.text.is_finite()
    }
}

/// Losses and gradients of a part of a batch, in the order of [`Weights::parameters_mut`].
struct Part {
    losses: Losses,
    matrices: Vec<Tensor<2>>,
    vectors: Vec<Tensor<1>>,
}

impl Part {
    fn plus(self, other: Self) -> Self {
        Self {
            losses: self.losses.plus(other.losses),
            matrices: self
                .matrices
                .into_iter()
                .zip(other.matrices)
                .map(|(a, b)| a + b)
                .collect(),
            vectors: self
                .vectors
                .into_iter()
                .zip(other.vectors)
                .map(|(a, b)| a + b)
                .collect(),
        }
    }
}

/// A model in training.
#[derive(Debug)]
pub struct Pretrainer {
    config: PretrainConfig,
    model: Spec,
    weights: Weights,
    adam: Adam,
    device: Device,
    /// Of [`interchange::direction`].
    direction: Vec<f32>,
    step: usize,
}

impl Pretrainer {
    /// Draws initial weights: matrices normal, biases 0, layer-norm scales 1.
    pub fn new(config: PretrainConfig, model: Spec, device: &Device) -> Self {
        let tensors = entries(&model)
            .into_iter()
            .map(|Entry { name, shape, .. }| {
                let n = shape.iter().product();
                let data = match shape.len() {
                    2 => random::normal(&mut random::rng(config.seed, &name), n, config.init_std),
                    _ if name.ends_with(".weight") => vec![1.0; n],
                    _ => vec![0.0; n],
                };
                (name, HostTensor { shape, data })
            })
            .collect();
        let mut weights = from_host(&model, &tensors, device);
        let adam = Adam::new(AdamConfig::default(), slots(&mut weights));
        Self {
            direction: interchange::direction(config.seed, model.d_model),
            config,
            model,
            weights,
            adam,
            device: device.clone(),
            step: 0,
        }
    }

    /// Steps taken, which is the number of the next batch.
    pub fn steps_done(&self) -> usize {
        self.step
    }

    /// One optimiser step on rows of `T + 1` tokens, and on the pairs of `interchange` if there are any.
    ///
    /// Both are dealt to [`PARTS`] threads, because burn's element-wise operations use one; their gradients are added in a
    /// fixed order, so the result does not depend on timing.
    ///
    /// # Errors
    ///
    /// A batch or pairs that do not fit the model, or a loss that is not finite.
    pub fn step(&mut self, batch: &TokenBatch, interchange: Option<&Interchange>) -> Result<Losses, Error> {
        let rows: Vec<&[u32]> = batch.ids().chunks(batch.len()).collect();
        let groups = interchange.map_or(&[][..], |interchange| &interchange.groups);
        let rows_of_part: Vec<&[&[u32]]> = rows.chunks(rows.len().div_ceil(PARTS)).collect();
        // As many parts as there are of rows: a batch of one row has one.
        let groups_of_part: Vec<&[Vec<Pair>]> = groups
            .chunks(groups.len().div_ceil(rows_of_part.len()).max(1))
            .collect();
        let results: Vec<Result<Part, Error>> = rows_of_part
            .par_iter()
            .enumerate()
            .map(|(part, of_part)| {
                let groups = interchange.zip(groups_of_part.get(part).copied());
                self.part(of_part, of_part.len() as f64 / rows.len() as f64, groups)
            })
            .collect();
        let mut sum: Option<Part> = None;
        for result in results {
            let part = result?;
            sum = Some(match sum {
                None => part,
                Some(sum) => sum.plus(part),
            });
        }
        let sum = sum.ok_or(Error::EmptyBatch)?;
        if !sum.losses.is_finite() {
            return Err(Error::Training(format!(
                "the loss is {} at step {}; lower the learning rate",
                sum.losses.text, self.step
            )));
        }
        self.apply(sum.matrices, sum.vectors);
        self.step += 1;
        Ok(sum.losses)
    }

    /// Losses and gradients of some rows, times `weight`, and of some groups of an interchange.
    fn part(&self, rows: &[&[u32]], weight: f64, groups: Option<(&Interchange, &[Vec<Pair>])>) -> Result<Part, Error> {
        let len = rows[0].len() - 1;
        let ids: Vec<&[u32]> = rows.iter().map(|row| &row[..len]).collect();
        let targets: Vec<i32> = rows.iter().flat_map(|row| &row[1..]).map(|&id| id as i32).collect();
        let n = targets.len();

        let mut tracked = self.weights.clone();
        let (matrices, vectors) = tracked.parameters_mut();
        matrices
            .into_iter()
            .for_each(|p| *p = p.clone().autodiff().require_grad());
        vectors
            .into_iter()
            .for_each(|p| *p = p.clone().autodiff().require_grad());
        let device = self.device.clone().autodiff();
        let model = Model::from_weights(self.model.clone(), tracked.clone(), &device);
        let request = Request {
            logits: Logits::All,
            ..Request::default()
        };
        let logits = model
            .run(Start::Tokens(&TokenBatch::new(&ids)?), &request)?
            .logits_all()?; // [B, T, V]
        let log_probs = activation::log_softmax(logits.reshape([n, self.model.d_vocab]), 1); // [B T, V]
        let targets = Tensor::<2, burn::tensor::Int>::from_data(TensorData::new(targets, [n, 1]), &device);
        let mut loss = log_probs.gather(1, targets).mean().neg() * weight; // [1]
        let value = |loss: &Tensor<1>| to_vec(loss.clone().inner())[0];
        let mut losses = Losses {
            text: value(&loss),
            interchange: None,
        };
        if let Some((interchange, groups)) = groups {
            for pairs in groups {
                let share = pairs.len() as f64 / interchange.n_pairs() as f64;
                let of_pairs =
                    interchange::losses(&model, interchange, pairs, &self.direction, &device)?.map(|loss| loss * share);
                losses = losses.plus(Losses {
                    text: 0.0,
                    interchange: Some(of_pairs.each_ref().map(value)),
                });
                let [clues, ends, answers] = of_pairs;
                loss = loss + (clues + ends) * interchange.bit_weight + answers * interchange.answer_weight;
            }
        }
        let mut grads = loss.backward();
        drop(model);
        let (matrices, vectors) = tracked.parameters_mut();
        Ok(Part {
            losses,
            matrices: matrices.into_iter().filter_map(|p| p.grad_remove(&mut grads)).collect(),
            vectors: vectors.into_iter().filter_map(|p| p.grad_remove(&mut grads)).collect(),
        })
    }

    fn apply(&mut self, matrices: Vec<Tensor<2>>, vectors: Vec<Tensor<1>>) {
        let squares = matrices.iter().map(|g| squared_norm(g, None));
        let squares = squares.chain(vectors.iter().map(|g| squared_norm(g, None)));
        let of_vectors = Update {
            gradient_scale: squares.sum::<Scalar>().clip(self.config.clip_norm),
            ..Update::plain(learning_rate(self.step, &self.config))
        };
        let of_matrices = Update {
            weight_decay: self.config.weight_decay,
            ..of_vectors.clone()
        };
        self.adam.begin_step();
        let n_matrices = matrices.len();
        let (parameters, rest) = self.weights.parameters_mut();
        for (slot, (parameter, gradient)) in parameters.into_iter().zip(matrices).enumerate() {
            self.adam.update(slot, parameter, gradient, &of_matrices);
        }
        for (slot, (parameter, gradient)) in rest.into_iter().zip(vectors).enumerate() {
            self.adam.update(n_matrices + slot, parameter, gradient, &of_vectors);
        }
    }

    /// The weights; a loss tells of those before its step only.
    fn finite_weights(&self) -> Result<BTreeMap<String, HostTensor>, Error> {
        let tensors = self.weights.to_host(&self.model);
        match tensors.iter().find(|(_, tensor)| !tensor.is_finite()) {
            None => Ok(tensors),
            Some((name, _)) => Err(Error::Training(format!(
                "`{name}` is not finite after step {}; lower the learning rate",
                self.step.saturating_sub(1)
            ))),
        }
    }

    /// Writes parameters, moments and step to `path`, atomically, with a checksum of them; `settings` identifies all that the
    /// training follows from.
    ///
    /// # Errors
    ///
    /// Weights that are not finite; a file that cannot be written.
    pub fn save(&self, path: &Path, settings: &str) -> Result<(), Error> {
        let mut tensors = self.finite_weights()?;
        for (slot, moments) in self.adam.slots().iter().enumerate() {
            let parts = moments.as_ref().map(|m| [("first", &m.first), ("second", &m.second)]);
            for (part, moment) in parts.into_iter().flatten() {
                let values = to_vec(moment.clone());
                tensors.insert(
                    format!("adam.{slot:03}.{part}"),
                    HostTensor::new([values.len()], values),
                );
            }
        }
        let metadata = BTreeMap::from([
            ("checksum".to_owned(), checksum(&tensors, self.step, settings)),
            ("settings".to_owned(), settings.to_owned()),
            ("step".to_owned(), self.step.to_string()),
        ]);
        Ok(artifacts::write_tensors(path, &tensors, &metadata)?)
    }

    /// Continues from what [`Pretrainer::save`] wrote with the same `settings`.
    ///
    /// # Errors
    ///
    /// A file that is no checkpoint, that is damaged, or that is one of another model or of other settings.
    pub fn resume(
        config: PretrainConfig,
        model: Spec,
        path: &Path,
        settings: &str,
        device: &Device,
    ) -> Result<Self, Error> {
        let WithMetadata { mut tensors, metadata } = match artifacts::read_with_metadata(path) {
            Err(artifacts::Error::Format { path, reason }) => return Err(Error::Checkpoint { path, reason }),
            other => other?,
        };
        let damaged = |reason: &str| Error::Checkpoint {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let said = |key: &str| metadata.get(key).map_or("", String::as_str);
        let step: usize = said("step").parse().map_err(|_| damaged("it says no step"))?;
        if said("settings") != settings {
            return Err(damaged("its settings are others"));
        }
        if said("checksum") != checksum(&tensors, step, settings) {
            return Err(damaged(
                "its numbers are not those that were written: a part of it was changed",
            ));
        }
        for Entry { name, shape, .. } in entries(&model) {
            if tensors.get(&name).is_none_or(|tensor| tensor.shape != shape) {
                return Err(damaged(&format!("`{name}` is missing or of another shape")));
            }
        }
        let mut weights = from_host(&model, &tensors, device);
        let state = (0..slots(&mut weights))
            .map(|slot| {
                let mut take = |part: &str| {
                    let name = format!("adam.{slot:03}.{part}");
                    tensors
                        .remove(&name)
                        .map(|t| t.data)
                        .ok_or_else(|| damaged(&format!("`{name}` is missing")))
                };
                if step == 0 {
                    return Ok((Vec::new(), Vec::new()));
                }
                Ok((take("first")?, take("second")?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let adam = Adam::restore(AdamConfig::default(), step as i32, state, device);
        Ok(Self {
            direction: interchange::direction(config.seed, model.d_model),
            config,
            model,
            weights,
            adam,
            device: device.clone(),
            step,
        })
    }

    /// Writes `config.json` and `model.safetensors` as `GPT2LMHeadModel.from_pretrained` reads them. Another model that stands
    /// there is replaced when both are whole.
    ///
    /// # Errors
    ///
    /// Weights that are not finite; a file that cannot be written.
    pub fn export(&self, dir: &Path, bos: u32) -> Result<(), Error> {
        let tensors = self.finite_weights()?;
        let named = tensors
            .into_iter()
            .map(|(name, tensor)| (format!("transformer.{name}"), tensor))
            .collect();
        let path = dir.join(WEIGHTS);
        let bytes = artifacts::tensor_bytes(&path, &named, &BTreeMap::new())?;
        let weights = artifacts::written(&path, artifacts::prepared(&path, |file| file.write_all(&bytes)))?;
        artifacts::write_json(&dir.join("config.json"), &to_hugging_face(&self.model, bos))?;
        Ok(artifacts::written(&path, weights.persist())?)
    }
}

/// SHA-256 of all that a checkpoint holds, in hexadecimal digits.
fn checksum(tensors: &BTreeMap<String, HostTensor>, step: usize, settings: &str) -> String {
    let mut all = Sha256Hex::default();
    all.update(format!("step {step}, settings {settings}\n").as_bytes());
    for (name, tensor) in tensors {
        // The shape says how many numbers follow.
        all.update(format!("{name} {:?}\n", tensor.shape).as_bytes());
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect();
        all.update(&bytes);
    }
    all.finish()
}

fn slots(weights: &mut Weights) -> usize {
    let (matrices, vectors) = weights.parameters_mut();
    matrices.len() + vectors.len()
}

/// Learning rate of step `step` (0-based): linear rise, then a cosine down to a tenth.
pub fn learning_rate(step: usize, config: &PretrainConfig) -> f64 {
    if step < config.warmup_steps {
        return config.learning_rate * (step + 1) as f64 / config.warmup_steps as f64;
    }
    let rest = config.steps.saturating_sub(config.warmup_steps).max(1);
    let progress = ((step - config.warmup_steps) as f64 / rest as f64).min(1.0);
    config.learning_rate * (0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()))
}
