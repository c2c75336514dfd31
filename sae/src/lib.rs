//! Sparse autoencoders: cached activations in, a checkpoint that is a [`activations::Dictionary`] out.
//!
//! * [`Autoencoder`]: the parameters, encode and decode; the activation function is an [`Architecture`].
//! * [`train`]: the training loop on burn's autodiff, with seeded batches and a report a step.
//! * [`Autoencoder::save`], [`Autoencoder::load`]: `sae.safetensors` with SAELens's tensor names, and `config.json`.
//!
//! Shapes: `B` rows of a batch, `D` width of an activation, `F` latents, `k` active latents.

mod architecture;
mod autoencoder;
mod checkpoint;
mod config;
mod error;
mod relu;
mod topk;
mod train;

pub use architecture::Architecture;
pub use autoencoder::Autoencoder;
pub use checkpoint::Origin;
pub use config::{TrainConfig, TrainFile, VariantFile};
pub use error::Error;
pub use train::{StepReport, Summary, train};
