//! The train config: the file as written ([`TrainFile`]) and what it means ([`TrainConfig`]).

use serde::Deserialize;

use crate::{Architecture, Error};

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
    /// The autoencoders, at least one.
    pub autoencoder: Vec<VariantFile>,
}

/// One autoencoder of a train config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariantFile {
    /// `"relu"` or `"topk"`.
    pub architecture: String,
    /// `"relu"` only: weight of the L1 penalty, for inputs of mean norm root(width). 0.5 to 5 in the follow-up.
    pub l1: Option<f64>,
    /// `"topk"` only: active latents of a row. The task has three attributes; 3 to 24 in the follow-up.
    pub k: Option<usize>,
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
    /// The autoencoders; their dictionary names differ.
    pub variants: Vec<Architecture>,
}

impl TrainConfig {
    /// SHA-256 of all that determines the autoencoder of `architecture`, apart from its activations.
    pub fn hash(&self, architecture: Architecture) -> String {
        let settings = (
            self.expansion,
            self.batch,
            self.steps,
            self.learning_rate,
            self.seed,
            architecture,
        );
        lm::files::sha256_hex(serde_json::json!(settings).to_string().as_bytes())
    }
}

impl TryFrom<TrainFile> for TrainConfig {
    type Error = Error;

    fn try_from(file: TrainFile) -> Result<Self, Error> {
        let refuse = |field, reason: &str| {
            Err(Error::Config {
                field,
                reason: reason.to_owned(),
            })
        };
        let config = Self {
            expansion: file.expansion.unwrap_or(8),
            batch: file.batch.unwrap_or(512),
            steps: file.steps,
            learning_rate: file.learning_rate.unwrap_or(1e-3),
            seed: file.seed.unwrap_or(0),
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
        ] {
            if value == 0 {
                return refuse(field, "is 0, must be at least 1");
            }
        }
        if !(config.learning_rate > 0.0 && config.learning_rate.is_finite()) {
            return refuse("learning_rate", "must be a positive number");
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
        let refuse = |field, reason: &str| {
            Err(Error::Config {
                field,
                reason: reason.to_owned(),
            })
        };
        match (file.architecture.as_str(), file.l1, file.k) {
            ("relu", Some(l1), None) if l1 >= 0.0 && l1.is_finite() => Ok(Self::Relu { l1 }),
            ("relu", Some(_), None) => refuse("l1", "must not be negative"),
            ("relu", None, _) => refuse("l1", "is missing for architecture \"relu\""),
            ("relu", _, Some(_)) => refuse("k", "means nothing for architecture \"relu\", remove it"),
            ("topk", None, Some(0)) => refuse("k", "is 0, must be at least 1"),
            ("topk", None, Some(k)) => Ok(Self::Topk { k }),
            ("topk", _, None) => refuse("k", "is missing for architecture \"topk\""),
            ("topk", Some(_), _) => refuse("l1", "means nothing for architecture \"topk\", remove it"),
            (other, _, _) => refuse(
                "architecture",
                &format!("is \"{other}\", expected \"relu\" or \"topk\""),
            ),
        }
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
            (serde_json::json!([{"architecture": "gated"}]), "expected"),
            (serde_json::json!([{"architecture": "topk", "kk": 3}]), "unknown field"),
        ] {
            let error = config_of(variants).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
