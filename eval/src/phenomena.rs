//! Occlusion and over-splitting: two ways in which an autoencoder misrepresents features, as checks that give a score and
//! a verdict.
//!
//! Section 4.4 of Makelov, Lange, Nanda, "Towards Principled Evaluations of Sparse Autoencoders for Interpretability and
//! Control" ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). Occlusion: of two attributes in one activation, the
//! values of the one with the smaller norm get no latents. Over-splitting: one value gets many latents, each active on a
//! small subset of its prompts that nothing else distinguishes.
//!
//! | module | owns |
//! | --- | --- |
//! | [`occlusion`] | the check of a dictionary for occlusion |
//! | [`splitting`] | the check of a dictionary for over-splitting, and whether two dictionaries split alike |
//! | [`occlusion_toy`] | two sets of vectors of different norm: what training finds, when (O3, O4, dose-response) |
//! | [`splitting_toy`] | two Gaussians: what training finds (P4) |
//! | [`splitting_analytic`] | two Gaussians: what costs less, without training (P5) |
//! | [`dose_response`] | occlusion against the norm ratio |
//! | [`config`], [`job`], [`summary`] | the grids of the toys, their files, and their bars |
//! | `coverage`, `toy` | F1 of latents against values; an autoencoder in training |
//!
//! The checks are pure functions of sparse codes and labels; the toys need no model.

pub mod config;
mod coverage;
pub mod dose_response;
pub mod job;
pub mod occlusion;
pub mod occlusion_toy;
pub mod splitting;
pub mod splitting_analytic;
pub mod splitting_toy;
pub mod summary;
mod toy;

pub use config::{PhenomenaConfig, PhenomenaFile};
pub use job::{Job, Record, Records};
pub use summary::Summary;
