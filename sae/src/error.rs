//! What can go wrong when autoencoders are trained, stored and loaded.

use std::path::PathBuf;

/// An error of this crate; each prints as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the config has a value that cannot be meant.
    #[error("train config: `{field}` {reason}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A checkpoint is incomplete or contradicts itself.
    #[error("{} is not a whole autoencoder: {reason}; train it again", path.display())]
    Checkpoint {
        /// Its file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The loss became NaN or infinite.
    #[error("the loss is {loss} at step {step}; lower `learning_rate` or check the activations")]
    Diverged {
        /// The step.
        step: usize,
        /// The loss.
        loss: f32,
    },
    /// An activation is NaN or infinite, or so large that a pre-activation is.
    #[error("row {row} of the batch has activations that are not finite; harvest them again")]
    NotFinite {
        /// The row.
        row: usize,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] lm::Error),
    /// The activations could not be read.
    #[error(transparent)]
    Activations(#[from] activations::Error),
}
