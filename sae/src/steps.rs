//! The steps of a grid: one batch for all members, then a step of each on it.
//!
//! Shapes: `B` rows, `D` width.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use dictionaries::Variant;
use lm::HookPoint;

use crate::batch::Batch;
use crate::grid::{Grid, Source};
use crate::resample::resample;
use crate::rows::Scaled;
use crate::trainer::Trainer;
use crate::{Error, Outcome};

/// Steps that members take side by side before they wait for each other.
const ROUND: usize = 8;

/// What all members see of a step: `x` is `[B, D]`, each target `[B, D_out]`.
struct GridBatch {
    x: Tensor<2>,
    targets: BTreeMap<HookPoint, Tensor<2>>,
}

/// What resampling needs of a grid.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    rows: &'a Scaled,
    n_train: usize,
    batch: usize,
    device: &'a Device,
}

impl Grid {
    /// One step of every member on the next batch; tells what each has come to.
    ///
    /// # Errors
    ///
    /// A loss that is not finite; the member is named. Where it is not known yet, [`Outcome::read`] says so.
    pub fn step(&mut self, on_step: &mut dyn FnMut(&Variant, &Outcome)) -> Result<(), Error> {
        self.advance(self.steps_done() + 1, on_step)
    }

    /// The next steps of every member, each on a batch of its own, but none beyond step `until` or the next step of a checkpoint;
    /// tells what each has come to, step by step. Small autoencoders on the CPU take a few steps before they wait for each other,
    /// others take one.
    ///
    /// # Errors
    ///
    /// As [`Grid::step`].
    pub fn advance(&mut self, until: usize, on_step: &mut dyn FnMut(&Variant, &Outcome)) -> Result<(), Error> {
        let first = self.steps_done();
        let at_once = if self.workers.is_some() { ROUND } else { 1 };
        let checkpoint = (first + 1).next_multiple_of(self.config.checkpoint_every);
        match until.min(checkpoint).saturating_sub(first).min(at_once) {
            0 => Ok(()),
            steps => self.round(first, steps, on_step),
        }
    }

    fn round(&mut self, first: usize, steps: usize, on_step: &mut dyn FnMut(&Variant, &Outcome)) -> Result<(), Error> {
        let start = Instant::now();
        let batches = (first..first + steps).map(|step| self.batch(step));
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        self.waited += start.elapsed();
        let inputs = Inputs {
            rows: &self.inputs,
            n_train: self.n_train,
            batch: self.config.batch,
            device: &self.device,
        };
        let one = |member: &mut (Variant, Trainer), step: usize| member_step(member, &batches[step], inputs);
        let outcomes = match &self.workers {
            Some(workers) => workers.run(&mut self.members, steps, one),
            None => self.members.iter_mut().map(|member| vec![one(member, 0)]).collect(),
        };
        let mut outcomes: Vec<_> = outcomes.into_iter().map(Vec::into_iter).collect();
        for _ in 0..steps {
            for ((variant, _), outcomes) in self.members.iter().zip(&mut outcomes) {
                let Some(outcome) = outcomes.next() else {
                    unreachable!("a member that ends early ends with an error")
                };
                on_step(variant, &outcome?);
            }
        }
        Ok(())
    }

    fn batch(&mut self, step: usize) -> Result<GridBatch, Error> {
        let device = &self.device;
        match &mut self.source {
            Source::Stream(stream) => {
                stream.seek(step);
                let mut values = stream.next_batch()?.values.into_iter();
                let Some(first) = values.next() else {
                    unreachable!("a batch of the stream has the values of every hook, inputs first")
                };
                let x = self.inputs.scaled(first, device); // [B, D]
                let targets = self.targets.iter().zip(values);
                let targets = targets.map(|((hook, rows), values)| (*hook, rows.scaled(values, device)));
                Ok(GridBatch {
                    x,
                    targets: targets.collect(),
                })
            }
            Source::Memory(order) => {
                let rows = order.batch(step);
                let batch = |of: &Scaled| of.batch(&rows, device); // [B, D] or [B, D_out]
                let targets = self.targets.iter().map(|(hook, rows)| (*hook, batch(rows)));
                Ok(GridBatch {
                    x: batch(&self.inputs),
                    targets: targets.collect(),
                })
            }
        }
    }
}

/// One step of a member.
fn member_step(
    (variant, trainer): &mut (Variant, Trainer),
    batch: &GridBatch,
    inputs: Inputs<'_>,
) -> Result<Outcome, Error> {
    if variant.target.is_none() {
        resample(
            trainer,
            inputs.rows,
            inputs.n_train,
            inputs.batch,
            variant.seed,
            inputs.device,
        )?;
    }
    let target = variant.target.map(|hook| match batch.targets.get(&hook) {
        Some(target) => target,
        None => unreachable!("the activations of {hook} were given when the grid was made"),
    });
    let (name, step) = (variant.name.clone(), trainer.steps_done());
    match trainer.step(Batch { x: &batch.x, target }) {
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
}
