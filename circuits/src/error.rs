//! What can go wrong with pairs, graphs and circuits.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The language model or its tokenizer failed, or a file could not be read or written.
    #[error(transparent)]
    Lm(#[from] lm::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A file of `torch.save` could not be read.
    #[error(transparent)]
    Torch(#[from] dictionaries::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    Artifact(#[from] artifacts::Error),
    /// A name of a node, an edge, a method or a metric that does not exist.
    #[error("unknown {what} \"{found}\": {known}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// The name that was given.
        found: String,
        /// What exists.
        known: String,
    },
    /// A line of a file of pairs that cannot be used.
    #[error("{path}, line {line}: {reason}")]
    PairsLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A file without pairs.
    #[error("{path} has no pairs: give it one JSON object a line, with `clean`, `corrupted`, `answer` and `wrong`")]
    NoPairs {
        /// The file.
        path: PathBuf,
    },
    /// Pairs that a task cannot give, or that a model cannot run.
    #[error("pair {number}: {reason}")]
    Pair {
        /// Which pair, from 1.
        number: usize,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// No pair at all.
    #[error("there are no pairs to measure: give a task or a file of pairs with at least one")]
    Empty,
    /// An attribute that a task does not edit.
    #[error("task {task} has no counterfactuals of {attribute}: use one of {known}")]
    Attribute {
        /// The task.
        task: String,
        /// What was asked for.
        attribute: String,
        /// What the task edits.
        known: String,
    },
    /// A file of scores or of a circuit that cannot be used.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A setting that cannot be meant.
    #[error("{0}")]
    Setting(String),
    /// Numbers that are not finite.
    #[error("the scores of {what} are not finite: the model overflows on these pairs")]
    NotFinite {
        /// The edge or run.
        what: String,
    },
    /// Parquet failed.
    #[error("edges.parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Arrow failed.
    #[error("edges.parquet: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
}
