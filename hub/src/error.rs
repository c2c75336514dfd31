//! What can go wrong between the hub, its cache and this machine.

use std::path::PathBuf;

/// An error of this crate; each prints as one line that says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of a file.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// A config or an index of shards that was fetched is none of a model that can be run.
    #[error(transparent)]
    Model(#[from] lm::Error),
    /// What can be no name or revision of a model on the hub.
    #[error("`{found}` is no {what} of a model on the Hugging Face hub; expected {expected}")]
    Name {
        /// Name or revision.
        what: &'static str,
        /// As it was given.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// An environment variable of the hub cannot be meant; its value may be a credential and is not repeated.
    #[error("{variable} {reason}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// The hub, or a host that it sent us to, refuses or does not answer as a hub does.
    #[error("model {model}: {host} {reason}")]
    Answer {
        /// The model.
        model: String,
        /// The host, with its port where that is not the usual one.
        host: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The bytes of a file ended early; they are kept.
    #[error(
        "model {model}: {file} broke off after {done} of {total} bytes{cause}; run the same command again, it goes on there"
    )]
    Broken {
        /// The model.
        model: String,
        /// The file.
        file: Box<str>,
        /// Bytes that are in the cache.
        done: u64,
        /// Bytes of the whole file.
        total: u64,
        /// What the system said, in brackets; empty where the host just ended.
        cause: String,
    },
    /// The bytes that came are not those that the hub announced; they are not kept.
    #[error(
        "model {model}: {file} came with hash {found}, the hub announced {expected}; nothing of it is kept, run the same command again"
    )]
    Hash {
        /// The model.
        model: String,
        /// The file.
        file: Box<str>,
        /// Hash that the hub announced.
        expected: String,
        /// Hash of the bytes.
        found: String,
    },
    /// Offline, and the cache does not hold the whole model.
    #[error(
        "model {model} is not, or not whole, in the cache {}, and HF_HUB_OFFLINE forbids to fetch it; unset that or set HF_HOME",
        cache.display()
    )]
    NotCached {
        /// The model.
        model: String,
        /// The cache.
        cache: PathBuf,
    },
    /// A file in the cache has other bytes than its name says; it was cut or changed.
    #[error(
        "model {model}: {file} in the cache {} is damaged (its bytes are not those that its name stands for); `saelab model pull \
         {model}` fetches it again, where HF_HUB_OFFLINE does not forbid it",
        cache.display()
    )]
    DamagedInCache {
        /// The model.
        model: String,
        /// The file.
        file: String,
        /// The cache.
        cache: PathBuf,
    },
}
