//! The train config: the file as written ([`TrainFile`]) and what it means ([`TrainConfig`]).

use serde::Deserialize;

use crate::{Architecture, Error, Schedule};

/// Largest default of `dead_after`.
const MOST_DEAD_AFTER: usize = 10_000_000;
/// Default of `bandwidth`.
const DEFAULT_BANDWIDTH: f64 = 0.5;
/// Default of `levels`.
const DEFAULT_LEVELS: usize = 4;
/// Most levels: the smallest of them is a 128th of the latents.
const MOST_LEVELS: usize = 8;

/// A train config file: the settings that all autoencoders share, and one table an autoencoder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainFile {
    /// Latents for each dimension of the activations. Default 8, as in the follow-up to the paper.
    pub expansion: Option<usize>,
    /// Activations of a batch. Default 512.
    pub batch: Option<usize>,
    /// Optimiser steps. Required; the cost grows with it.
    pub steps: usize,
    /// Peak learning rate of Adam. Default 1e-3, as in the paper; it rises over the first twentieth of the steps and
    /// falls to 0 over the last fifth.
    pub learning_rate: Option<f64>,
    /// Seed of weights and batches. Default 0.
    pub seed: Option<u64>,
    /// Activations without which a latent counts as dead. Default: a tenth of the run, 10 million at most as in the
    /// libraries of the field, whose runs are far longer.
    pub dead_after: Option<usize>,
    /// `"topk"`, `"batch-topk"`, `"matryoshka"`: dead latents that help with each row. Default: half the width.
    pub auxiliary_k: Option<usize>,
    /// The same architectures: weight of the loss that revives dead latents; 0 turns it off. Default 1/32, as in the paper.
    pub auxiliary_weight: Option<f64>,
    /// The autoencoders, at least one.
    pub autoencoder: Vec<VariantFile>,
}

/// One autoencoder of a train config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantFile {
    /// `"relu"`, `"relu-april"`, `"gated"`, `"jumprelu"`, `"topk"`, `"batch-topk"` or `"matryoshka"`.
    pub architecture: String,
    /// `"relu"`, `"relu-april"`, `"gated"`: weight of the L1 penalty, for inputs of mean norm root(width). 0.5 to 5 in the
    /// follow-up to the paper.
    pub l1: Option<f64>,
    /// `"topk"`, `"batch-topk"`, `"matryoshka"`: active latents of a row. The task has three attributes; 3 to 24 in the
    /// follow-up.
    pub k: Option<usize>,
    /// `"jumprelu"`: active latents of a row to aim at.
    pub l0: Option<f64>,
    /// `"jumprelu"`: width of the window around a threshold in which its gradient is estimated, for inputs of mean norm
    /// root(width). Default 0.5: with the 0.03 that suits billions of activations, runs this short hardly move thresholds.
    pub bandwidth: Option<f64>,
    /// `"matryoshka"`: nested dictionaries, each twice as large as the one before. Default 4.
    pub levels: Option<usize>,
}

/// A train config whose fields are complete and fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// Latents for each dimension.
    pub expansion: usize,
    /// Activations of a batch.
    pub batch: usize,
    /// Optimiser steps.
    pub steps: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Seed of weights and batches.
    pub seed: u64,
    /// Activations without which a latent counts as dead.
    pub dead_after: usize,
    /// Dead latents that help with each row; 0 for half the width.
    pub auxiliary_k: usize,
    /// Weight of the loss that revives dead latents.
    pub auxiliary_weight: f64,
    /// The autoencoders; their dictionary names differ.
    pub variants: Vec<Architecture>,
}

impl TrainConfig {
    /// What the trainer does at every step.
    pub(crate) fn schedule(&self) -> Schedule {
        Schedule {
            steps: self.steps,
            learning_rate: self.learning_rate,
            dead_after: self.dead_after,
            auxiliary_k: self.auxiliary_k,
            auxiliary_weight: self.auxiliary_weight,
        }
    }

    /// SHA-256 of all that determines the autoencoder of `architecture`, apart from its activations.
    pub fn hash(&self, architecture: Architecture) -> String {
        let settings = (
            self.expansion,
            self.batch,
            self.steps,
            self.learning_rate,
            self.seed,
            self.dead_after,
            self.auxiliary_k,
            self.auxiliary_weight,
            architecture,
        );
        lm::files::sha256_hex(serde_json::json!(settings).to_string().as_bytes())
    }
}

impl TryFrom<TrainFile> for TrainConfig {
    type Error = Error;

    fn try_from(file: TrainFile) -> Result<Self, Error> {
        let batch = file.batch.unwrap_or(512);
        let config = Self {
            expansion: file.expansion.unwrap_or(8),
            batch,
            steps: file.steps,
            learning_rate: file.learning_rate.unwrap_or(1e-3),
            seed: file.seed.unwrap_or(0),
            dead_after: file
                .dead_after
                .unwrap_or((batch * file.steps / 10).clamp(1, MOST_DEAD_AFTER)),
            auxiliary_k: file.auxiliary_k.unwrap_or(0),
            auxiliary_weight: file.auxiliary_weight.unwrap_or(1.0 / 32.0),
            variants: file
                .autoencoder
                .into_iter()
                .map(Architecture::try_from)
                .collect::<Result<_, _>>()?,
        };
        for (field, value) in [
            ("expansion", config.expansion),
            ("batch", config.batch),
            ("steps", config.steps),
            ("dead_after", config.dead_after),
        ] {
            if value == 0 {
                return refuse(field, "is 0, must be at least 1");
            }
        }
        if !(config.learning_rate > 0.0 && config.learning_rate.is_finite()) {
            return refuse("learning_rate", "must be a positive number");
        }
        if !(config.auxiliary_weight >= 0.0 && config.auxiliary_weight.is_finite()) {
            return refuse("auxiliary_weight", "must not be negative");
        }
        if config.variants.is_empty() {
            return refuse("autoencoder", "is empty: add an [[autoencoder]] table");
        }
        for (i, variant) in config.variants.iter().enumerate() {
            if config.variants[..i]
                .iter()
                .any(|other| other.dictionary_name() == variant.dictionary_name())
            {
                return refuse("autoencoder", "holds one architecture twice: use one config for each");
            }
        }
        Ok(config)
    }
}

impl TryFrom<VariantFile> for Architecture {
    type Error = Error;

    fn try_from(file: VariantFile) -> Result<Self, Error> {
        let architecture = match file.architecture.as_str() {
            "relu" => Self::Relu { l1: l1(&file)? },
            "relu-april" => Self::ReluApril { l1: l1(&file)? },
            "gated" => Self::Gated { l1: l1(&file)? },
            "jumprelu" => Self::Jumprelu {
                l0: positive(&file, "l0", file.l0)?,
                bandwidth: positive(&file, "bandwidth", file.bandwidth.or(Some(DEFAULT_BANDWIDTH)))?,
            },
            "topk" => Self::Topk { k: k(&file)? },
            "batch-topk" => Self::BatchTopk { k: k(&file)? },
            "matryoshka" => Self::Matryoshka {
                k: k(&file)?,
                levels: match file.levels.unwrap_or(DEFAULT_LEVELS) {
                    levels @ 1..=MOST_LEVELS => levels,
                    levels => return refuse("levels", &format!("is {levels}, must be 1 to {MOST_LEVELS}")),
                },
            },
            other => {
                let reason = format!(
                    "is \"{other}\", expected \"relu\", \"relu-april\", \"gated\", \"jumprelu\", \"topk\", \
                     \"batch-topk\" or \"matryoshka\""
                );
                return refuse("architecture", &reason);
            }
        };
        let unused = [
            (
                "l1",
                file.l1.is_some()
                    && !matches!(
                        architecture,
                        Self::Relu { .. } | Self::ReluApril { .. } | Self::Gated { .. }
                    ),
            ),
            ("k", file.k.is_some() && architecture.k().is_none()),
            (
                "l0",
                file.l0.is_some() && !matches!(architecture, Self::Jumprelu { .. }),
            ),
            (
                "bandwidth",
                file.bandwidth.is_some() && !matches!(architecture, Self::Jumprelu { .. }),
            ),
            (
                "levels",
                file.levels.is_some() && !matches!(architecture, Self::Matryoshka { .. }),
            ),
        ];
        match unused.into_iter().find(|(_, unused)| *unused) {
            Some((field, _)) => refuse(
                field,
                &format!("means nothing for architecture \"{}\", remove it", architecture.name()),
            ),
            None => Ok(architecture),
        }
    }
}

fn refuse<T>(field: &'static str, reason: &str) -> Result<T, Error> {
    Err(Error::Config {
        field,
        reason: reason.to_owned(),
    })
}

fn missing<T>(file: &VariantFile, field: &'static str) -> Result<T, Error> {
    refuse(field, &format!("is missing for architecture \"{}\"", file.architecture))
}

fn l1(file: &VariantFile) -> Result<f64, Error> {
    match file.l1 {
        Some(l1) if l1 >= 0.0 && l1.is_finite() => Ok(l1),
        Some(_) => refuse("l1", "must not be negative"),
        None => missing(file, "l1"),
    }
}

fn k(file: &VariantFile) -> Result<usize, Error> {
    match file.k {
        Some(0) => refuse("k", "is 0, must be at least 1"),
        Some(k) => Ok(k),
        None => missing(file, "k"),
    }
}

fn positive(file: &VariantFile, field: &'static str, value: Option<f64>) -> Result<f64, Error> {
    match value {
        Some(value) if value > 0.0 && value.is_finite() => Ok(value),
        Some(_) => refuse(field, "must be a positive number"),
        None => missing(file, field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> Result<TrainConfig, String> {
        let file: TrainFile = serde_json::from_value(json).map_err(|error| error.to_string())?;
        TrainConfig::try_from(file).map_err(|error| error.to_string())
    }

    #[test]
    fn fields_that_do_not_fit_are_named() {
        let topk = serde_json::json!({"architecture": "topk", "k": 3});
        let config_of =
            |autoencoder: serde_json::Value| config(serde_json::json!({"steps": 1, "autoencoder": autoencoder}));
        assert_eq!(
            config_of(serde_json::json!([topk])).unwrap().variants,
            [Architecture::Topk { k: 3 }]
        );
        for (variants, part) in [
            (serde_json::json!([]), "`autoencoder`"),
            (serde_json::json!([topk, topk]), "twice"),
            (serde_json::json!([{"architecture": "relu", "k": 3}]), "`l1`"),
            (serde_json::json!([{"architecture": "vanilla"}]), "expected"),
            (serde_json::json!([{"architecture": "topk", "kk": 3}]), "unknown field"),
        ] {
            let error = config_of(variants).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
