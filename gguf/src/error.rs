//! What can go wrong with a GGUF file.

use std::path::PathBuf;

/// An error of this crate; each prints as one line that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that cannot be read, is cut off or is no GGUF file.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// A file that is whole, and holds what is not supported.
    #[error("{} cannot be used: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it holds, and what would be accepted.
        reason: String,
    },
}
