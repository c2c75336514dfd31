//! Toys of occlusion and over-splitting: when training finds the wrong features.
//!
//! Section 4.4 of Makelov, Lange, Nanda, "Towards Principled Evaluations of Sparse Autoencoders for Interpretability and
//! Control" ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). They need no model; the checks of dictionaries for the same
//! two phenomena are [`eval::phenomena`].
//!
//! | module | owns |
//! | --- | --- |
//! | [`occlusion`] | two sets of vectors of different norm: what training finds, when (O3, O4) |
//! | [`dose_response`] | occlusion against the norm ratio |
//! | [`splitting`] | two Gaussians: what training finds (P4) |
//! | [`splitting_analytic`] | two Gaussians: what costs less, without training (P5) |
//! | [`config`], [`job`], [`summary`] | the grids of the toys, their files, and their bars |
//! | `toy` | an autoencoder in training |

pub mod config;
pub mod dose_response;
mod error;
pub mod job;
pub mod occlusion;
pub mod splitting;
pub mod splitting_analytic;
pub mod summary;
mod toy;

pub use config::{PhenomenaConfig, PhenomenaFile};
pub use error::Error;
pub use job::{Job, Record, Records};
pub use summary::Summary;
