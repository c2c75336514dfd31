//! The training loop.
//!
//! Inputs are scaled to a mean norm of the root of their width, as SAELens does, so that one learning rate and one L1
//! weight serve every site; the scale is folded into the biases at the end. Each step: forward, backward, removal of the
//! decoder gradient along each row, clip of the whole gradient at norm 1, Adam, decoder rows back to unit norm.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use activations::{BatchStream, Dictionary};
use burn::tensor::{Device, Tensor};
use kernels::{Adam, AdamConfig, to_vec};
use serde::{Deserialize, Serialize};

use crate::{Architecture, Autoencoder, Error, TrainConfig};

/// Rows that are encoded at once when the finished autoencoder is measured.
const MEASURE_ROWS: usize = 4096;

/// What one step reports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepReport {
    /// Step, from 0.
    pub step: usize,
    /// Squared error summed over dimensions plus the penalty, mean over rows, in scaled units.
    pub loss: f32,
    /// Squared error over the variance of the batch.
    pub fvu: f32,
    /// Mean number of active latents of a row.
    pub l0: f32,
}

/// A finished autoencoder measured on all its training activations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Fraction of variance unexplained: squared error over squared distance from the mean.
    pub fvu: f64,
    /// Mean number of active latents of a row.
    pub l0: f64,
    /// Share of latents that no row activates.
    pub dead: f64,
}

/// Trains one autoencoder on `values` (row-major, rows of `width`).
///
/// # Errors
///
/// A loss that is not finite; fewer rows than a batch.
pub fn train(
    values: &[f32],
    width: usize,
    architecture: Architecture,
    config: &TrainConfig,
    device: &Device,
    on_step: &mut dyn FnMut(StepReport),
) -> Result<(Autoencoder, Summary), Error> {
    if let Architecture::Topk { k } = architecture
        && k > width * config.expansion
    {
        let reason = format!(
            "is {k}, more than the {} latents of this site",
            width * config.expansion
        );
        return Err(Error::Config { field: "k", reason });
    }
    let scale = scale(values, width);
    let scaled: Vec<f32> = values.iter().map(|x| x * scale).collect();
    let mean = column_means(&scaled, width);
    let mut model = Autoencoder::init(architecture, width * config.expansion, mean, config.seed, device);
    let mut stream = BatchStream::new(scaled, width, config.batch, config.seed)?;
    let mut adam = Adam::new(AdamConfig::default(), 4);
    for step in 0..config.steps {
        let batch = stream.next_batch(device); // [B, D]
        on_step(train_step(&mut model, &mut adam, batch, step, config)?);
    }
    let model = model.unscaled(scale);
    let summary = measure(&model, values, width, device);
    Ok((model, summary))
}

fn train_step(
    model: &mut Autoencoder,
    adam: &mut Adam,
    batch: Tensor<2>,
    step: usize,
    config: &TrainConfig,
) -> Result<StepReport, Error> {
    let [rows, _] = batch.dims();
    let tracked = Autoencoder {
        architecture: model.architecture,
        w_enc: model.w_enc.clone().autodiff().require_grad(),
        b_enc: model.b_enc.clone().autodiff().require_grad(),
        w_dec: model.w_dec.clone().autodiff().require_grad(),
        b_dec: model.b_dec.clone().autodiff().require_grad(),
    };
    let x = batch.clone().autodiff(); // [B, D]
    let codes = tracked.codes(x.clone()); // [B, F]
    let reconstruction = tracked.decode(codes.clone()); // [B, D]
    let squared = (x - reconstruction).square().sum() / rows as f64; // [1]
    let active = codes.clone().inner().greater_scalar(0.0).float().sum() / rows as f64;
    let warm = ((step + 1) as f64 / (config.steps as f64 / 20.0).max(1.0)).min(1.0);
    let loss = match tracked.architecture.penalty(codes, warm) {
        Some(penalty) => squared.clone() + penalty,
        None => squared.clone(),
    };
    let value = to_vec(loss.clone().inner())[0];
    if !value.is_finite() {
        return Err(Error::Diverged { step, loss: value });
    }
    let variance = (batch.clone() - batch.mean_dim(0)).square().sum() / rows as f64; // [1]
    let report = StepReport {
        step,
        loss: value,
        fvu: to_vec(squared.inner())[0] / to_vec(variance)[0].max(f32::MIN_POSITIVE),
        l0: to_vec(active)[0],
    };

    let mut grads = loss.backward();
    let mut w_enc = tracked
        .w_enc
        .grad_remove(&mut grads)
        .unwrap_or_else(|| model.w_enc.zeros_like());
    let mut b_enc = tracked
        .b_enc
        .grad_remove(&mut grads)
        .unwrap_or_else(|| model.b_enc.zeros_like());
    let mut w_dec = tracked
        .w_dec
        .grad_remove(&mut grads)
        .unwrap_or_else(|| model.w_dec.zeros_like());
    let mut b_dec = tracked
        .b_dec
        .grad_remove(&mut grads)
        .unwrap_or_else(|| model.b_dec.zeros_like());
    drop(tracked);
    // Rows have unit norm: what lies along them would only fight the constraint.
    let along = (w_dec.clone() * model.w_dec.clone()).sum_dim(1); // [F, 1]
    w_dec = w_dec - along * model.w_dec.clone();
    let norm = [
        w_enc.clone().square().sum(),
        b_enc.clone().square().sum(),
        w_dec.clone().square().sum(),
        b_dec.clone().square().sum(),
    ]
    .into_iter()
    .map(|square| f64::from(to_vec(square)[0]))
    .sum::<f64>()
    .sqrt();
    if norm > 1.0 {
        (w_enc, b_enc, w_dec, b_dec) = (w_enc / norm, b_enc / norm, w_dec / norm, b_dec / norm);
    }
    let rate = learning_rate(step, config);
    adam.begin_step();
    model.w_enc = adam.update(0, model.w_enc.clone(), w_enc, rate, 0.0);
    model.b_enc = adam.update(1, model.b_enc.clone(), b_enc, rate, 0.0);
    model.w_dec = unit_rows(adam.update(2, model.w_dec.clone(), w_dec, rate, 0.0));
    model.b_dec = adam.update(3, model.b_dec.clone(), b_dec, rate, 0.0);
    Ok(report)
}

/// Linear rise over the first twentieth of the run, linear fall to 0 over the last fifth.
fn learning_rate(step: usize, config: &TrainConfig) -> f64 {
    let done = (step + 1) as f64 / config.steps as f64;
    let left = (config.steps - step) as f64 / config.steps as f64;
    config.learning_rate * (done * 20.0).min(1.0) * (left * 5.0).min(1.0)
}

fn unit_rows(w: Tensor<2>) -> Tensor<2> {
    let norm = w.clone().square().sum_dim(1).sqrt().clamp_min(1e-8); // [F, 1]
    w / norm
}

/// What brings the mean norm of the rows to the root of their width.
fn scale(values: &[f32], width: usize) -> f32 {
    let rows = (values.len() / width).max(1) as f64;
    let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let mean_norm = values.chunks_exact(width).map(norm).sum::<f64>() / rows;
    if mean_norm > 0.0 {
        ((width as f64).sqrt() / mean_norm) as f32
    } else {
        1.0
    }
}

fn column_means(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; width];
    for row in values.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let rows = (values.len() / width).max(1) as f64;
    sums.into_iter().map(|sum| (sum / rows) as f32).collect()
}

fn measure(model: &Autoencoder, values: &[f32], width: usize, device: &Device) -> Summary {
    let mean = column_means(values, width);
    let (mut error, mut variance, mut active) = (0.0_f64, 0.0_f64, 0.0_f64);
    let mut fired = vec![false; model.n_latents()];
    for chunk in values.chunks(MEASURE_ROWS * width) {
        let codes = model.codes(kernels::from_vec(chunk.to_vec(), [chunk.len() / width, width], device)); // [B, F]
        let reconstruction = to_vec(model.decode(codes.clone())); // [B, D]
        for row in to_vec(codes).chunks_exact(fired.len()) {
            for (fired, _) in fired.iter_mut().zip(row).filter(|(_, code)| **code > 0.0) {
                *fired = true;
                active += 1.0;
            }
        }
        error += chunk
            .iter()
            .zip(&reconstruction)
            .map(|(x, y)| f64::from(x - y).powi(2))
            .sum::<f64>();
        let centred = chunk.iter().zip(mean.iter().cycle());
        variance += centred.map(|(x, m)| f64::from(x - m).powi(2)).sum::<f64>();
    }
    let rows = (values.len() / width).max(1) as f64;
    Summary {
        fvu: error / variance.max(f64::MIN_POSITIVE),
        l0: active / rows,
        dead: fired.iter().filter(|fired| !**fired).count() as f64 / fired.len() as f64,
    }
}
