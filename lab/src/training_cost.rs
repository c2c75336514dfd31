//! What a training at one site will cost, said before it begins.
//!
//! Time comes from one encoder product on this machine, memory and disk from the sizes. The factors were fitted to runs of the
//! shipped model's activations; `train` says at its end what it took.

use std::time::Instant;

use crate::Context;
use activations::store::Row;
use dictionaries::Variant;
use sae::TrainConfig;

/// Bytes of the program without activations.
const PROGRAM: usize = 54_000_000;
/// Bytes of activations that are read and checked in a second.
const READ: f64 = 2e8;
/// Codes that are held at once when an autoencoder is measured, and the bounds of its rows (`sae::summary`).
const MEASURED: usize = 1 << 22;
const MEASURED_ROWS: [usize; 2] = [16, 4096];

/// The sizes of a training.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrainingCost {
    /// Rows that are in memory all the time; of a streamed training its sample.
    pub(crate) rows: usize,
    /// Rows of the store.
    pub(crate) store_rows: usize,
    /// Rows that are looked at in the end.
    pub(crate) measured: usize,
    /// Numbers of a row.
    pub(crate) width: usize,
    /// Hooks that are read: inputs, and the targets of transcoders.
    pub(crate) hooks: usize,
    /// Bytes of the shards that a streamed training has in memory beside.
    pub(crate) pool: Option<usize>,
}

impl TrainingCost {
    /// Says it.
    pub(crate) fn tell(&self, variants: &[Variant], config: &TrainConfig, context: &Context) {
        context.note(&format!(
            "train: about {:.0} s, {:.0} MB of memory and {:.0} MB of disk for {} of width {} with {} latents on {} rows",
            self.seconds(variants, config, context).ceil(),
            self.memory(variants, config) as f64 / 1e6,
            (self.parameters(config) * (4 + 2 * 12) * variants.len()) as f64 / 1e6,
            variants.len(),
            self.width,
            self.latents(config),
            self.store_rows
        ));
    }

    fn latents(&self, config: &TrainConfig) -> usize {
        self.width * config.expansion
    }

    /// Numbers of one autoencoder.
    fn parameters(&self, config: &TrainConfig) -> usize {
        2 * self.latents(config) * self.width + 2 * self.latents(config) + self.width
    }

    /// The most bytes in memory: while rows are read and put in order there are two copies of them; then one, beside the training,
    /// and later beside what an autoencoder is measured in.
    fn memory(&self, variants: &[Variant], config: &TrainConfig) -> usize {
        let (latents, n) = (self.latents(config), variants.len());
        let rows = self.rows * self.width * size_of::<f32>() * self.hooks;
        let training = self.parameters(config) * (28 * n + 4) + config.batch * (latents + 4 * self.width) * 16;
        let at_once = (MEASURED / latents.max(1))
            .clamp(MEASURED_ROWS[0], MEASURED_ROWS[1])
            .min(self.store_rows);
        let copies = if variants.iter().any(|variant| variant.architecture.k().is_some()) {
            6
        } else {
            4
        };
        let measuring = at_once * latents * size_of::<f32>() * copies + self.parameters(config) * 16 * n;
        let reading = 2 * rows + self.rows * size_of::<Row>() * self.hooks;
        // What a stream has read is gone when it is measured.
        let beside = rows + (self.pool.unwrap_or(0) + training).max(measuring);
        PROGRAM + reading.max(beside)
    }

    /// Seconds of reading, of all steps, and of measuring at the end.
    fn seconds(&self, variants: &[Variant], config: &TrainConfig, context: &Context) -> f64 {
        let (d, f) = (self.width, self.latents(config));
        let values = vec![1.0; config.batch.max(f) * d];
        let matrix = |rows: usize| kernels::from_vec::<2>(values[..rows * d].to_vec(), [rows, d], &context.device);
        let (x, w_enc) = (matrix(config.batch), matrix(f));
        let product = |_| {
            let start = Instant::now();
            kernels::to_vec(kernels::matmul(x.clone(), w_enc.clone().transpose()));
            start.elapsed().as_secs_f64()
        };
        let product = (0..3).map(product).fold(f64::INFINITY, f64::min);
        // A sparse step takes 1.5 products and a dense one 7 (`saelab bench train`), and small ones half a millisecond more.
        let step = |variant: &Variant| if variant.architecture.k().is_some() { 1.5 } else { 7.0 } * product + 5e-4;
        // Where latents are dead all of these rows are looked at, which is usual with a fixed number of active ones; else those held out.
        let looked_at = |variant: &Variant| if variant.architecture.k().is_some() { 1.0 } else { 0.2 };
        let batches = self.measured as f64 / config.batch as f64;
        let of_one =
            |variant: &Variant| step(variant) * config.steps as f64 + looked_at(variant) * batches * 1.5 * product;
        let read = (self.store_rows * d * size_of::<f32>() * self.hooks) as f64 / READ;
        read + variants.iter().map(of_one).sum::<f64>()
    }
}
