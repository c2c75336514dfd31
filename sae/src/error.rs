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
    /// A finished autoencoder could not be read or written.
    #[error(transparent)]
    Dictionary(#[from] dictionaries::Error),
    /// A checkpoint of a run in training cannot be used.
    #[error(
        "{} is damaged: {reason}; delete {} to resume from {}",
        file.display(),
        folder.display(),
        previous.as_ref().map_or("the beginning".to_owned(), |path| path.display().to_string())
    )]
    DamagedState {
        /// Its folder.
        folder: PathBuf,
        /// The file in it.
        file: PathBuf,
        /// What was found.
        reason: String,
        /// The checkpoint before it.
        previous: Option<PathBuf>,
    },
    /// The loss became NaN or infinite.
    #[error("{name}: the loss is {loss} at step {step}; lower `learning_rate` or check the activations")]
    Diverged {
        /// The autoencoder.
        name: String,
        /// The step.
        step: usize,
        /// The loss.
        loss: f32,
    },
    /// An activation is NaN or infinite, or so large that a pre-activation is.
    #[error("row {row} of the activations or of a batch is not finite; harvest them again")]
    NotFinite {
        /// The row.
        row: usize,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// The activations could not be read.
    #[error(transparent)]
    Activations(#[from] activations::Error),
}

impl Error {
    /// Weights that are not finite, or that give nothing finite, after the last step or one before.
    pub(crate) fn diverged(name: &str, steps: usize) -> Self {
        Self::Diverged {
            name: name.to_owned(),
            step: steps.saturating_sub(1),
            loss: f32::NAN,
        }
    }
}
