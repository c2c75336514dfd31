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
//! | [`coverage`] | F1 of latents against values |
//!
//! The checks are pure functions of sparse codes and labels. Toys that show when training does this are in the crate `toys`.

pub mod coverage;
pub mod occlusion;
pub mod splitting;
