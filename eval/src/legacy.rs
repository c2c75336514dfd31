//! What published code does and this crate does not, by name: asked for in a config, it shows what it did to a figure.
//!
//! The code is that of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)) and of its follow-up. A
//! report says which of these it was made with; its figures are then no measure of the dictionaries.

use serde::{Deserialize, Serialize};

/// A behaviour of the published code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Legacy {
    /// Greedy edits turn each candidate back to raw units with the mean of the activations, so that every pick adds it and
    /// the first one has to ([`crate::control::mean_per_candidate()`]).
    MeanPerCandidate,
    /// Guided edits rank latents on the prompts that are edited, in which no counterfactual name occurs; the order against
    /// such a name is that of the latents.
    RankOnEdited,
    /// Sufficiency is a ratio of absolute values, however small its denominator.
    AbsoluteRatios,
}
