//! What can go wrong when dictionaries are made, stored and loaded.

use std::path::PathBuf;

/// An error of this crate; each prints as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A checkpoint is incomplete or contradicts itself.
    #[error("{} is not a whole autoencoder: {reason}", path.display())]
    Checkpoint {
        /// Its file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A folder says what contradicts itself, or what is not implemented.
    #[error("{}: {reason}", path.display())]
    Refused {
        /// Its file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A folder that is to be written holds a file of another autoencoder.
    #[error("{} holds a {file} of another autoencoder already; choose another folder", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// Another library has no folder for such an autoencoder.
    #[error("{library} cannot hold this autoencoder: {reason}")]
    Unsupported {
        /// The library.
        library: &'static str,
        /// What it lacks.
        reason: String,
    },
    /// A baseline cannot be made from these activations.
    #[error("baseline {baseline}: {reason}")]
    Baseline {
        /// Which baseline.
        baseline: &'static str,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] artifacts::Error),
}
