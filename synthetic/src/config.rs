//! The config of `saelab synthetic`: the file as written ([`SyntheticFile`]) and what it means ([`SyntheticConfig`]).

use sae::{OneOrMany, TrainConfig, TrainFile};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::matching_pursuit::MatchingPursuitSettings;

/// Default of `seed`, that of SynthSAEBench.
const DEFAULT_SEED: u64 = 42;

/// A synthetic model, and the autoencoders that are trained on its activations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticFile {
    /// Features of the model. Required; 16,384 in SynthSAEBench-16k.
    pub features: usize,
    /// Numbers of an activation. Required; 768 in SynthSAEBench-16k.
    pub width: usize,
    /// Features that begin a tree. Required; 128 in SynthSAEBench-16k, a sixteenth of the 2,048 most frequent ones.
    pub roots: usize,
    /// Seed of the model, and of the rows that are drawn from it. Default 42.
    pub seed: Option<u64>,
    /// Rows that are drawn once and trained on again and again; 4 bytes a number. Required.
    pub pool: usize,
    /// Other rows, on which everything is measured. Required.
    pub evaluation: usize,
    /// Steps of the supervised probes of as many features as there are latents, the ceiling; 0 for none. Default: those of the
    /// autoencoders.
    pub probe_steps: Option<usize>,
    /// The autoencoders, as in a train config; `part` and `held_out` are of the pool.
    pub train: TrainFile,
    /// Matching Pursuit autoencoders beside them. Default: none.
    pub matching_pursuit: Option<MatchingPursuitFile>,
}

/// Matching Pursuit autoencoders: every `k` with every seed. Steps and batch are those of the others.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchingPursuitFile {
    /// Rounds, which is the most latents that a row activates. Required.
    pub k: OneOrMany<usize>,
    /// Seeds. Default: 0.
    pub seed: Option<OneOrMany<u64>>,
    /// Peak learning rate. Default: 1e-3; it rises and falls as that of the others.
    pub learning_rate: Option<f64>,
}

/// The model that activations are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// Features, `N`.
    pub features: usize,
    /// Numbers of an activation, `D`.
    pub width: usize,
    /// Features that begin a tree.
    pub roots: usize,
    /// Seed of the model and of the rows.
    pub seed: u64,
    /// Rows that are trained on.
    pub pool: usize,
    /// Rows that are measured on.
    pub evaluation: usize,
    /// Steps of the probes.
    pub probe_steps: usize,
}

/// A config whose fields are complete and fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticConfig {
    /// The model.
    pub model: ModelSettings,
    /// The autoencoders.
    pub train: TrainConfig,
    /// Matching Pursuit autoencoders.
    pub matching_pursuit: Vec<MatchingPursuitSettings>,
}

impl SyntheticConfig {
    /// Latents of every autoencoder.
    ///
    /// # Errors
    ///
    /// More than are counted.
    pub fn n_latents(&self) -> Result<usize, Error> {
        Ok(self.train.n_latents(self.model.width)?)
    }
}

impl TryFrom<SyntheticFile> for SyntheticConfig {
    type Error = Error;

    fn try_from(file: SyntheticFile) -> Result<Self, Error> {
        let train = TrainConfig::try_from(file.train)?;
        let model = ModelSettings {
            features: file.features,
            width: file.width,
            roots: file.roots,
            seed: file.seed.unwrap_or(DEFAULT_SEED),
            pool: file.pool,
            evaluation: file.evaluation,
            probe_steps: file.probe_steps.unwrap_or(train.steps),
        };
        for (field, value, least) in [
            ("features", model.features, 2),
            ("width", model.width, 2),
            ("roots", model.roots, 1),
            ("pool", model.pool, train.batch),
            ("evaluation", model.evaluation, 2),
        ] {
            if value < least {
                return refuse(field, &format!("is {value}, must be at least {least}"));
            }
        }
        if model.roots > model.features {
            return refuse(
                "roots",
                &format!("is {}, more than the {} features", model.roots, model.features),
            );
        }
        if model.pool.checked_mul(model.width).is_none() || model.features.checked_mul(model.width).is_none() {
            return refuse("width", &format!("is {}, more than can be counted", model.width));
        }
        if let Some(variant) = train.variants.iter().find(|variant| variant.target.is_some()) {
            let reason = format!(
                "holds \"{}\" with a `target`: there is nothing else to reconstruct",
                variant.name
            );
            return refuse("train.autoencoder", &reason);
        }
        if train.part != [0, 1] {
            return refuse("train.part", "is of stored activations, remove it");
        }
        let latents = train.n_latents(model.width)?;
        if latents > model.features {
            let reason = format!("makes {latents} latents, more than the {} features", model.features);
            return refuse("train.expansion", &reason);
        }
        let mut matching_pursuit = Vec::new();
        if let Some(file) = file.matching_pursuit {
            let learning_rate = file.learning_rate.unwrap_or(1e-3);
            if !(learning_rate > 0.0 && learning_rate.is_finite()) {
                return refuse("matching_pursuit.learning_rate", "must be a positive number");
            }
            for k in many(file.k) {
                if !(1..=latents).contains(&k) {
                    return refuse("matching_pursuit.k", &format!("holds {k}, must be 1 to {latents}"));
                }
                for seed in file.seed.clone().map_or(vec![0], many) {
                    matching_pursuit.push(MatchingPursuitSettings { k, seed, learning_rate });
                }
            }
        }
        Ok(Self {
            model,
            train,
            matching_pursuit,
        })
    }
}

fn many<T>(given: OneOrMany<T>) -> Vec<T> {
    match given {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    }
}

fn refuse<T>(field: &'static str, reason: &str) -> Result<T, Error> {
    Err(Error::Config {
        field,
        reason: reason.to_owned(),
    })
}
