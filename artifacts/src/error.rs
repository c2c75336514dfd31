//! What can go wrong with files.

use std::io;
use std::path::{Path, PathBuf};

/// An error of this crate; each prints as one line that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {cause}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause; part of the message, so not given again as its source.
        cause: io::Error,
    },
    /// A file could not be written; nothing was left under its name.
    #[error("cannot write {}: {cause}; {}, then run again", path.display(), advice(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause; part of the message, so not given again as its source.
        cause: io::Error,
    },
    /// A file is not what its name says: truncated, or in another format.
    #[error("{} is damaged or not of the expected format: {reason}; make or fetch it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A folder was removed, moved or replaced while a command used it.
    #[error(
        "{} was removed or replaced while this command ran, and what had been written to it is gone; run the command again",
        path.display()
    )]
    Replaced {
        /// The folder.
        path: PathBuf,
    },
}

impl Error {
    /// `path` could not be read.
    pub fn read(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, cause }
    }

    /// `path` could not be written.
    pub fn write(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        Self::Write { path, cause }
    }

    /// `path` is not what its name says, for this reason.
    pub fn format(path: &Path, reason: impl Into<String>) -> Self {
        let (path, reason) = (path.to_owned(), reason.into());
        Self::Format { path, reason }
    }
}

/// What helps against a failure to write.
fn advice(cause: &io::Error) -> &'static str {
    use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match cause.kind() {
        StorageFull | QuotaExceeded => "free some space or choose another folder",
        FileTooLarge => "choose a disk that takes larger files, or raise the limit (ulimit -f)",
        PermissionDenied | ReadOnlyFilesystem => "choose a folder that you may write to",
        _ => "choose another folder",
    }
}
