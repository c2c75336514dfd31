//! What an evaluation reports: `report.json` and `scores.parquet`.
//!
//! The report holds only what config, seed, model and data determine: no time, host, path or folder name, so the same
//! run gives the same bytes. One row of `scores` is one number on one of the three axes of Makelov, Lange, Nanda
//! ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)).
//!
//! Shape legend: `N` prompts.

use crate::Error;
use crate::config::EvalConfig;
use crate::site::Site;
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt64Array};
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tasks::Attribute;

/// Version of the layout of `report.json` and `scores.parquet`.
pub const FORMAT_VERSION: u32 = 1;

/// Name of the baseline that edits nothing.
pub const NONE: &str = "none";

/// Name of the baseline that replaces every activation by the mean over the prompts.
pub const MEAN_ABLATION: &str = "mean-ablation";

/// Name of the baseline latent that is active on every prompt.
pub const ALWAYS_ON: &str = "always-on";

/// The three axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Does the model work on reconstructions?
    Approximation,
    /// Can attributes be exchanged?
    Control,
    /// Do latents coincide with attributes?
    Interpretability,
}

/// What a score measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Logit difference on reconstructions over the clean one.
    Sufficiency,
    /// Harm done by removing the reconstruction, as a share of the harm done by mean ablation.
    Necessity,
    /// Mean number of active latents, over prompts and nodes.
    L0,
    /// Share of prompts whose prediction under the edit is that under the ground-truth patch.
    EditAccuracy,
    /// Mean weight of the removed or changed latents in the clean reconstruction.
    EditMagnitude,
    /// Mean over predicates of the F1 of the best latent.
    F1,
    /// Precision of the same latents.
    Precision,
    /// Recall of the same latents.
    Recall,
}

impl Metric {
    /// The axis that the metric belongs to.
    pub fn test(self) -> Test {
        match self {
            Self::Sufficiency | Self::Necessity | Self::L0 => Test::Approximation,
            Self::EditAccuracy | Self::EditMagnitude => Test::Control,
            Self::F1 | Self::Precision | Self::Recall => Test::Interpretability,
        }
    }
}

impl fmt::Display for Test {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Approximation => "approximation",
            Self::Control => "control",
            Self::Interpretability => "interpretability",
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Sufficiency => "sufficiency",
            Self::Necessity => "necessity",
            Self::L0 => "l0",
            Self::EditAccuracy => "edit_accuracy",
            Self::EditMagnitude => "edit_magnitude",
            Self::F1 => "f1",
            Self::Precision => "precision",
            Self::Recall => "recall",
        })
    }
}

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Name of the dictionary set, or of a baseline: [`NONE`], [`MEAN_ABLATION`], [`ALWAYS_ON`].
    pub dictionary: String,
    /// Name of the site.
    pub site: String,
    /// The attribute that is edited or described; none for approximation.
    pub attribute: Option<Attribute>,
    /// The axis.
    pub test: Test,
    /// What is measured.
    pub metric: Metric,
    /// Latents that a greedy edit may exchange at each node; none where no such number applies (supervised edits, the
    /// no-edit baseline, the other axes).
    pub k: Option<usize>,
    /// The value; none where it is undefined.
    pub value: Option<f64>,
    /// Lower end of the 95 % bootstrap interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % bootstrap interval.
    pub high: Option<f64>,
    /// Number of prompts behind the value.
    pub n: usize,
    /// The means behind it by name; `ld_` marks mean logit differences in logits.
    pub raw: BTreeMap<String, f64>,
}

/// The difference of two dictionary sets in one metric, averaged over sites (and attributes).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first set.
    pub left: String,
    /// The set that is subtracted.
    pub right: String,
    /// What is compared.
    pub metric: Metric,
    /// Latents that an edit may exchange.
    pub k: Option<usize>,
    /// Mean of the first set.
    pub left_value: Option<f64>,
    /// Mean of the second set.
    pub right_value: Option<f64>,
    /// Mean of the differences.
    pub difference: Option<f64>,
    /// Lower end of the paired 95 % bootstrap interval. Prompts are resampled; for F1 the scored half of the
    /// interpretability sample, the choice of latents held fixed.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Number of sites, or of (site, attribute) pairs, that are averaged.
    pub pairs: usize,
}

/// The evaluated model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Hash of the weights.
    pub hash: String,
    /// Number of blocks.
    pub n_layer: usize,
    /// Heads of a block.
    pub n_head: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Size of the vocabulary.
    pub d_vocab: usize,
}

/// How well the undisturbed model does the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clean {
    /// Mean of `logit(IO) - logit(S)` at END, in logits.
    pub logit_diff: f64,
    /// Share of prompts whose argmax over the whole vocabulary is IO.
    pub accuracy: f64,
    /// Number of prompts.
    pub n: usize,
}

/// Everything an evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The settings.
    pub config: EvalConfig,
    /// The model.
    pub model: ModelFacts,
    /// The sites, with the evidence for them.
    pub sites: Vec<Site>,
    /// The undisturbed model.
    pub clean: Clean,
    /// All scores.
    pub scores: Vec<Score>,
    /// Differences between dictionary sets.
    pub comparisons: Vec<Comparison>,
}

impl Report {
    /// The report as indented JSON with a final newline; the same report gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn to_json(&self) -> Result<String, Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes `report.json` and `scores.parquet` into `dir`, each whole or not at all.
    ///
    /// # Errors
    /// [`Error::Model`] when a file cannot be written, [`Error::Json`], [`Error::Arrow`], [`Error::Parquet`].
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let (json, parquet) = (self.to_json()?, scores_parquet(&self.scores)?);
        lm::files::write_atomic(&dir.join("scores.parquet"), |out| out.write_all(&parquet))?;
        lm::files::write_atomic(&dir.join("report.json"), |out| out.write_all(json.as_bytes()))?;
        Ok(())
    }
}

/// The scores as a Parquet file: one plain column per field, `raw` as JSON text.
///
/// # Errors
/// [`Error::Json`], [`Error::Arrow`], [`Error::Parquet`].
pub fn scores_parquet(scores: &[Score]) -> Result<Vec<u8>, Error> {
    let text = |get: &dyn Fn(&Score) -> Option<String>| -> ArrayRef {
        Arc::new(scores.iter().map(get).collect::<StringArray>())
    };
    let number = |get: &dyn Fn(&Score) -> Option<f64>| -> ArrayRef {
        Arc::new(scores.iter().map(get).collect::<Float64Array>())
    };
    let count = |get: &dyn Fn(&Score) -> Option<usize>| -> ArrayRef {
        Arc::new(
            scores
                .iter()
                .map(|score| get(score).map(|n| n as u64))
                .collect::<UInt64Array>(),
        )
    };
    let raw = scores
        .iter()
        .map(|score| serde_json::to_string(&score.raw))
        .collect::<Result<Vec<_>, _>>()?;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("dictionary", text(&|score| Some(score.dictionary.clone())), false),
        ("site", text(&|score| Some(score.site.clone())), false),
        (
            "attribute",
            text(&|score| score.attribute.map(|attribute| attribute.to_string())),
            true,
        ),
        ("test", text(&|score| Some(score.test.to_string())), false),
        ("metric", text(&|score| Some(score.metric.to_string())), false),
        ("k", count(&|score| score.k), true),
        ("value", number(&|score| score.value), true),
        ("low", number(&|score| score.low), true),
        ("high", number(&|score| score.high), true),
        ("n", count(&|score| Some(score.n)), false),
        ("raw", Arc::new(StringArray::from(raw)) as ArrayRef, false),
    ])?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}
