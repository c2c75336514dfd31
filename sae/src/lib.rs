//! Training of sparse autoencoders: cached activations in, a finished [`dictionaries::Autoencoder`] out.
//!
//! * [`Grid`]: many autoencoders trained on one stream of batches; [`Grid::save`] and [`Grid::resume`] in between,
//!   [`Grid::finish`] at the end.
//! * [`Trainer`]: one step of one autoencoder of a [`dictionaries::Architecture`].
//! * [`TrainConfig`]: what is trained, and how.
//!
//! Shapes: `B` rows of a batch, `D` width of an activation, `F` latents, `k` active latents.

mod apply;
mod architecture;
mod batch;
mod config;
mod control;
mod encoding;
mod error;
mod finish;
#[cfg(test)]
mod finite_differences;
#[cfg(test)]
mod fixtures;
mod gradients;
mod grid;
mod measurement;
mod pass;
mod report;
mod resample;
mod rows;
mod schedule;
mod silence;
mod state;
mod steps;
mod support;
mod survey;
mod trainer;
mod workers;

pub use batch::Batch;
pub use config::{OneOrMany, TrainConfig, TrainFile, VariantFile};
pub use error::Error;
pub use finish::{Finished, Parts};
pub use grid::{Grid, are_side_by_side, train};
pub use report::{Outcome, StepReport, Times};
pub use rows::{Rows, Split};
pub use schedule::Schedule;
pub use state::{Checkpoints, Resumed};
pub use trainer::{Start, Trainer};
