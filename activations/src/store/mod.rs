//! The store: activations as Parquet files that pandas, polars, pyarrow and DuckDB open.
//!
//! ```text
//! STORE/harvest.json                         written first: the settings of the harvest that the folder belongs to
//! STORE/tokens.parquet                       the tokens of every sequence that the model read
//! STORE/manifest.json                        written last: a folder without it is an unfinished harvest
//! STORE/blocks.3.attn.hook_z/00000.parquet   one folder per hook, one shard per `rows_per_shard` vectors
//! ```
//!
//! One row of a shard is one vector, with where it came from ([`Row`]). For `q`, `k`, `v`, `z` the vector holds all heads
//! side by side; the reader cuts out the head. Column `row` is the number of the sequence in `tokens.parquet`. All hooks of a store have the same rows in the same order. Every shard says
//! in its footer which one it is (settings of the harvest, hook, number) and carries checksums of its content, so that a harvest
//! that was interrupted can tell which shards are whole and in their places.
//!
//! The `activation` column is fixed-size binary, plain and uncompressed: of the layouts in `examples/layouts.rs` it is the
//! fastest to write and to read, by far. [`export_lists`] gives the numeric form to readers that want one.
//!
//! * [`StoreWriter`]: shuffles rows over a window and writes the shards that are missing.
//! * [`Store`]: all rows of a node or hook, in memory.
//! * [`StoredWindows`]: the tokens around each row.
//! * [`Stream`]: shuffled batches of a store of any size, read ahead by a thread.

mod claim;
mod export;
mod folder;
mod hashed;
mod held_out;
mod layout;
mod live;
mod manifest;
mod open_shard;
mod pool;
mod reader;
mod schema;
mod shard;
mod statistics;
mod stream;
mod tokens;
mod writer;

pub use claim::SETTINGS_FILE;
pub use export::export_lists;
pub use held_out::{HeldOut, Unit};
pub use layout::{HookShape, Layout, Part, Shuffle};
pub(crate) use live::MakeShards;
pub(crate) use manifest::shard_file;
pub use manifest::{Files, HookEntry, MANIFEST_FILE, Manifest, Provenance, ShardEntry};
pub use reader::{HookRows, NodeRows, Store};
pub use schema::Row;
pub(crate) use shard::ShardData;
pub use shard::{FORMAT_VERSION, ROW_GROUP_ROWS};
pub use statistics::Statistics;
pub use stream::{Batch, Filter, Stream, StreamConfig, Throughput};
pub use tokens::{StoredWindows, TOKENS_FILE, TokenWindow, TokenWindows, TokensEntry};
pub use writer::{StoreWriter, Wanted};
