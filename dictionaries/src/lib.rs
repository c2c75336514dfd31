//! Dictionaries of activations: what all of them can do, sparse autoencoders as they are used, and baselines that nobody trained.
//!
//! * [`Dictionary`]: `F` directions, with an affine way from codes back to activations; [`Encoder`]: one that reads its codes from activations.
//! * [`Autoencoder`]: parameters, encode and decode of a finished sparse autoencoder or transcoder. [`Autoencoder::save`] and
//!   [`Autoencoder::load`] keep it in a folder that SAELens reads, beside an [`Origin`] that says how it was made;
//!   [`Autoencoder::read`] and [`Autoencoder::write`] do so in the [`Format`]s of other libraries.
//! * [`Rows`], [`Codes`], [`Directions`]: vectors, sparse codes and directions on the host; [`encode`], [`reconstruct`].
//! * [`read_torch`]: a file of `torch.save`, refused before it asks for more memory than it has numbers.
//! * [`baseline`]: neurons, principal components, random directions.
//!
//! Nothing here trains. Shapes: `B` rows of a batch, `N` rows on the host, `D` width of an activation, `F` latents.

mod activation;
mod architecture;
mod autoencoder;
pub mod baseline;
mod checkpoint;
mod codes;
mod dictionary;
mod error;
mod folders;
mod formats;
mod normalisation;
mod parameters;
mod rows;
mod trained;

pub use activation::{Activation, gated};
pub use architecture::Architecture;
pub use autoencoder::Autoencoder;
pub use baseline::RandomDictionary;
pub use checkpoint::Origin;
pub use codes::{Codes, Directions, dot, encode, reconstruct, sparsity_and_error};
pub use dictionary::{Dictionary, Encoder, LabelledEncoder};
pub use error::Error;
pub use formats::{Format, NamedHook, read_torch};
pub use normalisation::Normalisation;
pub use parameters::Parameters;
pub use rows::Rows;
pub use trained::{DENSE, Dominant, Summary, Trained, Variant};
