//! Training on activations in memory, from their scale to the finished autoencoder.
//!
//! Inputs are scaled to a mean norm of the root of their width, as SAELens does, so that one learning rate and one weight
//! of a penalty serve every site; the scale is folded into the biases at the end.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use activations::{BatchStream, Dictionary};
use burn::tensor::{Device, Tensor};
use kernels::{Rule, encode, from_vec, to_vec};
use serde::{Deserialize, Serialize};

use crate::parameters::Parameters;
use crate::trainer::{Schedule, StepReport, Trainer};
use crate::{Architecture, Autoencoder, Error, TrainConfig};

/// Rows that are encoded at once when the finished autoencoder is measured.
const MEASURE_ROWS: usize = 4096;
/// Rows on which the threshold of a batch-wise selection is calibrated, at most.
const CALIBRATION_ROWS: usize = 16_384;
/// Norm of decoder rows at the start, where they are free.
const FREE_DECODER_NORM: f32 = 0.1;

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
/// Activations or a loss that are not finite; fewer rows than a batch.
pub fn train(
    values: &[f32],
    width: usize,
    architecture: Architecture,
    config: &TrainConfig,
    device: &Device,
    on_step: &mut dyn FnMut(StepReport),
) -> Result<(Autoencoder, Summary), Error> {
    let n_latents = width * config.expansion;
    if let Some(k) = architecture.k().filter(|&k| k > n_latents) {
        let reason = format!("is {k}, more than the {n_latents} latents of this site");
        return Err(Error::Config { field: "k", reason });
    }
    let scale = scale(values, width);
    let scaled: Vec<f32> = values.iter().map(|x| x * scale).collect();
    let mean = column_means(&scaled, width);
    let mut stream = BatchStream::new(scaled, width, config.batch, config.seed)?;
    let mut trainer = new_trainer(architecture, n_latents, mean, config.schedule(), config.seed, device);
    for _ in 0..config.steps {
        let batch = stream.next_batch(device); // [B, D]
        on_step(trainer.step(&batch)?);
    }
    let mut model = Autoencoder::finished(architecture, trainer.parameters().clone(), scale);
    if let Architecture::BatchTopk { k } | Architecture::Matryoshka { k, .. } = architecture {
        calibrate(&mut model, k, values, width, device)?;
    }
    let summary = measure(&model, values, width, device);
    Ok((model, summary))
}

/// A trainer with random decoder rows, the encoder their transpose, and the mean of the data as the decoder's bias.
///
/// Where that bias is not subtracted before the encoder, the encoder's own bias takes the mean away at the start.
pub fn new_trainer(
    architecture: Architecture,
    n_latents: usize,
    mean: Vec<f32>,
    schedule: Schedule,
    seed: u64,
    device: &Device,
) -> Trainer {
    let d = mean.len();
    let mut parameters = Parameters::init(n_latents, mean, architecture.initial_extra(), seed, device);
    if !architecture.has_unit_decoder() {
        parameters.w_dec = parameters.w_dec * FREE_DECODER_NORM;
        parameters.w_enc = parameters.w_enc * FREE_DECODER_NORM;
    }
    if !architecture.subtracts_b_dec() {
        let mean = parameters.b_dec.clone().reshape([d, 1]);
        parameters.b_enc = -parameters.w_enc.clone().matmul(mean).reshape([n_latents]); // [F]
    }
    Trainer::new(architecture, schedule, parameters)
}

/// Sets the threshold that replaces a selection over the batch: the largest with which `k` latents a row are active in the
/// mean, on activations spread evenly over the data.
fn calibrate(model: &mut Autoencoder, k: usize, values: &[f32], width: usize, device: &Device) -> Result<(), Error> {
    let rows = values.len() / width;
    let step = rows.div_ceil(CALIBRATION_ROWS).max(1);
    let sample: Vec<f32> = values.chunks_exact(width).step_by(step).flatten().copied().collect();
    let n = sample.len() / width;
    let x = model.centred(from_vec(sample, [n, width], device)); // [n, D]
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
        let x: Tensor<2> = from_vec(chunk.to_vec(), [chunk.len() / width, width], device); // [B, D]
        let codes = model.codes(x); // [B, F]
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
