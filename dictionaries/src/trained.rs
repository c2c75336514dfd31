//! How an autoencoder was trained and how it turned out: the record that stands beside its weights.

use lm::HookPoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Architecture;

/// How an autoencoder was trained, and how it turned out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// What it was trained as.
    pub variant: Variant,
    /// The node, or the hook, whose activations it was trained on.
    pub site: String,
    /// Hash of the store that held them.
    pub parent: String,
    /// Hash of the model that they are of.
    pub model: String,
    /// Name of the model on the Hugging Face hub, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// Settings of the harvest of the activations, as the store's manifest has them: text, context, token at the beginning.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub harvest: serde_json::Value,
    /// Hash of the settings it was trained with (`sae::TrainConfig::hash`).
    pub config: String,
    /// These settings (`sae::TrainConfig::settings`).
    pub settings: Value,
    /// Measured at the end.
    pub summary: Summary,
}

/// One autoencoder of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// Name of the dictionary in run folders and reports.
    pub name: String,
    /// What it is trained as.
    pub architecture: Architecture,
    /// Seed of its weights.
    pub seed: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// What it reconstructs when it is not its inputs.
    pub target: Option<HookPoint>,
    /// Active latents of a row that the weight of its penalty is to come to. Written only where there is such a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l0: Option<f64>,
    /// How many times the architecture's `k` latents are active at first. Written only where it is more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anneal_k: Option<f64>,
    /// Whether its decoder rows are random and stay so. Written only where it is so: what was trained before there was
    /// such a thing keeps its hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen_decoder: bool,
}

/// A latent that is active on a larger share of the rows is dense.
pub const DENSE: f64 = 0.1;

/// How well an autoencoder reconstructs, and with how much.
///
/// `x` is what is to be reconstructed, `e = x - x̂`, `x̄` the mean of the measured rows; sums run over rows and dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Fraction of variance unexplained: `sum e² / sum (x - x̄)²`; none of rows that are all the same.
    pub fvu: Option<f64>,
    /// Mean over rows of `|e|² / |x - x̄|²`, as older tools report it; rows that equal the mean are left out. A few long rows
    /// do not decide it.
    pub fvu_per_token: Option<f64>,
    /// `sum e² / sum x²`.
    pub fvu_uncentred: Option<f64>,
    /// Mean over rows of the cosine between `x` and `x̂`.
    pub cosine: f64,
    /// Mean number of active latents of a row.
    pub l0: f64,
    /// Share of latents that no row activates, held out or not; rows marked as special do not count. Of the rows that a streamed
    /// training was trained on its sample is looked at.
    pub dead: f64,
    /// Share of latents that more than [`DENSE`] of the measured rows activate.
    pub dense: f64,
    /// Rows that all but `dead` were measured on.
    pub rows: usize,
    /// Whether these rows were held out. False where nothing was: then they are the rows that were trained on.
    pub held_out: bool,
    /// Rows that were looked at, measured or not.
    pub all_rows: usize,
    /// Those of them whose `|x|` is more than ten times the median.
    pub long_rows: usize,
    /// Share of `sum (x - x̄)²` that the longest thousandth of the measured rows carries.
    pub largest_variance: Option<f64>,
    /// Share of `sum e²` that they carry.
    pub largest_error: Option<f64>,
    /// A dimension whose mean outweighs that of all others and lies far from 0: then `fvu_uncentred` and `cosine` are near their
    /// best without a single latent.
    pub dominant: Option<Dominant>,
}

/// The dimension whose mean outweighs those of all others together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dominant {
    /// The dimension, from 0.
    pub dimension: usize,
    /// Its share of the squared length of the mean.
    pub share: f64,
    /// Its mean in standard deviations: the root of the mean variance of a dimension.
    pub deviations: f64,
}
