//! What can go wrong with a toy.

/// Errors of this crate. Each message is one line that names the thing, the cause and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An autoencoder could not be trained.
    #[error(transparent)]
    Autoencoder(#[from] sae::Error),
    /// The vectors do not form the batches that were asked for.
    #[error(transparent)]
    Activations(#[from] activations::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// A config value out of its range.
    #[error("config: `{field}` {reason}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
    /// A record could not be written as JSON.
    #[error("a record of a configuration: {0}")]
    Json(#[from] serde_json::Error),
}
