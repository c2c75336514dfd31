//! What learned masks come to: `masks.json`.

use crate::masks::MasksConfig;
use crate::report::{Comparison, DictionaryFacts, FamilyMean, Score};
use causal::Clean;
use causal::site::Site;
use serde::Serialize;
use tasks::TaskName;

/// Version of the layout of `masks.json`.
pub(super) const FORMAT_VERSION: u32 = 1;

/// File name of the report.
pub const FILE: &str = "masks.json";

/// Name of the exchange of nothing.
pub(super) const NOTHING: &str = "none";

/// Name of the exchange of the whole activation.
pub(super) const EVERYTHING: &str = "whole-activation";

/// Name of the family of learned directions.
pub(super) const DAS: &str = "das";

/// Everything that masks at sites were found to do. It holds only what config, seed, model and data determine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Masks {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The task.
    pub task: TaskName,
    /// The settings.
    pub config: MasksConfig,
    /// Hash of the model.
    pub model: String,
    /// The sites.
    pub sites: Vec<Site>,
    /// The undisturbed model on the prompts that masks are scored on.
    pub clean: Clean,
    /// The dictionary sets, and the learned directions.
    pub dictionaries: Vec<DictionaryFacts>,
    /// Success, isolation, score and size of each mask.
    pub scores: Vec<Score>,
    /// Differences of families in score, over sites and attributes.
    pub comparisons: Vec<Comparison>,
    /// Means of the families.
    pub means: Vec<FamilyMean>,
}
