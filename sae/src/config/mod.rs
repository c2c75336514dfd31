//! The train config: the file as written ([`TrainFile`]) and what it means ([`TrainConfig`]).

mod variant;

use dictionaries::Variant;
use kernels::Precision;
use serde::Deserialize;

pub use variant::{OneOrMany, VariantFile};

use crate::{Error, Schedule};

/// Largest default of `dead_after`.
const MOST_DEAD_AFTER: usize = 10_000_000;
/// Default of `resamples` where there are steps for them.
const DEFAULT_RESAMPLES: usize = 4;
/// What the optimiser counts.
const MOST_STEPS: usize = i32::MAX as usize;
/// Latents have numbers of 31 bits, so that no kernel counts beyond them.
const MOST_LATENTS: usize = i32::MAX as usize;

/// Settings that all autoencoders of a training share, and a table `[[autoencoder]]` for each kind of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainFile {
    /// Latents for each dimension of the activations. Default 8, as in the follow-up to the paper.
    pub expansion: Option<usize>,
    /// Activations of a batch. Default 512.
    pub batch: Option<usize>,
    /// Optimiser steps. Required; the cost grows with it.
    pub steps: usize,
    /// Peak learning rate of Adam. Default 3e-3, better than the paper's 1e-3 for runs of thousands of steps (docs/synthetic.md); it rises
    /// over the first twentieth of the steps and falls to 0 over the last fifth.
    pub learning_rate: Option<f64>,
    /// Seed of the order of activations and, unless a table says otherwise, of weights. Default 0.
    pub seed: Option<u64>,
    /// Activations without which a latent counts as dead. Default: a tenth of the run, 10 million at most as in the
    /// libraries of the field, whose runs are far longer. Silence is counted to 2^30 activations.
    pub dead_after: Option<usize>,
    /// `"topk"`, `"batch-topk"`, `"matryoshka"`: dead latents that help with each row, at least 1; more than are dead means all
    /// of them. Default: half the width.
    pub auxiliary_k: Option<usize>,
    /// `"topk"`, `"batch-topk"`, `"matryoshka"`: weight of the loss that revives dead latents; 0 turns it off. Default 1/32, as in the paper.
    pub auxiliary_weight: Option<f64>,
    /// `"relu"`: how often latents that were silent are resampled from badly reconstructed rows, at equal distances over
    /// the first half of the run, so at most half as often as there are steps; 0 for never. Default 4 or as often as the steps
    /// allow, as in "Towards Monosemanticity". Not for transcoders.
    pub resamples: Option<usize>,
    /// What the factors of dense matrix products are rounded to: `"f32"` (not at all), `"bf16"` or `"f16"`, with f32 weights and
    /// optimiser. Default `"f32"`. On the CPU `"bf16"` is faster where the processor has AMX or AVX512-BF16, of use to no
    /// other processor, and `"f16"` is slower; both are for GPUs whose products are faster in 16 bits.
    pub precision: Option<Precision>,
    /// `[i, n]`: only the rows that a hash of their numbers deals to part i of n, so that the parts share none. Default all
    /// rows.
    pub part: Option<[usize; 2]>,
    /// Share of the activations that is measured and not trained on: whole documents (of prompts: prompts), drawn by a hash of
    /// their number and `seed`, with --stream the same ones; at least 16 rows. 0, or a share that rounds to no row: none, and
    /// all is measured on the rows that were trained on. Default 0.1.
    pub held_out: Option<f64>,
    /// Steps between two checkpoints, from which a training that broke off resumes. Default 1000.
    pub checkpoint_every: Option<usize>,
    /// The autoencoders, at least one table.
    pub autoencoder: Vec<VariantFile>,
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
    /// Seed of the order of activations.
    pub seed: u64,
    /// Activations without which a latent counts as dead.
    pub dead_after: usize,
    /// Dead latents that help with each row; 0 for half the width.
    pub auxiliary_k: usize,
    /// Weight of the loss that revives dead latents.
    pub auxiliary_weight: f64,
    /// How often silent latents are resampled.
    pub resamples: usize,
    /// What the factors of matrix products are rounded to.
    pub precision: Precision,
    /// Which rows there are: `[i, n]` for every n-th from row i on.
    pub part: [usize; 2],
    /// Share of the activations that is not trained on.
    pub held_out: f64,
    /// Whether activations come from a stream, whose order of rows is another; not said by the file.
    pub stream: bool,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// The autoencoders; their names differ.
    pub variants: Vec<Variant>,
}

impl TrainConfig {
    /// What the trainer of `variant` does at every step.
    pub fn schedule(&self, variant: &Variant) -> Schedule {
        Schedule {
            steps: self.steps,
            learning_rate: variant.learning_rate,
            dead_after: self.dead_after,
            auxiliary_k: self.auxiliary_k,
            auxiliary_weight: self.auxiliary_weight,
            resamples: self.resamples,
            frozen_decoder: variant.frozen_decoder,
            l0: variant.l0,
            anneal_k: variant.anneal_k.unwrap_or(1.0),
            precision: self.precision,
        }
    }

    /// All that determines the autoencoder of `variant`, apart from its activations.
    pub fn settings(&self, variant: &Variant) -> serde_json::Value {
        let mut settings = serde_json::json!({
            "expansion": self.expansion,
            "batch": self.batch,
            "steps": self.steps,
            "seed": self.seed,
            "dead_after": self.dead_after,
            "auxiliary_k": self.auxiliary_k,
            "auxiliary_weight": self.auxiliary_weight,
            "resamples": self.resamples,
            "held_out": self.held_out,
            "autoencoder": variant,
        });
        // Said only where it is asked for, so that the hashes of other runs are what they were.
        if self.part != [0, 1] {
            settings["part"] = serde_json::json!(self.part);
        }
        if self.stream {
            settings["stream"] = true.into();
        }
        if self.precision != Precision::F32 {
            settings["precision"] = serde_json::json!(self.precision);
        }
        settings
    }

    /// Latents of an autoencoder of inputs of this width.
    ///
    /// # Errors
    ///
    /// More than are counted.
    pub fn n_latents(&self, width: usize) -> Result<usize, Error> {
        match width.checked_mul(self.expansion).filter(|n| *n <= MOST_LATENTS) {
            Some(n_latents) => Ok(n_latents),
            None => {
                let most = MOST_LATENTS / width.max(1);
                refuse(
                    "expansion",
                    &format!("is {}, must be at most {most} at a width of {width}", self.expansion),
                )
            }
        }
    }

    /// SHA-256 of [`TrainConfig::settings`].
    pub fn hash(&self, variant: &Variant) -> String {
        artifacts::sha256_hex(self.settings(variant).to_string().as_bytes())
    }
}

impl TryFrom<TrainFile> for TrainConfig {
    type Error = Error;

    fn try_from(file: TrainFile) -> Result<Self, Error> {
        let batch = file.batch.unwrap_or(512);
        let (seed, learning_rate) = (file.seed.unwrap_or(0), file.learning_rate.unwrap_or(3e-3));
        let mut variants = Vec::new();
        for table in &file.autoencoder {
            variants.extend(table.expand(seed, learning_rate)?);
        }
        let config = Self {
            expansion: file.expansion.unwrap_or(8),
            batch,
            steps: file.steps,
            seed,
            dead_after: file
                .dead_after
                .unwrap_or((batch.saturating_mul(file.steps) / 10).clamp(1, MOST_DEAD_AFTER)),
            auxiliary_k: file.auxiliary_k.unwrap_or(0),
            auxiliary_weight: file.auxiliary_weight.unwrap_or(1.0 / 32.0),
            resamples: file.resamples.unwrap_or(DEFAULT_RESAMPLES.min(file.steps / 2)),
            precision: file.precision.unwrap_or_default(),
            part: file.part.unwrap_or([0, 1]),
            held_out: file.held_out.unwrap_or(0.1),
            stream: false,
            checkpoint_every: file.checkpoint_every.unwrap_or(1000),
            variants,
        };
        for (field, value) in [
            ("expansion", config.expansion),
            ("batch", config.batch),
            ("steps", config.steps),
            ("dead_after", config.dead_after),
            ("checkpoint_every", config.checkpoint_every),
        ] {
            if value == 0 {
                return refuse(field, "is 0, must be at least 1");
            }
        }
        if config.steps > MOST_STEPS || config.batch.checked_mul(config.steps).is_none() {
            return refuse("steps", &format!("is {}, must be at most {MOST_STEPS}", config.steps));
        }
        let rates = config.variants.iter().map(|variant| variant.learning_rate);
        if !rates.chain([learning_rate]).all(is_positive) {
            return refuse("learning_rate", "must be a positive number");
        }
        if file.auxiliary_k == Some(0) {
            return refuse(
                "auxiliary_k",
                "is 0, must be at least 1; `auxiliary_weight` = 0 turns the loss off",
            );
        }
        if !(config.auxiliary_weight == 0.0 || is_positive(config.auxiliary_weight)) {
            return refuse("auxiliary_weight", "must be 0 or a positive number");
        }
        if config.resamples > config.steps / 2 {
            let (resamples, most) = (config.resamples, config.steps / 2);
            return refuse(
                "resamples",
                &format!("is {resamples}, must be at most {most}, half of the steps"),
            );
        }
        if !(0.0..1.0).contains(&config.held_out) {
            return refuse("held_out", "must be at least 0 and below 1");
        }
        if config.part[0] >= config.part[1] {
            return refuse("part", "must be [i, n] with i below n");
        }
        if config.variants.is_empty() {
            return refuse("autoencoder", "is empty: add an [[autoencoder]] table");
        }
        for (i, variant) in config.variants.iter().enumerate() {
            if config.variants[..i].iter().any(|other| other.name == variant.name) {
                return refuse(
                    "autoencoder",
                    &format!("holds \"{}\" twice: give one of them a `name`", variant.name),
                );
            }
        }
        Ok(config)
    }
}

/// Whether a number is positive where it is used, as an f32.
fn is_positive(x: f64) -> bool {
    x > 0.0 && x as f32 > 0.0 && (x as f32).is_finite()
}

pub(crate) fn refuse<T>(field: &'static str, reason: &str) -> Result<T, Error> {
    Err(Error::Config {
        field,
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dictionaries::Architecture;

    fn config(autoencoder: serde_json::Value) -> Result<TrainConfig, String> {
        let json = serde_json::json!({"steps": 1, "autoencoder": autoencoder});
        let file: TrainFile = serde_json::from_value(json).map_err(|error| error.to_string())?;
        TrainConfig::try_from(file).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_make_a_grid_with_names() {
        let grid = serde_json::json!([
            {"architecture": "topk", "k": [8, 16], "seed": [0, 1]},
            {"architecture": "relu", "l1": 0.5},
            {"architecture": "relu", "l1": 0.5, "target": "blocks.1.hook_mlp_out"},
            {"architecture": "topk", "k": [8], "frozen_decoder": true},
        ]);
        let config = config(grid).unwrap();
        let names: Vec<&str> = config.variants.iter().map(|variant| variant.name.as_str()).collect();
        let topk = [
            "sae-topk-k8-seed0",
            "sae-topk-k8-seed1",
            "sae-topk-k16-seed0",
            "sae-topk-k16-seed1",
        ];
        assert_eq!(names[..4], topk);
        assert_eq!(names[4..], ["sae-relu", "transcoder-relu", "sae-topk-frozen-k8"]);
        assert!(config.variants[6].frozen_decoder && !config.variants[0].frozen_decoder);
        // Settings of runs without a frozen decoder, and so their hashes, are what they were before there were any.
        assert!(config.settings(&config.variants[0])["autoencoder"]["frozen_decoder"].is_null());
        assert!(config.settings(&config.variants[0])["part"].is_null());
        let half = TrainConfig {
            part: [1, 2],
            ..config.clone()
        };
        assert_eq!(half.settings(&config.variants[0])["part"], serde_json::json!([1, 2]));
        assert_eq!(
            config.settings(&config.variants[6])["autoencoder"]["frozen_decoder"],
            true
        );
        assert_eq!(config.settings(&config.variants[0])["autoencoder"]["anneal_k"], 4.0);
        assert!(config.settings(&config.variants[4])["autoencoder"]["anneal_k"].is_null());
        assert_eq!(config.variants[2].architecture, Architecture::Topk { k: 16 });
        assert_eq!((config.variants[1].seed, config.variants[1].learning_rate), (1, 3e-3));
    }

    #[test]
    fn fields_that_do_not_fit_are_named() {
        let topk = serde_json::json!({"architecture": "topk", "k": 3});
        for (variants, part) in [
            (serde_json::json!([]), "`autoencoder`"),
            (serde_json::json!([topk, topk]), "twice"),
            (
                serde_json::json!([{"architecture": "relu", "k": 3}]),
                "`k` means nothing",
            ),
            (serde_json::json!([{"architecture": "relu"}]), "`l1` is missing"),
            (
                serde_json::json!([{"architecture": "relu", "l1": 1.0, "l0": 5}]),
                "`l0` is given beside `l1`",
            ),
            (
                serde_json::json!([{"architecture": "topk", "k": 3, "l0": 5}]),
                "`l0` means nothing",
            ),
            (
                serde_json::json!([{"architecture": "topk", "k": 3, "anneal_k": 0.5}]),
                "`anneal_k` is 0.5",
            ),
            (
                serde_json::json!([{"architecture": "gated", "l0": 3, "anneal_k": 2}]),
                "`anneal_k` means nothing",
            ),
            (
                serde_json::json!([{"architecture": "relu", "l1": -1.0}]),
                "`l1` must be 0 or",
            ),
            (serde_json::json!([{"architecture": "topk", "k": [1, 0]}]), "`k` is 0"),
            (serde_json::json!([{"architecture": "topk", "k": []}]), "empty list"),
            (
                serde_json::json!([{"architecture": "topk", "k": "3"}]),
                "a number or a list",
            ),
            (
                serde_json::json!([{"architecture": "topk", "k": 3, "levels": 2}]),
                "`levels` means nothing",
            ),
            (
                serde_json::json!([{"architecture": "topk", "k": 3, "name": "a/b"}]),
                "`name`",
            ),
            (
                serde_json::json!([{"architecture": "relu-april", "l1": 1.0, "frozen_decoder": true}]),
                "`frozen_decoder`",
            ),
            (
                serde_json::json!([{"architecture": "topk", "k": 3, "frozen_decoder": true, "target": "blocks.0.hook_mlp_out"}]),
                "`frozen_decoder`",
            ),
            (serde_json::json!([{"architecture": "vanilla"}]), "expected"),
            (serde_json::json!([{"architecture": "topk", "kk": 3}]), "unknown field"),
        ] {
            let error = config(variants).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
