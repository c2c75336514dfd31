//! What can go wrong between a model and its stored activations.

use std::io;
use std::path::{Path, PathBuf};

use lm::HookPoint;

/// Errors of this crate: each message is one line that names the file or field, the cause, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model, its tokenizer or an artefact file failed.
    #[error(transparent)]
    Lm(#[from] lm::Error),
    /// The text could not be read or encoded.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// A file or folder of the store could not be read or changed.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The name of a node does not parse, or a node does not exist in this model.
    #[error("node {node}: {reason}")]
    Node {
        /// The node as written.
        node: String,
        /// Why it is refused, and what would be accepted.
        reason: String,
    },
    /// A hook that has no vector per position, or does not exist in this model.
    #[error("hook {hook}: {reason}")]
    Hook {
        /// The hook.
        hook: HookPoint,
        /// Why it is refused.
        reason: String,
    },
    /// A field of the harvest config, or of the plan made from it, is not usable.
    #[error("harvest: `{field}` {reason}")]
    Config {
        /// The field's name in the config file.
        field: &'static str,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// A prompt differs in length from the first one: positions of one role could not be compared.
    #[error(
        "prompt {row} has {found} tokens, the first prompt has {expected}: all prompts of a harvest must be equally long"
    )]
    UnequalLength {
        /// Index of the prompt.
        row: usize,
        /// Tokens of the first prompt.
        expected: usize,
        /// Tokens of this prompt.
        found: usize,
    },
    /// The prompts have no such semantic position.
    #[error(
        "the prompts have no role {role}: it belongs to another task; name roles (or a sites file) of the harvest's task"
    )]
    NoRole {
        /// The role.
        role: tasks::Role,
    },
    /// There is no store to read.
    #[error("{path}: {reason}; a store is made by `saelab harvest CONFIG --out FOLDER`")]
    NoStore {
        /// The folder that was named.
        path: PathBuf,
        /// Why it is no store.
        reason: String,
    },
    /// The harvest was never finished.
    #[error(
        "{path}: the harvest is not finished, it lacks {missing}; run `saelab harvest` with the same config and --out"
    )]
    Incomplete {
        /// The folder of the store.
        path: PathBuf,
        /// The first of the files that are missing, and how many more there are.
        missing: String,
    },
    /// A shard that the manifest names is not there.
    #[error("{path} is missing; run `saelab harvest` with the same config and --out to write it again")]
    MissingShard {
        /// The shard.
        path: PathBuf,
    },
    /// The manifest or the file of settings is not readable as one, or contradicts itself.
    #[error("{path} is damaged ({reason}); delete it and run `saelab harvest` with the same config and --out again")]
    BadManifest {
        /// The manifest, or the file of settings.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// The file was written by another version of the format.
    #[error("{path}: store format version {expected} expected, found {found}; delete the folder and harvest again")]
    WrongVersion {
        /// The manifest or shard.
        path: PathBuf,
        /// The version this program reads.
        expected: u32,
        /// The version found, or `none`.
        found: String,
    },
    /// The folder belongs to a harvest with other settings.
    #[error("{path} is of a harvest with other settings ({}): choose another --out, or delete the folder", differences.join("; "))]
    OtherConfig {
        /// The manifest, file of settings, or shard.
        path: PathBuf,
        /// The settings that differ, each as `key: found -> asked for`.
        differences: Vec<String>,
    },
    /// The shard was made by a harvest with other settings than those of its store.
    #[error(
        "{path} was copied here from another store ({}); run `saelab harvest` with the same config and --out to write it again",
        differences.join("; ")
    )]
    ForeignShard {
        /// The shard.
        path: PathBuf,
        /// The settings that differ, each as `key: the shard's -> the store's`.
        differences: Vec<String>,
    },
    /// The shard is one of this store, but stands in the place of another.
    #[error(
        "{path} is {found}, not the shard of that name; run `saelab harvest` with the same config and --out to write both again"
    )]
    MisplacedShard {
        /// The shard.
        path: PathBuf,
        /// Its number and hook.
        found: String,
    },
    /// The folder for output holds something else.
    #[error("{path}: {reason}; choose another --out")]
    Occupied {
        /// What is in the way.
        path: PathBuf,
        /// What it is.
        reason: String,
    },
    /// Files that this process has written are no longer there.
    #[error(
        "{path} is gone, or is not what was written there: another program has changed the folder; run the same command again"
    )]
    Vanished {
        /// The first file that is missing.
        path: PathBuf,
    },
    /// The shard is not a whole Parquet file with the columns of this format.
    #[error("{path}: not a whole shard ({reason}); delete it and run `saelab harvest` again")]
    Truncated {
        /// The shard.
        path: PathBuf,
        /// What the Parquet reader said.
        reason: String,
    },
    /// The vectors of a shard are not as wide as they should be.
    #[error("{path}: vectors of width {expected} expected, found {found}; delete the folder and harvest again")]
    WrongWidth {
        /// The shard.
        path: PathBuf,
        /// Numbers per vector expected.
        expected: usize,
        /// Numbers per vector found.
        found: usize,
    },
    /// The shard has another number of rows than the manifest says.
    #[error("{path}: {expected} rows expected, found {found}; delete it and run `saelab harvest` again")]
    WrongRows {
        /// The shard.
        path: PathBuf,
        /// Rows expected.
        expected: usize,
        /// Rows found.
        found: usize,
    },
    /// The bytes of a shard are not those that were written.
    #[error("{path}: checksum {expected:08x} expected, found {found:08x}; delete it and run `saelab harvest` again")]
    Checksum {
        /// The shard.
        path: PathBuf,
        /// CRC-32C in the manifest or footer.
        expected: u32,
        /// CRC-32C of the bytes.
        found: u32,
    },
    /// A vector holds a number that the store's type cannot hold: a NaN, an infinity, or one that is too large.
    #[error(
        "{path}: vector {row} holds {value}, which {dtype} cannot hold; check the model's weights, or use another dtype"
    )]
    NonFinite {
        /// The folder of the hook.
        path: PathBuf,
        /// Index of the vector in the store's source order.
        row: usize,
        /// The number.
        value: f32,
        /// Name of the type.
        dtype: &'static str,
    },
    /// The store does not hold what was asked for.
    #[error("{path} does not hold {wanted}; it holds {available}; add it to the harvest config and harvest again")]
    NotInStore {
        /// The store's folder.
        path: PathBuf,
        /// The node or hook asked for.
        wanted: String,
        /// What there is.
        available: String,
    },
    /// Rows reached the writer that do not follow the rows before.
    #[error("{hook}: row {expected} of the store must come next, row {found} came")]
    OutOfOrder {
        /// The hook.
        hook: HookPoint,
        /// The row that is missing.
        expected: usize,
        /// The row that came.
        found: usize,
    },
    /// Values do not form the batches that were asked for.
    #[error("batches: {reason}")]
    Stream {
        /// What is wrong and what is accepted.
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
