//! What can go wrong with models, tokenizers and files.

use std::path::{Path, PathBuf};

use crate::Dtype;

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
        cause: std::io::Error,
    },
    /// A file could not be written; nothing was left under its name.
    #[error("cannot write {}: {cause}; {}, then run again", path.display(), advice(cause))]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause; part of the message, so not given again as its source.
        cause: std::io::Error,
    },
    /// A folder without a tokenizer.
    #[error("{} holds neither tokenizer.json nor vocab.json with merges.txt; is it the folder of a model?", path.display())]
    NoTokenizer {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what its name says: truncated, or in another format.
    #[error("{} is damaged or not of the expected format: {reason}; make or fetch it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A GGUF file that is whole, and holds what is not supported.
    #[error("{} cannot be used: {reason}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What it holds, and what would be accepted.
        reason: String,
    },
    /// A checkpoint of [`crate::train::Trainer`] that cannot be continued.
    #[error("{} is no whole checkpoint of this training: {reason}; copy it back, or remove it to begin the training again", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A field of the model's `config.json` asks for a computation that this forward pass does not have.
    #[error("{}: `{field}` is {found}, supported is {supported}; this model cannot be run", path.display())]
    Unsupported {
        /// The configuration file.
        path: PathBuf,
        /// The field.
        field: String,
        /// Its value.
        found: String,
        /// What would be accepted.
        supported: &'static str,
    },
    /// A type of weights that does not exist.
    #[error("`{name}` is no type of weights; expected f32, bf16 or f16")]
    Dtype {
        /// What was asked for.
        name: String,
    },
    /// A type of weights that the device does not multiply.
    #[error("this device does not multiply numbers of type {dtype}; load the model in f32")]
    DtypeOfDevice {
        /// The type.
        dtype: Dtype,
    },
    /// A folder without weights that are read here.
    #[error("{}", no_weights(path, *found))]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// Weights of another format that it holds.
        found: Option<&'static str>,
    },
    /// A file of the weights is not there.
    #[error("{} names {shard}, which is not there beside it; fetch or copy that file too", path.display())]
    MissingShard {
        /// The index.
        path: PathBuf,
        /// The file that it names.
        shard: String,
    },
    /// The configuration and the weights are of models of other depth.
    #[error("{}: it holds {found} blocks, but config.json tells of {expected}; the two files do not belong together", path.display())]
    Blocks {
        /// The weights file.
        path: PathBuf,
        /// Blocks that the configuration calls for.
        expected: usize,
        /// Blocks of which the weights file holds any tensor.
        found: usize,
    },
    /// Weights that the configuration calls for are not there.
    #[error("{}: missing tensors: {}; the file is incomplete or belongs to another configuration", path.display(), few(names))]
    MissingTensors {
        /// The weights file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// The weights file holds tensors that a model of this family does not have.
    #[error("{}: unexpected tensors: {}; the file belongs to another configuration", path.display(), few(names))]
    UnexpectedTensors {
        /// The weights file.
        path: PathBuf,
        /// Their names.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration calls for.
    #[error("{}: `{name}` has shape {found:?}, expected {expected:?} from config.json", path.display())]
    Shape {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The shape that the configuration calls for.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// Rows of one batch differ in length.
    #[error("row {row} has {found} tokens but row 0 has {expected}; one batch needs rows of equal length")]
    UnequalRows {
        /// The first row that differs.
        row: usize,
        /// Tokens of row 0.
        expected: usize,
        /// Tokens of that row.
        found: usize,
    },
    /// A batch without rows or tokens.
    #[error("a batch needs at least one row with at least one token")]
    EmptyBatch,
    /// More tokens than the model has positions.
    #[error("a row has {found} tokens but the model has {n_ctx} positions; use shorter texts")]
    TooLong {
        /// Tokens of the row.
        found: usize,
        /// The model's number of positions.
        n_ctx: usize,
    },
    /// A token id outside the model's vocabulary: the tokenizer belongs to another model.
    #[error("token id {found} is outside the model's vocabulary of {d_vocab}; the tokenizer does not fit the model")]
    UnknownToken {
        /// The id.
        found: u32,
        /// Size of the vocabulary.
        d_vocab: usize,
    },
    /// A string that names no hook.
    #[error("`{found}` is not a hook; there are {known}")]
    UnknownHook {
        /// The string.
        found: String,
        /// The hooks there are.
        known: String,
    },
    /// A hook request that does not fit the model or was not captured.
    #[error("hook {hook}: {reason}")]
    Hook {
        /// The hook.
        hook: String,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer could not be loaded or applied.
    #[error("tokenizer {}: {reason}", path.display())]
    Tokenizer {
        /// Its file or folder.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// What can be no name or revision of a model on the hub.
    #[error("`{found}` is no {what} of a model on the Hugging Face hub; expected {expected}")]
    HubName {
        /// Name or revision.
        what: &'static str,
        /// As it was given.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// An environment variable of the hub cannot be meant; its value may be a credential and is not repeated.
    #[error("{variable} {reason}")]
    HubSetting {
        /// The variable.
        variable: &'static str,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// The hub, or a host that it sent us to, refuses or does not answer as a hub does.
    #[error("model {model}: {host} {reason}")]
    Hub {
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
    HubBroken {
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
    HubHash {
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
    /// Training cannot go on.
    #[error("training: {0}")]
    Training(String),
}

/// The first of many names, and how many there are besides.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let first = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// What a folder without weights holds instead.
fn no_weights(path: &Path, found: Option<&str>) -> String {
    let folder = path.display();
    match found {
        Some(found) => format!(
            "{folder} holds its weights as {found}, which is not read; save the model as safetensors there (in Python: \
             AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder))"
        ),
        None => format!(
            "{folder} holds neither model.safetensors nor model.safetensors.index.json; is it the folder of a model?"
        ),
    }
}

/// What helps against a failure to write.
fn advice(cause: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match cause.kind() {
        StorageFull | QuotaExceeded => "free some space or choose another folder",
        FileTooLarge => "choose a disk that takes larger files, or raise the limit (ulimit -f)",
        PermissionDenied | ReadOnlyFilesystem => "choose a folder that you may write to",
        _ => "choose another folder",
    }
}
