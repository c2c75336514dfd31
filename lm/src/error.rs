//! What can go wrong with models.

use std::path::{Path, PathBuf};

use crate::Dtype;

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
    /// A checkpoint of [`crate::train::Pretrainer`] that cannot be continued.
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
    #[error("`{found}` is not a hook; did you mean `{nearest}`? There are {known}")]
    UnknownHook {
        /// The string.
        found: String,
        /// The hook with the most similar name.
        nearest: String,
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
