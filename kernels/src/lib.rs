//! Tensor kernels shared by all stages, and the only library that names a burn backend.
//!
//! * [`matmul`]: the dense matrix product of the language model and of the autoencoders.
//! * [`top_k_mask`], [`top_k`]: exact row-wise selection, deterministic at ties.
//! * [`Adam`]: Adam and AdamW whose state can be read, reset and stored.
//! * [`random`]: seeded host-side randomness; no tensor is ever drawn from a device's global generator.
//! * [`cpu`], [`from_vec`], [`to_vec`]: the CPU device and the way between host memory and tensors.
//!
//! Shapes: `B` rows, `F` latents.

mod adam;
mod host;
mod matmul;
pub mod random;
mod select;

pub use adam::{Adam, AdamConfig, Moments};
pub use host::{cpu, from_vec, to_vec};
pub use matmul::matmul;
pub use select::{top_k, top_k_mask};
