//! The stages of an experiment as functions over a run: what `saelab` does, without its command line.
//!
//! A stage is a module with `Settings`, a function `run(settings, context)`, and what it found ([`Outcome`]). It reads and writes the folders
//! of a run ([`run_folder::RunFolder`]), says before it begins what it will cost, and leaves beside every artefact what made it
//! ([`made::Made`]). It prints nothing: whoever calls it is told through a [`Reporter`].
//!
//! In the order of the data:
//!
//! * [`pretrain`], [`verify_model`]: a small model; whether a model computes what another implementation did.
//! * [`locate`], [`harvest`]: sites of a task; a store of activations.
//! * [`fit`], [`train`]: supervised dictionaries; sparse autoencoders. [`submit`] and [`status`]: both on a cluster.
//! * [`eval`], [`masks`], [`compare`], [`reproduce`]: scores on a task, and which differences are real.
//! * [`splice`], [`truth`], [`probe`], [`quality`]: scores on running text and on the written world.
//! * [`explain`], [`find`], [`circuit`], [`report`]: explanations, circuits, pages.
//! * [`phenomena`], [`synthetic`]: experiments without a model.

#[macro_use]
mod error;
mod context;
mod outcome;
mod reporter;

mod baselines;
pub mod circuit;
pub mod compare;
mod compare_spliced;
pub mod config;
mod dictionary_sets;
mod estimate;
pub mod eval;
pub mod explain;
pub mod find;
mod finished_notes;
pub mod fit;
pub mod harvest;
mod held_out_file;
pub mod hook_autoencoders;
mod identity;
pub mod interrupt;
pub mod language_model;
mod left_out;
pub mod locate;
pub mod made;
pub mod masks;
mod metrics;
mod misfit;
mod opened_run;
pub mod phenomena;
mod picture;
pub mod pretrain;
pub mod probe;
pub mod quality;
pub mod report;
pub mod reproduce;
pub mod run_folder;
mod same_dictionaries;
mod share;
pub mod splice;
mod splice_table;
mod standing_report;
pub mod status;
pub mod submit;
pub mod synthetic;
pub mod train;
mod train_share;
mod train_site;
mod training_cost;
mod training_folder;
mod training_log;
mod training_rows;
mod training_site;
mod training_source;
pub mod truth;
pub mod usage;
pub mod verify_model;
mod wording;

pub use config::{ConfigError, ConfigFile};
pub use context::Context;
pub use error::{Error, Misplaced, Result};
pub use outcome::Outcome;
pub use reporter::{Bar, Reporter, Silent};
