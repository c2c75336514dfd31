//! Harvested activations: from a model and prompts (or text) to a Parquet store and back.
//!
//! Owns the names of single vectors ([`Node`]), the harvest itself ([`harvest()`]), the store's
//! format ([`store`]) and the shuffled batches that training reads ([`BatchOrder`] of rows in memory, [`Stream`] of a
//! store of any size). It knows nothing about how dictionaries are made.

pub mod config;
mod dtype;
pub mod duplicates;
mod error;
pub mod harvest;
pub mod node;
pub mod order;
pub mod store;

pub use config::{Bos, HarvestConfig, HarvestFile, Patterns, Selection, SourceConfig, SpelledSpecial};
pub use dtype::StoredDtype;
pub use duplicates::KnownVectors;
pub use error::Error;
pub use harvest::{Cost, Event, HarvestPlan, Kept, Progress, Source, harvest};
pub use node::Node;
pub use order::BatchOrder;
pub use store::{Filter, HeldOut, HookRows, Manifest, NodeRows, Part, Store, StoreWriter, Stream, StreamConfig};
