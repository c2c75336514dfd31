//! Harvested activations: from a model and prompts (or text) to a Parquet store and back, and the [`Dictionary`] trait.
//!
//! Owns the names of single vectors ([`Node`]), the store's format ([`store`]), the harvest itself ([`harvest()`]) and
//! the shuffled batches that training reads ([`BatchOrder`]). It knows nothing about how dictionaries are made.

pub mod config;
pub mod dictionary;
mod error;
pub mod harvest;
pub mod node;
pub mod order;
pub mod store;

pub use config::{HarvestConfig, HarvestFile, Selection, SourceConfig};
pub use dictionary::Dictionary;
pub use error::Error;
pub use harvest::{HarvestPlan, Progress, Source, harvest, read_documents, text_windows};
pub use node::Node;
pub use order::BatchOrder;
pub use store::{HookRows, Manifest, NodeRows, Store, StoreWriter};
