//! How edges are scored: the methods and their settings.

use serde::{Deserialize, Serialize};
use strum::{VariantArray, VariantNames};

use crate::{Error, Metric};

/// How edges are scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::Display, strum::EnumString, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Method {
    /// Edge attribution patching: the gradient of the clean run.
    Eap,
    /// Its mean along the straight line between the token embeddings of the corrupted and the clean prompt.
    #[default]
    EapIgInputs,
    /// Its mean over runs in which one group of sources (the input, all heads of a layer, an MLP) is between its corrupted and its
    /// clean output, and everything else is clean; as published, every run counts for every edge.
    EapIgActivations,
    /// The same, where a run counts for the edges out of its own group only.
    EapIgActivationsMended,
    /// The mean of the gradients of the clean and of the corrupted run.
    CleanCorrupted,
    /// Relevance patching (arXiv 2508.21258): the clean run, propagated backwards by rules in place of gradients. Norms divide by a
    /// constant, activation functions multiply by one, a product of two shares what arrives equally. Queries and keys have gradients.
    Relp,
    /// Relevance patching where attention patterns are constants too, so that edges into queries and keys score 0.
    RelpFrozenPatterns,
    /// Information flow routes (arXiv 2403.00824): how much nearer a destination's input is to zero without the source, as a share of
    /// that of all sources. It knows neither the corrupted prompt nor the answer.
    InformationFlow,
    /// Exact patching: one run for each edge.
    Exact,
}

/// Which points of the line are taken; the clean prompt lies at 1, the corrupted one at 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grid {
    /// `k / m` for `k = 1..m`, which ends at the clean prompt: the paper's.
    #[default]
    Paper,
    /// `k / m` for `k = 0..m-1`, which begins at the corrupted one: that of the code published later.
    Later,
}

/// What the output of a source becomes when an edge is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Ablation {
    /// What it is on the corrupted prompt.
    #[default]
    Counterfactual,
    /// Nothing.
    Zero,
    /// Its mean over all positions of all clean prompts.
    Mean,
}

/// How scores are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreOptions {
    /// The method.
    pub method: Method,
    /// Points of the line, `m`; of the methods that have one.
    pub steps: usize,
    /// Which points, of EAP-IG on inputs.
    pub grid: Grid,
    /// What a cut edge carries.
    #[serde(default)]
    pub ablation: Ablation,
    /// What is measured.
    pub metric: Metric,
    /// Pairs of a batch.
    pub batch: usize,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            steps: 5,
            grid: Grid::default(),
            ablation: Ablation::default(),
            metric: Metric::default(),
            batch: 16,
        }
    }
}

impl ScoreOptions {
    /// Checks that the settings go together.
    ///
    /// # Errors
    ///
    /// No steps; an ablation that the method has no use for.
    pub fn check(&self) -> Result<(), Error> {
        if self.steps == 0 {
            return Err(Error::Setting("`steps` is 0: take at least one".to_owned()));
        }
        if self.ablation != Ablation::Counterfactual && !self.method.ablates() {
            let methods = <Method as VariantArray>::VARIANTS
                .iter()
                .filter(|method| method.ablates());
            return Err(Error::Setting(format!(
                "`ablation` is {}, but {} needs the corrupted prompt: take counterfactual, or one of {}",
                self.ablation,
                self.method,
                methods.map(ToString::to_string).collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(())
    }
}

impl Method {
    /// Whether a source can be cut to something else than its corrupted output: not where the corrupted run itself is taken, and not
    /// where nothing is cut.
    pub fn ablates(self) -> bool {
        !matches!(self, Self::EapIgInputs | Self::CleanCorrupted | Self::InformationFlow)
    }

    /// Whether gradients are propagated by the rules of relevance patching.
    pub(crate) fn is_relp(self) -> bool {
        matches!(self, Self::Relp | Self::RelpFrozenPatterns)
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownName {
        what: "method",
        found: name.to_owned(),
        known: format!("use one of {}", <Method as VariantNames>::VARIANTS.join(", ")),
    }
}
