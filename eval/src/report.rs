//! What an evaluation reports: `report.json`.
//!
//! The report holds only what config, seed, model and data determine: no time, host, path or folder name, so the same
//! run gives the same bytes. One row of `scores` is one number on one of the three axes of Makelov, Lange, Nanda
//! ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)).
//!
//! Shape legend: `N` prompts.

use crate::Error;
use crate::best_latent::BestLatent;
use crate::config::EvalConfig;
use crate::dictionary_set::DictionarySet;
use crate::metric::{EditMethod, Metric, Test};
use activations::Node;
use causal::Clean;
use causal::site::Site;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use tasks::{Attribute, TaskName};

/// Version of the layout of `report.json`, `scores.parquet` and `resamples.parquet`.
///
/// 7 names the best latents.
pub const FORMAT_VERSION: u32 = 7;

/// File name of the report.
pub const REPORT: &str = "report.json";

/// File name of its scores as columns.
pub const SCORES: &str = "scores.parquet";

/// File name of the same with resamples.
pub const RESAMPLES: &str = "resamples.parquet";

/// Name of the baseline that edits nothing.
pub const NONE: &str = "none";

/// Name of the baseline that replaces every activation by the mean over the prompts.
pub const MEAN_ABLATION: &str = "mean-ablation";

/// Name of the baseline latent that is active on every prompt.
pub const ALWAYS_ON: &str = "always-on";

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
    /// How the latents of an edit were found; none for the no-edit baseline and the other axes.
    pub method: Option<EditMethod>,
    /// Latents that an edit may exchange at each node; none where no such number applies (supervised edits, the
    /// no-edit baseline, the other axes).
    pub k: Option<usize>,
    /// F1, or correlation, from which a latent counts as interpreted, where it matters.
    pub threshold: Option<f64>,
    /// What a check says: `occludes`, `late`, `splits`, `clear`, `not-applicable`, `undefined`; none for other metrics.
    pub verdict: Option<String>,
    /// What the check would say with one of its thresholds a quarter lower or higher, by that change; only where it would say something
    /// else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sensitivity: BTreeMap<String, String>,
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
    /// The latents that it is a mean over, one for each value of the attribute; none where it is not of best latents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latents: Vec<BestLatent>,
}

/// A dictionary set that was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DictionaryFacts {
    /// Its name.
    pub name: String,
    /// What it shares with those that differ from it by their seed only.
    pub family: String,
    /// Hash of what its numbers were read from.
    pub identity: String,
    /// Hash of the files of each of its dictionaries, by the name of the folder (a node or a hook) that holds them; empty for
    /// dictionaries that nobody trained.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub folders: BTreeMap<String, String>,
    /// The node that a transcoder reads, by the node that it writes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reads: BTreeMap<Node, Node>,
    /// Whether another seed would have given another dictionary.
    pub seeded: bool,
}

impl From<&DictionarySet> for DictionaryFacts {
    fn from(set: &DictionarySet) -> Self {
        Self {
            name: set.name.clone(),
            family: set.family.clone(),
            identity: set.identity.clone(),
            folders: set.folders.clone(),
            reads: set.reads.clone(),
            seeded: set.seeded,
        }
    }
}

/// The difference of two families of dictionary sets in one metric, averaged over seeds, sites and attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first family.
    pub left: String,
    /// The family that is subtracted.
    pub right: String,
    /// What is compared.
    pub metric: Metric,
    /// Latents that an edit may exchange.
    pub k: Option<usize>,
    /// Mean of the first family.
    pub left_value: Option<f64>,
    /// Mean of the second family.
    pub right_value: Option<f64>,
    /// Mean of the differences.
    pub difference: Option<f64>,
    /// Lower end of the paired 95 % interval: t over seeds, bootstrap over prompts ([`crate::statistics`]), inside the range of the
    /// score; for F1 and its like over the scored half of the interpretability sample, the choice of latents held fixed.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Lower end of the interval at the level that Holm's procedure over all comparisons allows it.
    pub holm_low: Option<f64>,
    /// Upper end of it.
    pub holm_high: Option<f64>,
    /// Whether that interval, and those of all stronger differences, exclude zero, all pairs of seeds agree in sign, and no family has
    /// too few seeds.
    pub real: bool,
    /// Whether the difference has the same sign for every pair of seeds.
    pub seeds_agree: bool,
    /// Number of seeds of the two families.
    pub seeds: [usize; 2],
    /// Number of sites, or of (site, attribute) pairs, that are averaged.
    pub pairs: usize,
}

/// The mean of a family of dictionary sets in one metric, over seeds, sites and attributes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyMean {
    /// The family.
    pub family: String,
    /// What is measured.
    pub metric: Metric,
    /// Latents that an edit may exchange.
    pub k: Option<usize>,
    /// The mean.
    pub value: f64,
    /// Lower end of the 95 % interval: t over seeds or draws, bootstrap over prompts ([`crate::statistics`]).
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Number of seeds or draws.
    pub seeds: usize,
    /// Number of sites, or of (site, attribute) pairs, that are averaged.
    pub places: usize,
}

/// What is left of the samples at a site when no vector stands on two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Name of the site.
    pub site: String,
    /// Prompts of the evaluation sample whose vector was trained on.
    pub seen: usize,
    /// Prompts that the site is evaluated on.
    pub evaluation: usize,
    /// Prompts of the interpretability sample whose vector was trained on.
    pub seen_interpretability: usize,
    /// Prompts that latents are chosen and rated on: none of them twice.
    pub interpretability: usize,
    /// Whether next to nothing was left, so that all prompts are kept, seen or not.
    pub everything_seen: bool,
    /// Hash of which prompts are kept.
    pub kept: String,
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

/// SHA-256 of the files that are written with a report and hold the same scores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// That of `scores.parquet`.
    pub scores: String,
    /// That of `resamples.parquet`.
    pub resamples: String,
}

/// Everything an evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The task.
    pub task: TaskName,
    /// The settings.
    pub config: EvalConfig,
    /// The model.
    pub model: ModelFacts,
    /// Hash of the tokens of all prompts; resamples of evaluations of other prompts are not paired.
    pub prompts: String,
    /// The sites, with the evidence for them.
    pub sites: Vec<Site>,
    /// Which prompts each site is evaluated on.
    pub unseen: Vec<Unseen>,
    /// The undisturbed model.
    pub clean: Clean,
    /// The dictionary sets.
    pub dictionaries: Vec<DictionaryFacts>,
    /// The files that belong to it.
    pub columns: Columns,
    /// All scores.
    pub scores: Vec<Score>,
    /// Differences between dictionary sets.
    pub comparisons: Vec<Comparison>,
    /// Means of the families in the metrics that are compared.
    pub means: Vec<FamilyMean>,
}

impl Report {
    /// Reads `report.json`.
    ///
    /// # Errors
    /// A file that is no report; [`Error::ReportVersion`] for one of another version of the program.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let value: Value = artifacts::read_json(path)?;
        let version = &value["format_version"];
        if *version != FORMAT_VERSION {
            return Err(Error::ReportVersion {
                path: path.to_owned(),
                expected: FORMAT_VERSION,
                found: version.to_string(),
            });
        }
        let report = serde_json::from_value(value).map_err(|error| artifacts::Error::Format {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(report)
    }

    /// Checks that `scores.parquet` and `resamples.parquet` beside the report in `dir` are those that were written with it; a
    /// file that is not there is not missed.
    ///
    /// # Errors
    /// [`Error::Foreign`] for a file that is not; [`Error::File`] for one that cannot be read.
    pub fn check_columns(&self, dir: &Path) -> Result<(), Error> {
        let columns = [(RESAMPLES, &self.columns.resamples), (SCORES, &self.columns.scores)];
        for (name, expected) in columns {
            let path = dir.join(name);
            if path.exists() && artifacts::sha256_file(&path)? != *expected {
                return Err(Error::Foreign {
                    path,
                    report: dir.join(REPORT),
                });
            }
        }
        Ok(())
    }

    /// The report as indented JSON with a final newline; the same report gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn to_json(&self) -> Result<String, Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of nothing but dictionaries at one site.
    pub(crate) fn empty(dictionaries: Vec<DictionaryFacts>) -> Report {
        let config = crate::EvalFile::default().try_into().unwrap();
        let site = Site {
            name: "site".to_owned(),
            nodes: vec!["blocks.0.hook_resid_pre@END".parse().unwrap()],
            attributes: vec![Attribute::IO],
            evidence: Vec::new(),
        };
        Report {
            format_version: FORMAT_VERSION,
            task: TaskName::IOI,
            config,
            model: ModelFacts {
                hash: "cafe".to_owned(),
                n_layer: 1,
                n_head: 1,
                d_model: 8,
                d_vocab: 9,
            },
            prompts: String::new(),
            sites: vec![site],
            unseen: Vec::new(),
            clean: Clean {
                logit_diff: 1.0,
                accuracy: 1.0,
                n: 1,
            },
            dictionaries,
            columns: Columns {
                scores: String::new(),
                resamples: String::new(),
            },
            scores: Vec::new(),
            comparisons: Vec::new(),
            means: Vec::new(),
        }
    }

    #[test]
    fn a_report_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let report = empty(Vec::new());
        std::fs::write(&path, report.to_json().unwrap()).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
        let old = report.to_json().unwrap().replace(
            &format!("\"format_version\": {FORMAT_VERSION}"),
            "\"format_version\": 5",
        );
        std::fs::write(&path, old).unwrap();
        let error = Report::read(&path).unwrap_err().to_string();
        assert!(error.contains("found 5") && error.contains("saelab eval"), "{error}");
    }
}
