//! What a training step tells: losses, and where its time went.

use std::time::Duration;

use serde::Serialize;

/// What one step reports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepReport {
    /// Step, from 0.
    pub step: usize,
    /// All terms of the loss, in scaled units: squared error summed over dimensions, mean over rows.
    pub loss: f32,
    /// The squared error alone.
    pub squared_error: f32,
    /// Squared error over the variance of the batch.
    pub fvu: f32,
    /// Mean number of active latents of a row.
    pub l0: f32,
    /// Share of latents that have been silent for as long as makes them dead.
    pub dead: f32,
    /// Norm of the whole gradient before the clip.
    pub gradient_norm: f32,
}

/// Where the time of a step goes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    /// The encoder's dense product.
    pub encode: Duration,
    /// Selection of active entries.
    pub select: Duration,
    /// Decoder and loss.
    pub decode: Duration,
    /// Gradients.
    pub backward: Duration,
    /// Norm, clip, Adam, constraint.
    pub optimiser: Duration,
}
