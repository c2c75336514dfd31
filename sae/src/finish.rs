//! What training ends with: the autoencoders, calibrated and measured.
//!
//! Shapes: `D` width, `F` latents.

use std::collections::BTreeMap;

use burn::tensor::Device;
use dictionaries::{Architecture, Autoencoder, Summary, Variant};
use kernels::{Precision, Rule, encode, from_vec};
use lm::HookPoint;
use rayon::prelude::*;

use crate::config::refuse;
use crate::measurement::Measurement;
use crate::rows::{Rows, Scaled, Split};
use crate::survey::Survey;
use crate::trainer::Trainer;
use crate::{Error, Grid};

/// Rows on which the threshold of a batch-wise selection is calibrated, at most.
const CALIBRATION_ROWS: usize = 16_384;

/// What training ends with.
#[derive(Debug)]
pub struct Finished {
    /// What it was trained as.
    pub variant: Variant,
    /// The autoencoder, for inputs as they are stored.
    pub model: Autoencoder,
    /// Measured on what was held out, or, where that is nothing, on the rows that were trained on.
    pub summary: Summary,
}

/// Rows part by part, by the number of the part: none behind the last one.
pub type Parts<'a> = dyn FnMut(usize) -> Result<Option<Split>, Error> + 'a;

/// A [`Split`] that is only looked at.
struct Part<'a> {
    inputs: &'a Rows,
    targets: BTreeMap<HookPoint, &'a Rows>,
    trained: usize,
}

impl Grid {
    /// The autoencoders as they are, measured on the rows that the grid holds.
    ///
    /// # Errors
    ///
    /// Parameters or pre-activations that are not finite.
    pub fn finish(self) -> Result<Vec<Finished>, Error> {
        self.finish_with(None)
    }

    /// Ends a streamed training: its members are measured on what was `held_out`, which is asked for twice, for the mean and for all else. The
    /// sample of rows that were trained on is looked at too, and then the parts of `others`, until every latent was active once or no part is
    /// left. Latents that were never active are dead.
    ///
    /// # Errors
    ///
    /// As [`Grid::finish`], and those of `held_out` and `others`.
    pub fn finish_on(self, held_out: &mut Parts<'_>, others: &mut Parts<'_>) -> Result<Vec<Finished>, Error> {
        self.finish_with(Some((held_out, others)))
    }

    fn finish_with(self, parts: Option<(&mut Parts<'_>, &mut Parts<'_>)>) -> Result<Vec<Finished>, Error> {
        let (mut parts, others) = parts.unzip();
        self.check()?;
        let side_by_side = self.workers.is_some();
        let Self {
            config,
            members,
            mut inputs,
            mut targets,
            ..
        } = self;
        if parts.is_some() {
            // What is held out comes in parts.
            inputs.rows.truncate(self.n_train);
            targets
                .values_mut()
                .for_each(|target| target.rows.truncate(self.n_train));
        }
        // Whatever a stream has read ahead is not needed any more.
        drop(self.source);
        let held = Held {
            inputs,
            targets,
            n_train: self.n_train,
            device: self.device,
        };
        let models: Vec<(Variant, Autoencoder)> = match side_by_side {
            true => members
                .into_par_iter()
                .map(|member| held.model(member))
                .collect::<Result<_, _>>(),
            false => members.into_iter().map(|member| held.model(member)).collect(),
        }?;
        let mut surveys: BTreeMap<Option<HookPoint>, Survey> = BTreeMap::new();
        held.visit(parts.as_deref_mut(), &mut |part| {
            let all = std::iter::once((None, part.inputs))
                .chain(part.targets.iter().map(|(hook, rows)| (Some(*hook), *rows)));
            for (hook, rows) in all {
                let survey = surveys.entry(hook).or_insert_with(|| Survey::new(rows.width));
                survey.add(rows, part.trained);
            }
        })?;
        let surveyed: BTreeMap<_, _> = surveys
            .into_iter()
            .map(|(hook, survey)| (hook, survey.finish()))
            .collect();
        let mut measurements = Vec::new();
        for (variant, model) in &models {
            let Some(surveyed) = surveyed.get(&variant.target) else {
                return refuse("target", "has no activations to measure on");
            };
            measurements.push((variant, Measurement::new(model, surveyed)));
        }
        held.visit(parts, &mut |part| {
            each(&mut measurements, side_by_side, |(variant, measurement)| {
                let target = variant.target.and_then(|hook| part.targets.get(&hook)).copied();
                measurement.add(part.inputs, target, part.trained, &held.device);
            });
        })?;
        if let Some(others) = others {
            let mut number = 0;
            while measurements.iter().any(|(_, measurement)| measurement.has_silent())
                && let Some(part) = others(number)?
            {
                each(&mut measurements, side_by_side, |(_, measurement)| {
                    measurement.look_at(&part.inputs, &held.device);
                });
                number += 1;
            }
        }
        let summaries: Vec<Summary> = measurements
            .into_iter()
            .map(|(_, measurement)| measurement.finish())
            .collect();
        let finished = models.into_iter().zip(summaries).map(|((variant, model), summary)| {
            match summary.cosine.is_finite() {
                true => Ok(Finished {
                    variant,
                    model,
                    summary,
                }),
                // Weights so large that no reconstruction is finite.
                false => Err(Error::diverged(&variant.name, config.steps)),
            }
        });
        finished.collect()
    }
}

/// Runs `one` on each measurement, of small autoencoders each on a thread.
fn each<'a>(
    measurements: &mut [(&'a Variant, Measurement<'a>)],
    side_by_side: bool,
    one: impl Fn(&mut (&'a Variant, Measurement<'a>)) + Send + Sync,
) {
    match side_by_side {
        true => measurements.par_iter_mut().for_each(one),
        false => measurements.iter_mut().for_each(one),
    }
}

/// What a grid holds beside its members.
struct Held {
    inputs: Scaled,
    targets: BTreeMap<HookPoint, Scaled>,
    n_train: usize,
    device: Device,
}

impl Held {
    /// The autoencoder that a trainer ends with.
    fn model(&self, (variant, trainer): (Variant, Trainer)) -> Result<(Variant, Autoencoder), Error> {
        let steps = trainer.steps_done();
        let target = variant.target.and_then(|hook| self.targets.get(&hook));
        let scales = (self.inputs.scale, target.map(|target| target.scale));
        let mut model = Autoencoder::finished(variant.architecture, trainer.into_parameters(), scales);
        if let Architecture::BatchTopk { k } | Architecture::Matryoshka { k, .. } = variant.architecture {
            match calibrate(&mut model, k, &self.inputs.rows, self.n_train, &self.device) {
                // The activations are finite, so it is the weights that are not.
                Err(Error::NotFinite { .. }) => return Err(Error::diverged(&variant.name, steps)),
                other => other?,
            }
        }
        Ok((variant, model))
    }

    /// Shows all parts, where there are any, and then the rows that the grid holds.
    fn visit(&self, parts: Option<&mut Parts<'_>>, visit: &mut dyn FnMut(&Part<'_>)) -> Result<(), Error> {
        if let Some(parts) = parts {
            let mut number = 0;
            while let Some(split) = parts(number)? {
                visit(&Part {
                    inputs: &split.inputs,
                    targets: split.targets.iter().map(|(hook, rows)| (*hook, rows)).collect(),
                    trained: split.trained,
                });
                number += 1;
            }
        }
        visit(&Part {
            inputs: &self.inputs.rows,
            targets: self
                .targets
                .iter()
                .map(|(hook, scaled)| (*hook, &scaled.rows))
                .collect(),
            trained: self.n_train,
        });
        Ok(())
    }
}

/// Sets the threshold that replaces a selection over the batch: the largest with which `k` latents a row are active on
/// average, on rows spread evenly over those that were trained on.
fn calibrate(model: &mut Autoencoder, k: usize, inputs: &Rows, n_train: usize, device: &Device) -> Result<(), Error> {
    let step = n_train.div_ceil(CALIBRATION_ROWS).max(1);
    let sample: Vec<f32> = (0..n_train)
        .step_by(step)
        .flat_map(|row| inputs.slice(row..row + 1).iter().copied())
        .collect();
    let n = sample.len() / inputs.width;
    let x = model.centred(from_vec(sample, [n, inputs.width], device)); // [n, D]
    let p = &model.parameters;
    let found = encode(
        &x,
        &p.w_enc,
        &p.b_enc,
        Rule::PerBatch(k * n),
        None,
        None,
        Precision::F32,
    )
    .map_err(|at| Error::NotFinite { row: at.row * step })?;
    let least = found.active.values.iter().copied().reduce(f32::min);
    // Codes are what is above the threshold, and the least of them must stay.
    let threshold = least.map_or(0.0, f32::next_down);
    let n_latents = p.n_latents();
    model.parameters.extra = vec![from_vec(vec![threshold; n_latents], [n_latents], device)];
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::architecture::{EXAMPLES, Phase, Training as _};
    use crate::batch::Batch;
    use crate::pass::{self, Path, Plan};
    use dictionaries::{Activation, Autoencoder, Parameters};
    use kernels::{Precision, cpu, from_vec, random, to_vec};

    /// The finished autoencoder on raw inputs does what the one in training does on scaled ones.
    #[test]
    fn finishing_changes_units_and_nothing_else() {
        const B: usize = 40;
        const D: usize = 6;
        const F: usize = 14;
        let draw = |stream: &str, n, size| random::normal(&mut random::rng(4, stream), n, size);
        let scale = 2.5;
        for architecture in EXAMPLES {
            for transcodes in [false, true] {
                let n_extra = architecture.initial_extra().len();
                let parameters = Parameters {
                    w_enc: from_vec(draw("w_enc", F * D, 0.5), [F, D], &cpu()),
                    b_enc: from_vec(draw("b_enc", F, 0.2), [F], &cpu()),
                    w_dec: from_vec(draw("w_dec", F * D, 0.5), [F, D], &cpu()),
                    b_dec: from_vec(draw("b_dec", D, 0.2), [D], &cpu()),
                    extra: (0..n_extra)
                        .map(|i| from_vec::<1>(draw(&format!("extra {i}"), F, 0.3), [F], &cpu()).abs() + 0.1)
                        .collect(),
                };
                let [raw, raw_target] = ["x", "y"].map(|name| from_vec::<2>(draw(name, B * D, 0.6), [B, D], &cpu()));
                let (x, target) = (raw.clone() * scale, raw_target * 4.0);
                let batch = Batch {
                    x: &x,
                    target: transcodes.then_some(&target),
                };
                let phase = Phase {
                    sparsity: 0.0,
                    p: 1.0,
                    next_p: None,
                    batch_l0: None,
                };
                let plan = Plan {
                    architecture,
                    path: Path::Dense,
                    precision: Precision::F32,
                    phase,
                    revival: None,
                };
                let pass = pass::forward(plan, &parameters.tracked(), batch).unwrap();
                let scales = (scale, transcodes.then_some(4.0));
                let model = Autoencoder::finished(architecture, parameters.clone(), scales);
                if matches!(architecture.activation(), Activation::Jumprelu) && architecture.k().is_some() {
                    continue; // a selection over the batch is not a threshold before it is calibrated
                }
                let found = to_vec(model.reconstruct(raw)); // in units of the target, or of the input
                let unit = if transcodes { 4.0 } else { scale };
                let expected = to_vec(batch.target().clone() - pass.loss.residual);
                for (found, expected) in found.iter().zip(&expected) {
                    let (name, gap) = (architecture.name(), (found * unit - expected).abs());
                    assert!(
                        gap < 1e-4,
                        "{name}, transcodes {transcodes}: {found} x {unit}, expected {expected}"
                    );
                }
            }
        }
    }
}
