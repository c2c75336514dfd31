//! Sparse autoencoders: cached activations in, a checkpoint that is a [`activations::Dictionary`] out.
//!
//! * [`Autoencoder`]: the parameters, encode and decode; the activation function is an [`Architecture`].
//! * [`train`]: the training loop, with seeded batches and a report a step; [`Trainer`]: one step at a time.
//! * [`Autoencoder::save`], [`Autoencoder::load`]: folders that SAELens reads; [`Autoencoder::load_saelens`]: its own.
//!
//! Shapes: `B` rows of a batch, `D` width of an activation, `F` latents, `k` active latents.

mod activation;
mod architecture;
mod autoencoder;
mod checkpoint;
mod config;
mod error;
#[cfg(test)]
mod finite_differences;
#[cfg(test)]
mod fixtures;
mod parameters;
mod pass;
mod support;
mod train;
mod trainer;

pub use activation::Activation;
pub use architecture::Architecture;
pub use autoencoder::Autoencoder;
pub use checkpoint::Origin;
pub use config::{TrainConfig, TrainFile, VariantFile};
pub use error::Error;
pub use parameters::Parameters;
pub use train::{Summary, new_trainer, train};
pub use trainer::{Schedule, StepReport, Times, Trainer};
