//! What can go wrong with synthetic activations.

use std::path::PathBuf;

/// An error of this crate; each prints as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field of the config has a value that cannot be meant.
    #[error("synthetic config: `{field}` {reason}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An autoencoder could not be set up or trained.
    #[error(transparent)]
    Autoencoder(#[from] sae::Error),
    /// A batch larger than the pool.
    #[error(transparent)]
    Activations(#[from] activations::Error),
    /// A file could not be written.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// A record is there and cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}
