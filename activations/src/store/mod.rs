//! The store: activations as Parquet files that pandas, polars and pyarrow open without help.
//!
//! ```text
//! STORE/manifest.json                        written last: a folder without it is an unfinished harvest
//! STORE/blocks.3.attn.hook_z/00000.parquet   one folder per hook, one shard per `rows_per_shard` vectors
//! ```
//!
//! One row of a shard is one vector, with where it came from ([`Row`]). For `q`, `k`, `v`, `z` the vector holds all heads
//! side by side; the reader cuts out the head. Every shard names model, tokenizer and config by hash in its footer and
//! carries a hash of its content, so that a harvest that was interrupted can tell which shards are whole.
//!
//! The `activation` column is a fixed-size list of f32, not fixed-size binary: the binary form is written faster, but a
//! reader outside this project would have to know how to cut it into numbers.

mod manifest;
mod reader;
mod schema;
mod shard;
mod writer;

pub use manifest::{HookEntry, MANIFEST_FILE, Manifest, Provenance, ShardEntry};
pub use reader::{HookRows, NodeRows, Store};
pub use schema::Row;
pub use shard::FORMAT_VERSION;
pub use writer::{HookShape, Layout, StoreWriter};
