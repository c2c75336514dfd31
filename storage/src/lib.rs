//! Files at `s3://`, `gs://`, `az://` and `https://`, as local files.
//!
//! Readers and writers of the program work on local paths. So a [`Location`] that a command names is a folder or file of a local
//! cache: [`Storage::open`] makes it what is there, a thread puts what the command writes as it appears, and [`Storage::finish`] puts the
//! rest. The bucket is the truth: what a killed process had not put is forgotten, and who goes on, here or elsewhere, goes on from what
//! is in the bucket.
//!
//! * Nothing is seen before it is whole: an object appears at once, and files that belong together end with a seal (`pass.rs`).
//! * Two writers of the same bytes are harmless; one that would replace bytes which it has not seen is refused, where the store has
//!   conditional puts.
//! * Requests that meet 429, 5xx or a lost connection are tried again (object_store), and so is the piece of work around them.
//! * Objects carry the SHA-256 of their bytes, which is compared when they come back.
//!
//! The trait over kinds of stores is object_store's; what is not local is asked through a runtime on one thread, which is started with
//! the first location. [`process`] holds the storage of a program.

mod bucket;
mod cache;
mod connect;
mod error;
mod get;
mod location;
mod mirror;
mod pass;
pub mod process;
mod put;
mod records;
mod secrets;
mod storage;

pub use error::Error;
pub use location::{Location, Scheme};
pub use mirror::{Fetched, Use};
pub use pass::Put;
pub use storage::{Names, Storage};
