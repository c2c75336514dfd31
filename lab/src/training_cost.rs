//! What a training at one site will cost, said before it begins.
//!
//! Time comes from one encoder product on this machine, memory and disk from the sizes. The factors were fitted to runs of the
//! shipped model's activations; `train` says at its end what it took.

use activations::store::Row;
use dictionaries::Variant;
use sae::TrainConfig;

use crate::Context;
use crate::estimate::{Estimate, fastest};

/// Bytes of the program without activations.
const PROGRAM: usize = 54_000_000;
/// Bytes of activations that are read and checked in a second.
const READ: f64 = 2e8;
/// Codes that are held at once when an autoencoder is measured, and the bounds of its rows (`sae::summary`).
const MEASURED: usize = 1 << 22;
const MEASURED_ROWS: [usize; 2] = [16, 4096];

/// Seconds of a step beside its products (`saelab bench train`, 128 by 512).
const STEP: f64 = 1e-3;

/// Products of the encoder that a step of a variant takes: those that choose their latents work on few entries, with more where
/// latents are dead; the others begin with all.
pub(crate) fn products(variant: &Variant) -> f64 {
    if variant.architecture.k().is_some() { 2.0 } else { 3.0 }
}

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
    /// What the training of some autoencoders will take on this machine.
    pub(crate) fn estimate(&self, variants: &[Variant], config: &TrainConfig, context: &Context) -> Estimate {
        let (seconds, memory) = (
            self.seconds(variants, config, context).ceil(),
            self.memory(variants, config) as f64,
        );
        let what = format!(
            "about {seconds:.0} s, {:.0} MB of memory and {:.0} MB of disk for {} of width {} with {} latents on {} rows",
            memory / 1e6,
            (self.parameters(config) * (4 + 2 * 12) * variants.len()) as f64 / 1e6,
            variants.len(),
            self.width,
            self.latents(config),
            self.store_rows
        );
        Estimate { seconds, memory, what }
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
    pub(crate) fn memory(&self, variants: &[Variant], config: &TrainConfig) -> usize {
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
        // What a stream has read is gone when it is measured, but its memory stays in the heap of the thread that reads.
        let beside = rows + self.pool.unwrap_or(0) + training.max(measuring);
        PROGRAM + reading.max(beside)
    }

    /// Seconds of reading, of all steps, and of measuring at the end.
    fn seconds(&self, variants: &[Variant], config: &TrainConfig, context: &Context) -> f64 {
        let (d, f) = (self.width, self.latents(config));
        let values = vec![1.0; config.batch.max(f) * d];
        let matrix = |rows: usize| kernels::from_vec::<2>(values[..rows * d].to_vec(), [rows, d], &context.device);
        let (x, w_enc) = (matrix(config.batch), matrix(f));
        let product = fastest(|| {
            kernels::to_vec(config.precision.matmul(x.clone(), w_enc.clone().transpose()));
        });
        // What does not grow with the sizes; of small autoencoders that are trained side by side each thread has its own.
        let side_by_side = match sae::are_side_by_side(config, d, &context.device) {
            true => variants.len().min(rayon::current_num_threads()).max(1),
            false => 1,
        };
        let step = |variant: &Variant| products(variant) * product + STEP / side_by_side as f64;
        // Where latents are dead all of these rows are looked at, which is usual with a fixed number of active ones; else those held out.
        let looked_at = |variant: &Variant| if variant.architecture.k().is_some() { 1.0 } else { 0.2 };
        let batches = self.measured as f64 / config.batch as f64;
        let of_one =
            |variant: &Variant| step(variant) * config.steps as f64 + looked_at(variant) * batches * 1.5 * product;
        let read = (self.store_rows * d * size_of::<f32>() * self.hooks) as f64 / READ;
        read + variants.iter().map(of_one).sum::<f64>()
    }
}
