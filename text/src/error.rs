//! What can go wrong with tokenizers, chats and corpora.

use std::io;
use std::path::PathBuf;

/// An error of this crate; each prints as one line that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of a file.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// Of a GGUF file.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// A folder without a tokenizer.
    #[error("{} holds neither tokenizer.json nor vocab.json with merges.txt; is it the folder of a model?", path.display())]
    NoTokenizer {
        /// The folder.
        path: PathBuf,
    },
    /// The tokenizer could not be loaded or applied.
    #[error("tokenizer {}: {reason}", path.display())]
    Tokenizer {
        /// Its file or folder.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A field of a config that says how text becomes windows is not usable.
    #[error("harvest: `{field}` {reason}")]
    Config {
        /// The field's name in the config file.
        field: &'static str,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// A file of the corpus cannot be read as what it should be.
    #[error("{path}: {reason}")]
    Corpus {
        /// The file or pattern.
        path: PathBuf,
        /// What is wrong, where, and what to do.
        reason: String,
    },
    /// A document cannot be read or encoded.
    #[error("{place} {reason}")]
    Document {
        /// Where it stands.
        place: crate::corpus::Place,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The tokens of a long corpus could not be kept on disk.
    #[error(
        "cannot keep the tokens of the corpus in {folder}: free some space there, or choose another folder with --out"
    )]
    Spool {
        /// The folder of the unnamed file that holds them.
        folder: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}
