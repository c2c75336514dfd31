//! Sparse autoencoders: cached activations in, a checkpoint that is a [`activations::Dictionary`] out.
//!
//! * [`Autoencoder`]: the parameters, encode and decode; how its codes become sparse is its [`Activation`].
//! * [`Grid`]: many autoencoders trained on one stream of batches; [`Grid::save`] and [`Grid::resume`] in between,
//!   [`Grid::finish`] at the end.
//! * [`Trainer`]: one step of one autoencoder of an [`Architecture`].
//! * [`Autoencoder::save`], [`Autoencoder::load`]: folders that SAELens reads; [`Autoencoder::read`], [`Autoencoder::write`]:
//!   those of other libraries.
//!
//! Shapes: `B` rows of a batch, `D` width of an activation, `F` latents, `k` active latents.

mod activation;
mod apply;
mod architecture;
mod autoencoder;
mod checkpoint;
mod config;
mod control;
mod encoding;
mod error;
mod finish;
#[cfg(test)]
mod finite_differences;
#[cfg(test)]
mod fixtures;
mod formats;
mod gradients;
mod grid;
mod normalisation;
mod parameters;
mod pass;
mod report;
mod resample;
mod rows;
mod schedule;
mod silence;
mod state;
mod summary;
mod support;
mod survey;
mod trainer;

pub use activation::Activation;
pub use architecture::Architecture;
pub use autoencoder::Autoencoder;
pub use checkpoint::{Origin, Trained};
pub use config::{OneOrMany, TrainConfig, TrainFile, Variant, VariantFile};
pub use error::Error;
pub use finish::{Finished, Parts};
pub use formats::{Format, NamedHook};
pub use grid::{Grid, train};
pub use normalisation::Normalisation;
pub use parameters::Parameters;
pub use pass::Batch;
pub use report::{Outcome, StepReport, Times};
pub use rows::{Rows, Split};
pub use schedule::Schedule;
pub use state::{Checkpoints, Resumed};
pub use summary::Summary;
pub use survey::Dominant;
pub use trainer::{Start, Trainer};
