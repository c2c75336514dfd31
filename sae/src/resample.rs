//! Resampling silent latents ("Towards Monosemanticity", 2023, appendix "Neuron Resampling").
//!
//! A latent that was silent for half the time since the last resampling takes the direction of a row that is badly
//! reconstructed: rows are drawn with a probability proportional to the square of their loss. Its encoder row is a fifth as
//! long as those of the others are in the mean, its encoder bias 0, and the optimiser forgets it. Transcoders are not
//! resampled: a row of their inputs is no direction of their outputs.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use burn::tensor::Device;
use dictionaries::{Activation, Autoencoder};
use kernels::{random, to_vec};
use rand::RngExt;

use crate::Error;
use crate::rows::Scaled;
use crate::trainer::Trainer;

/// Rows whose loss is looked at, at most; as in the source.
const SAMPLE: usize = 819_200;
/// Rows that are encoded at once.
const ROWS: usize = 4096;
/// Length of a new encoder row, relative to the mean of the others.
const ENCODER_NORM: f32 = 0.2;

/// Resamples when the schedule says so; gives how many latents were made anew.
pub(crate) fn resample(
    trainer: &mut Trainer,
    inputs: &Scaled,
    n_train: usize,
    batch: usize,
    seed: u64,
    device: &Device,
) -> Result<usize, Error> {
    let Some(interval) = trainer.schedule().resample_interval(trainer.architecture()) else {
        return Ok(0);
    };
    let step = trainer.steps_done();
    if step == 0 || !step.is_multiple_of(interval) || step / interval > trainer.schedule().resamples {
        return Ok(0);
    }
    let silent = trainer.silent_for((interval * batch / 2).max(1) as u64);
    if silent.is_empty() {
        return Ok(0);
    }
    let mut rng = random::rng(seed, &format!("sae/resample {step}"));
    let sample: Vec<usize> = match n_train <= SAMPLE {
        true => (0..n_train).collect(),
        false => (0..SAMPLE).map(|_| rng.random_range(0..n_train)).collect(),
    };
    let model = Autoencoder::plain(Activation::Relu, true, trainer.parameters().clone());
    // Running sums of squared losses: a row is drawn where a uniform number falls between two of them.
    let mut sums = Vec::with_capacity(sample.len());
    let mut sum = 0.0_f64;
    for rows in sample.chunks(ROWS) {
        let x = inputs.batch(rows, device); // [B, D]
        let error = to_vec((x.clone() - model.reconstruct(x)).square().sum_dim(1)); // [B]
        for loss in error {
            sum += f64::from(loss).powi(2);
            sums.push(sum);
        }
    }
    let p = trainer.parameters();
    let (width, n_latents) = (p.d_in(), p.n_latents());
    let b_dec = to_vec(p.b_dec.clone());
    let norms = to_vec(p.w_enc.clone().square().sum_dim(1).sqrt()); // [F]
    let alive = (0_u32..)
        .zip(&norms)
        .filter(|(latent, _)| silent.binary_search(latent).is_err());
    let alive_norms: f64 = alive.map(|(_, norm)| f64::from(*norm)).sum();
    let length = match n_latents - silent.len() {
        0 => ENCODER_NORM,
        alive => ENCODER_NORM * (alive_norms / alive as f64) as f32,
    };
    let (mut w_enc, mut w_dec) = (Vec::new(), Vec::new());
    for _ in &silent {
        let place = rng.random_range(0.0..1.0) * sum;
        let row = sample[sums.partition_point(|&sum| sum <= place).min(sample.len() - 1)];
        let row = inputs.rows.slice(row..row + 1).iter().map(|x| x * inputs.scale);
        let direction: Vec<f32> = row.zip(&b_dec).map(|(x, b)| x - b).collect();
        let norm = direction
            .iter()
            .map(|x| x * x)
            .sum::<f32>()
            .sqrt()
            .max(f32::MIN_POSITIVE);
        w_dec.extend(direction.iter().map(|x| x / norm));
        w_enc.extend(direction.iter().map(|x| x / norm * length));
    }
    assert_eq!(w_dec.len(), silent.len() * width);
    trainer.replace_latents(&silent, &w_enc, &w_dec);
    Ok(silent.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Rows, Schedule, Start};
    use dictionaries::Architecture;
    use kernels::{Precision, cpu, from_vec};

    /// Trap 7 of the published code: the mean was taken over the wrong axis, and new encoder rows were several times too long.
    #[test]
    fn new_encoder_rows_are_a_fifth_as_long_as_the_others() {
        let (n, d, f) = (64, 6, 10);
        let schedule = Schedule {
            steps: 8,
            learning_rate: 0.0,
            dead_after: usize::MAX,
            auxiliary_k: 0,
            auxiliary_weight: 0.0,
            resamples: 1,
            frozen_decoder: false,
            l0: None,
            anneal_k: 1.0,
            precision: Precision::F32,
        };
        let start = Start {
            n_latents: f,
            mean: vec![0.0; d],
            target_mean: None,
            seed: 1,
        };
        let mut trainer = Trainer::new(Architecture::Relu { l1: 0.1 }, schedule, start, &cpu());
        let lengths: Vec<f32> = (0..f).map(|latent| 1.0 + latent as f32).collect();
        let parameters = trainer.parameters_mut();
        parameters.w_enc = parameters.w_enc.clone() * from_vec::<2>(lengths.clone(), [f, 1], &cpu());
        let silent = [2.0, 7.0];
        let bias = (0..f).map(|latent| if silent.contains(&(latent as f32)) { -1e4 } else { 0.0 });
        parameters.b_enc = from_vec(bias.collect(), [f], &cpu());
        let values = random::normal(&mut random::rng(2, "rows"), n * d, 1.0);
        let x = from_vec::<2>(values.clone(), [n, d], &cpu());
        for _ in 0..4 {
            trainer.step(Batch { x: &x, target: None }).unwrap();
        }
        let inputs = Scaled::new(Rows { width: d, values }, n).unwrap();
        assert_eq!(resample(&mut trainer, &inputs, n, n, 0, &cpu()).unwrap(), 2);
        let norms = to_vec(trainer.parameters().w_enc.clone().square().sum_dim(1).sqrt());
        let others = (0..f).filter(|latent| !silent.contains(&(*latent as f32)));
        let mean = others.map(|latent| lengths[latent]).sum::<f32>() / (f - 2) as f32;
        for latent in [2, 7] {
            assert!((norms[latent] / (0.2 * mean) - 1.0).abs() < 1e-4, "{norms:?}");
        }
    }
}
