//! What can go wrong with a work list.

use std::io;
use std::path::{Path, PathBuf};

/// Errors of this crate. Each message is one line that names the thing, the cause and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read or write a file of the list.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A file of the list could not be written whole.
    #[error(transparent)]
    Artifact(#[from] artifacts::Error),

    /// The folder of the list holds other units.
    #[error(
        "{path} lists other units than these settings give; another version of the program wrote it, so remove its folder"
    )]
    OtherPlan {
        /// The plan.
        path: PathBuf,
    },

    /// A file of the list is not what this program writes.
    #[error("{path} is damaged ({reason}); remove it, and the unit is done again if its result is not there")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
