//! Settings of learned masks: the raw file and its checked form.

use crate::Error;
use crate::config::{Baseline, Compare, EvalConfig, EvalFile};
use crate::masks::Learning;
use serde::{Deserialize, Serialize};
use std::ops::Deref;

/// How masks over latents are learned; every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MasksFile {
    /// Prompts on which masks are scored. Default 500: intervals of about +-0.04 on a share.
    pub prompts: usize,
    /// Prompts on which masks are learned; each gives one pair whose attribute differs and one of which another does. Default 512: each of
    /// 108 names about nine times.
    pub learned_on: usize,
    /// Seed of the prompts, the counterfactuals, the resamples and the learned directions. Default 0.
    pub seed: u64,
    /// Steps of gradients, each on one batch. Default 40: three times as many, on batches of 64, give scores within 0.03 of these on the shipped
    /// model, at six times the cost.
    pub steps: usize,
    /// Pairs of a step, half of either kind. Default 24: the pairs of 40 steps are nearly all that there are.
    pub batch: usize,
    /// Step size of the logits of a mask. Default 0.15: an entry can go from open to shut in ten steps.
    pub learning_rate: f64,
    /// Step size of the directions that the skyline learns. Default 0.02.
    pub rotation_rate: f64,
    /// Temperature of the last step, of 1 at the first. Default 0.05: a logit of 0.2 is then 0.98.
    pub last_temperature: f64,
    /// Price of an entry of the mask, in nats of the mean loss. Default 0.01: with a tenth of it latents that change nothing stay open (`eval/tests/masks.rs`).
    pub price: f64,
    /// Directions that the skyline (`das`) may learn at a site, as far as it is that wide. Default 32.
    pub das_dims: usize,
    /// Seeds of the skyline. Default 3.
    pub das_seeds: usize,
    /// Dictionaries that nobody trained, as in an evaluation. Default `random`, `neurons`, `pca`.
    pub baselines: Vec<Baseline>,
    /// Draws of the `random` baseline. Default 10.
    pub draws: usize,
    /// The family that random dictionaries are matched to. Default `sae-topk`.
    pub matched_to: String,
    /// Number of bootstrap resamples behind every interval. Default 2000.
    pub resamples: usize,
    /// Pairs of families whose difference in score is reported, each at most once; Holm's procedure holds all of them together. Default
    /// none.
    pub compare: Vec<Compare>,
}

impl Default for MasksFile {
    fn default() -> Self {
        Self {
            prompts: 500,
            learned_on: 512,
            seed: 0,
            steps: 40,
            batch: 24,
            learning_rate: 0.15,
            rotation_rate: 0.02,
            last_temperature: 0.05,
            price: 0.01,
            das_dims: 32,
            das_seeds: 3,
            baselines: vec![Baseline::Random, Baseline::Neurons, Baseline::Pca],
            draws: 10,
            matched_to: "sae-topk".to_owned(),
            resamples: 2000,
            compare: Vec::new(),
        }
    }
}

/// Checked settings: the fields of [`MasksFile`], all in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "MasksFile", into = "MasksFile")]
pub struct MasksConfig(MasksFile);

impl Deref for MasksConfig {
    type Target = MasksFile;

    fn deref(&self) -> &MasksFile {
        &self.0
    }
}

impl From<MasksConfig> for MasksFile {
    fn from(config: MasksConfig) -> Self {
        config.0
    }
}

impl MasksConfig {
    /// How masks are learned.
    pub fn learning(&self) -> Learning {
        Learning {
            steps: self.steps,
            learning_rate: self.learning_rate,
            rotation_rate: self.rotation_rate,
            last_temperature: self.last_temperature,
            price: self.price,
        }
    }

    /// The settings of an evaluation with the same baselines.
    ///
    /// # Errors
    /// [`Error::Config`] for baselines that an evaluation would not take.
    pub fn of_baselines(&self) -> Result<EvalConfig, Error> {
        EvalConfig::try_from(EvalFile {
            seed: self.seed,
            baselines: self.baselines.clone(),
            draws: self.draws,
            matched_to: self.matched_to.clone(),
            compare: Vec::new(),
            ..EvalFile::default()
        })
    }
}

impl TryFrom<MasksFile> for MasksConfig {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`] names the field that is out of range.
    fn try_from(file: MasksFile) -> Result<Self, Error> {
        let refuse = |field: &'static str, reason: String| Err(Error::Config { field, reason });
        for (field, value, least) in [
            ("prompts", file.prompts, 2),
            ("learned_on", file.learned_on, 2),
            ("steps", file.steps, 1),
            ("batch", file.batch, 2),
            ("das_dims", file.das_dims, 1),
            ("das_seeds", file.das_seeds, 1),
            ("draws", file.draws, 1),
            ("resamples", file.resamples, 1),
        ] {
            if value < least {
                return refuse(field, format!("is {value}; it must be at least {least}"));
            }
        }
        for (field, value) in [
            ("learning_rate", file.learning_rate),
            ("rotation_rate", file.rotation_rate),
            ("last_temperature", file.last_temperature),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return refuse(field, format!("is {value}; it must be a positive number"));
            }
        }
        if file.last_temperature > 1.0 {
            return refuse(
                "last_temperature",
                format!("is {}; the first is 1, and it falls", file.last_temperature),
            );
        }
        if !(file.price >= 0.0 && file.price.is_finite()) {
            return refuse(
                "price",
                format!("is {}; it must be a number of nats from 0", file.price),
            );
        }
        let config = Self(file);
        config.of_baselines()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_what_is_out_of_range_is_named() {
        let parse = |text: &str| serde_json::from_str::<MasksConfig>(text);
        let config = parse("{}").unwrap();
        assert_eq!(parse(&serde_json::to_string(&config).unwrap()).unwrap(), config);
        for (text, part) in [
            (r#"{"steps": 0}"#, "`steps`"),
            (r#"{"batch": 1}"#, "`batch`"),
            (r#"{"learning_rate": 0.0}"#, "`learning_rate`"),
            (r#"{"last_temperature": 2.0}"#, "`last_temperature`"),
            (r#"{"price": -1.0}"#, "`price`"),
            (r#"{"baselines": ["pca", "pca"]}"#, "`baselines`"),
            (r#"{"stepz": 3}"#, "stepz"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
