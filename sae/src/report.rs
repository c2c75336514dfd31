//! What a training step tells: losses, and where its time went.

use std::time::Duration;

use kernels::Scalar;
use serde::Serialize;

use crate::Error;

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

/// What a step has come to, some of which a GPU may still be computing.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Of the autoencoder, for an error.
    pub(crate) name: String,
    pub(crate) step: usize,
    pub(crate) rows: usize,
    pub(crate) n_latents: usize,
    pub(crate) loss: Scalar,
    pub(crate) squared_error: Scalar,
    /// Of the batch.
    pub(crate) variance: Scalar,
    /// Active entries.
    pub(crate) n_active: Scalar,
    /// Dead latents before the step.
    pub(crate) dead: Scalar,
    /// Squared norm of the gradient.
    pub(crate) gradient: Scalar,
}

impl Outcome {
    /// The numbers; waits for the device.
    ///
    /// # Errors
    ///
    /// A loss that is not finite.
    pub fn read(&self) -> Result<StepReport, Error> {
        let loss = self.finite(self.loss.read())?;
        let squared_error = self.squared_error.read() as f32;
        Ok(StepReport {
            step: self.step,
            loss,
            squared_error,
            fvu: squared_error / (self.variance.read() as f32).max(f32::MIN_POSITIVE),
            l0: self.n_active.read() as f32 / self.rows as f32,
            dead: self.dead.read() as f32 / self.n_latents as f32,
            gradient_norm: self.gradient.read().sqrt() as f32,
        })
    }

    /// Refuses a loss that is not finite, if it is known.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.loss.known() {
            Some(loss) => self.finite(loss).map(|_| ()),
            None => Ok(()),
        }
    }

    fn finite(&self, loss: f64) -> Result<f32, Error> {
        let loss = loss as f32;
        match loss.is_finite() {
            true => Ok(loss),
            false => Err(Error::Diverged {
                name: self.name.clone(),
                step: self.step,
                loss,
            }),
        }
    }
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
