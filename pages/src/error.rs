use std::path::PathBuf;

/// What can go wrong with pages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A report or its columns cannot be read.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// A store cannot be read.
    #[error(transparent)]
    Activations(#[from] activations::Error),
    /// A file cannot be read or written.
    #[error(transparent)]
    Artifacts(#[from] artifacts::Error),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] lm::Error),
    /// Data of a page cannot be written as JSON.
    #[error("the data of a page cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A folder cannot be listed.
    #[error("cannot list {}; check that it exists and may be read", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server cannot listen.
    #[error("cannot listen on {address}: {reason}; choose another address or port with --listen")]
    Listen {
        /// The address.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// Latents of a dictionary that do not belong to the model or store.
    #[error("latents of {what}: {reason}")]
    Latents {
        /// The dictionary.
        what: String,
        /// What does not fit, and what to do.
        reason: String,
    },
}
