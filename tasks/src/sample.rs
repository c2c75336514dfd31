//! The four samples that prompts are dealt to.

use serde::{Deserialize, Serialize};

/// A sample of prompts, disjoint from the other three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    /// For fitting dictionaries: all names.
    Train,
    /// For measuring edits: names of the first half only, so that counterfactual names never clash.
    Evaluation,
    /// For measuring what latents respond to: all names.
    Interpretability,
    /// For finding sites: names of the first half only.
    Locate,
}

impl Sample {
    /// All samples.
    pub const ALL: [Self; 4] = [Self::Train, Self::Evaluation, Self::Interpretability, Self::Locate];

    /// Whether prompts use the names of the first half only.
    pub(crate) fn is_halved(self) -> bool {
        matches!(self, Self::Evaluation | Self::Locate)
    }
}
