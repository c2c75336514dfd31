//! What can go wrong while functions and latents are explained.

use std::path::PathBuf;

/// An error of this crate; each prints as one line that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More was asked of a black box than it answers.
    #[error("{asked} inputs were asked and {remaining} are left of the budget; raise the budget of queries")]
    Budget {
        /// Inputs that were asked.
        asked: usize,
        /// Inputs that it still answers.
        remaining: usize,
    },
    /// A text that is no formula.
    #[error("not a formula of x: {reason}")]
    Formula {
        /// Why.
        reason: String,
    },
    /// A text that is no program of string functions.
    #[error("not a program of string functions: {reason}")]
    Program {
        /// Why.
        reason: String,
    },
    /// A setting that cannot be meant.
    #[error("`{key}` {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// Why.
        reason: String,
    },
    /// A file of FIND's data, or of an exchange with a server, that is not as expected.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// What was found, and what to do.
        reason: String,
    },
    /// A store whose latents cannot be explained.
    #[error("{reason}")]
    Latents {
        /// Why, and what to do.
        reason: String,
    },
    /// A server of a language model, or its address, that cannot be used.
    #[error("{reason}")]
    Server {
        /// Why, and what to do.
        reason: String,
    },
    /// Of a store.
    #[error(transparent)]
    Activations(#[from] activations::Error),
    /// Of a model.
    #[error(transparent)]
    Model(#[from] lm::Error),
    /// Of a tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// Of a file.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// Of the evaluation.
    #[error(transparent)]
    Eval(#[from] eval::Error),
}
