//! Settings of `saelab explain`.

use serde::{Deserialize, Serialize};

use crate::Error;

/// How latents are explained and how the explanations are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainFile {
    /// Seed of which latents and contexts are taken. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Latents of each dictionary and site, drawn among those that are active. Required.
    pub latents: usize,
    /// Latents of each dictionary and site that stand for a label (F1 of at least 0.8), beside those that were drawn: the scores are held
    /// against the truth over all of them, tables of dictionaries have the drawn ones alone. Default 0.
    #[serde(default)]
    pub standing: usize,
    /// Predicates that are planted on the tokens of a text of the written world, as latents whose truth is known, and as directions that
    /// hear each other. Default 0.
    #[serde(default)]
    pub planted: usize,
    /// Slices of 32 tokens that are kept of each latent and half of the documents. Default 80.
    #[serde(default = "contexts")]
    pub contexts: usize,
    /// Slices of each half that stand for all of its tokens: negatives, and what agreement is measured on. Default 400.
    #[serde(default = "probes")]
    pub probes: usize,
    /// Active slices, and inactive ones, that an explainer sees. Default 40.
    #[serde(default = "explain_examples")]
    pub explain_examples: usize,
    /// Active slices, and inactive ones, that an explanation is scored on. Default 50.
    #[serde(default = "score_examples")]
    pub score_examples: usize,
    /// Fewest active and inactive slices of either half. Default 10.
    #[serde(default = "fewest")]
    pub fewest: usize,
    /// Whether random directions as sparse as each dictionary stand beside it. Default true.
    #[serde(default = "yes")]
    pub random: bool,
    /// Resamples of an interval. Default 1000.
    #[serde(default = "resamples")]
    pub resamples: usize,
}

fn contexts() -> usize {
    80
}

fn probes() -> usize {
    400
}

fn explain_examples() -> usize {
    40
}

fn score_examples() -> usize {
    50
}

fn fewest() -> usize {
    10
}

fn yes() -> bool {
    true
}

fn resamples() -> usize {
    1000
}

/// Validated settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainConfig(ExplainFile);

impl TryFrom<ExplainFile> for ExplainConfig {
    type Error = Error;

    fn try_from(file: ExplainFile) -> Result<Self, Error> {
        let refuse = |key: &'static str, reason: &str| {
            Err(Error::Config {
                key,
                reason: reason.to_owned(),
            })
        };
        match &file {
            ExplainFile { latents: 0, .. } => refuse("latents", "is 0, there is nothing to explain"),
            ExplainFile { resamples: 0, .. } => refuse("resamples", "is 0, an interval needs some"),
            ExplainFile { fewest: 0..=5, .. } => refuse("fewest", "must be at least 6: a third of them is set aside"),
            ExplainFile { contexts, fewest, .. } if contexts < fewest => refuse("contexts", "is below `fewest`"),
            ExplainFile { probes, fewest, .. } if probes < fewest => refuse("probes", "is below `fewest`"),
            ExplainFile {
                explain_examples,
                score_examples,
                fewest,
                ..
            } if explain_examples.min(score_examples) < fewest => {
                refuse("explain_examples", "or `score_examples` is below `fewest`")
            }
            _ => Ok(Self(file)),
        }
    }
}

impl ExplainConfig {
    /// The settings.
    pub fn get(&self) -> &ExplainFile {
        &self.0
    }
}
