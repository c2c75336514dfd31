//! Files of every stage: whole or not at all, identified by SHA-256, tensors by name.
//!
//! * [`write_atomic`], [`write_together`], [`write_new`]: files that appear whole. [`temporary`] owns what they are called until
//!   then and what becomes of that when a process ends.
//! * [`Lock`], [`LockFile`]: one process at a time. [`HeldFolder`]: a folder that must still be there at the end.
//! * [`sha256_hex`], [`sha256_file`], [`Sha256Hex`]: hashes, by which artefacts name each other.
//! * [`read_json`], [`write_json`], [`json_differences`]: settings, and which of them differ.
//! * [`HostTensor`], [`read_tensors`], [`write_tensors`]: safetensors files at once; [`SafetensorsFile`]: piece by piece.
//! * [`caught`]: calls into libraries that panic on some files.
//!
//! This crate knows nothing of models, activations or dictionaries.

mod error;
mod files;
mod guard;
mod hash;
mod held_folder;
mod json;
mod lock;
mod safetensors_file;
pub mod temporary;
mod tensors;

pub use error::Error;
pub use files::{
    prepared, read, remove_file, remove_folder, write_atomic, write_new, write_new_unsynced, write_together, written,
};
pub use guard::caught;
pub use hash::{Sha256Hex, digest_file, sha256_file, sha256_hex};
pub use held_folder::HeldFolder;
pub use json::{json_differences, read_json, rounded, write_json};
pub use lock::{Lock, LockFile, Locking, Sharing};
pub use safetensors_file::SafetensorsFile;
pub use temporary::{TemporaryFolder, end_temporaries, remove_leftovers};
pub use tensors::{
    HostTensor, WithMetadata, read_integers, read_tensors, read_with_metadata, tensor_bytes, words, write_tensors,
};
