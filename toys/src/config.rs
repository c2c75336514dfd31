//! The grids of the toys: the file as written ([`PhenomenaFile`]) and the configurations it asks for
//! ([`PhenomenaConfig`]).
//!
//! Defaults are the settings of the toys in Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366))
//! where the paper states them.

use crate::Error;
use crate::job::Job;
use crate::{occlusion, splitting, splitting_analytic};
use serde::{Deserialize, Serialize};

/// The toys to run. A toy that is left out is not run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhenomenaFile {
    /// Two Gaussians without training. Default: not run.
    pub splitting_analytic: Option<AnalyticFile>,
    /// Two Gaussians: grids. Default: none is run.
    #[serde(default)]
    pub splitting: Vec<SplittingFile>,
    /// Two sets of vectors of different norm: grids. Default: none is run.
    #[serde(default)]
    pub occlusion: Vec<OcclusionFile>,
}

/// The random family of the analysis without training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalyticFile {
    /// Random latents; at least 1. Default 1,000, as in the paper.
    pub encoders: usize,
    /// Draws; half choose the settings, half measure. Default 40,000: a standard error of about 0.01 at lambda 6, where
    /// the margin is about 0.2.
    pub samples: usize,
    /// Thresholds that are tried, in geometric progression from 4 to 64; at least those two. Default 49: 6 % apart.
    pub thresholds: usize,
    /// Seed. Default 0.
    pub seed: u64,
}

impl Default for AnalyticFile {
    fn default() -> Self {
        Self {
            encoders: 1000,
            samples: 40_000,
            thresholds: 49,
            seed: 0,
        }
    }
}

/// A grid of autoencoders on two Gaussians: every number of latents with every lambda and seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplittingFile {
    /// Numbers of latents. Required; the paper's are 2 and many.
    pub latents: Vec<usize>,
    /// Weights of the penalty, for activations as they are. Required.
    pub lambdas: Vec<f64>,
    /// Seeds. Default: 0.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Optimiser steps. Required; the cost grows with it.
    pub steps: usize,
    /// Fresh activations of a step. Default 1024.
    #[serde(default = "batch")]
    pub batch: usize,
    /// Peak learning rate of Adam. Default 1e-3, as in the paper's autoencoders.
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
}

/// A grid of autoencoders on sums of a strong and a weak vector: every ratio with every number of latents, lambda, seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OcclusionFile {
    /// Mean norms of the strong over that of the weak vectors. Default 1.319: 2.44 / 1.85, as in the paper.
    #[serde(default = "ratio")]
    pub ratios: Vec<f64>,
    /// Numbers of latents. Required; the paper's are 512, 1024 and 2048.
    pub latents: Vec<usize>,
    /// Weights of the penalty, for activations as they are. Required; the paper's are 0.0125 to 2.
    pub lambdas: Vec<f64>,
    /// Seeds. Default: 0.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Passes over the sample. Default 1000, as in the paper; the cost grows with it.
    #[serde(default = "epochs")]
    pub epochs: usize,
    /// Activations of the sample. Default 20,000: the paper says nothing of it, and has as many of real ones.
    #[serde(default = "samples")]
    pub samples: usize,
    /// Activations of a step. Default 1024, one of the paper's.
    #[serde(default = "batch")]
    pub batch: usize,
    /// Peak learning rate of Adam. Default 1e-3, one of the paper's.
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

fn ratio() -> Vec<f64> {
    vec![1.319]
}

fn epochs() -> usize {
    1000
}

fn samples() -> usize {
    20_000
}

fn batch() -> usize {
    1024
}

fn learning_rate() -> f64 {
    1e-3
}

/// The configurations of a file, each once, in the order of the file; all in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PhenomenaFile")]
pub struct PhenomenaConfig {
    /// The configurations.
    pub jobs: Vec<Job>,
}

impl TryFrom<PhenomenaFile> for PhenomenaConfig {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`] names the field that is out of range.
    fn try_from(file: PhenomenaFile) -> Result<Self, Error> {
        let mut jobs = Vec::new();
        if let Some(AnalyticFile {
            encoders,
            samples,
            thresholds,
            seed,
        }) = file.splitting_analytic
        {
            at_least("encoders", encoders, 1)?;
            at_least("samples", samples, 4)?;
            at_least("thresholds", thresholds, 2)?;
            jobs.push(Job::SplittingAnalytic(splitting_analytic::Settings {
                encoders,
                samples,
                thresholds,
                seed,
            }));
        }
        for grid in &file.splitting {
            at_least("steps", grid.steps, 1)?;
            at_least("batch", grid.batch, 1)?;
            positive("learning_rate", grid.learning_rate)?;
            each(&grid.latents, &grid.lambdas, &grid.seeds, |latents, lambda, seed| {
                jobs.push(Job::Splitting(splitting::Settings {
                    latents,
                    lambda,
                    steps: grid.steps,
                    batch: grid.batch,
                    learning_rate: grid.learning_rate,
                    seed,
                }));
            })?;
        }
        for grid in &file.occlusion {
            at_least("epochs", grid.epochs, 1)?;
            at_least("batch", grid.batch, 1)?;
            at_least("samples", grid.samples, grid.batch)?;
            positive("learning_rate", grid.learning_rate)?;
            not_empty("ratios", &grid.ratios)?;
            for &ratio in &grid.ratios {
                if !(ratio >= 1.0 && ratio.is_finite()) {
                    return refuse("ratios", format!("holds {ratio}; a ratio strong / weak is at least 1"));
                }
                each(&grid.latents, &grid.lambdas, &grid.seeds, |latents, lambda, seed| {
                    jobs.push(Job::Occlusion(occlusion::Settings {
                        ratio,
                        latents,
                        lambda,
                        epochs: grid.epochs,
                        samples: grid.samples,
                        batch: grid.batch,
                        learning_rate: grid.learning_rate,
                        seed,
                    }));
                })?;
            }
        }
        for i in (0..jobs.len()).rev() {
            if jobs[..i].contains(&jobs[i]) {
                jobs.remove(i);
            }
        }
        if jobs.is_empty() {
            let reason = "asks for no toy; add [splitting_analytic], [[splitting]] or [[occlusion]]".to_owned();
            return refuse("file", reason);
        }
        Ok(Self { jobs })
    }
}

/// Calls `job` with every combination.
fn each(latents: &[usize], lambdas: &[f64], seeds: &[u64], mut job: impl FnMut(usize, f64, u64)) -> Result<(), Error> {
    not_empty("latents", latents)?;
    not_empty("lambdas", lambdas)?;
    not_empty("seeds", seeds)?;
    for &latents in latents {
        at_least("latents", latents, 1)?;
        for &lambda in lambdas {
            if !(lambda >= 0.0 && lambda.is_finite()) {
                return refuse("lambdas", format!("holds {lambda}; a weight is not negative"));
            }
            // Adding 0 makes a negative zero positive: the two are one configuration.
            seeds.iter().for_each(|&seed| job(latents, lambda + 0.0, seed));
        }
    }
    Ok(())
}

fn at_least(field: &'static str, value: usize, least: usize) -> Result<(), Error> {
    if value < least {
        return refuse(field, format!("is {value}; it must be at least {least}"));
    }
    Ok(())
}

fn positive(field: &'static str, value: f64) -> Result<(), Error> {
    if !(value > 0.0 && value.is_finite()) {
        return refuse(field, format!("is {value}; it must be a positive number"));
    }
    Ok(())
}

fn not_empty<T>(field: &'static str, values: &[T]) -> Result<(), Error> {
    if values.is_empty() {
        return refuse(field, "is an empty list".to_owned());
    }
    Ok(())
}

fn refuse<T>(field: &'static str, reason: String) -> Result<T, Error> {
    Err(Error::Config { field, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<PhenomenaConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn grids_become_configurations_each_once() {
        let text = r#"{"splitting_analytic": {},
            "splitting": [{"latents": [2, 1000], "lambdas": [1, 2], "steps": 10}],
            "occlusion": [{"latents": [64], "lambdas": [1], "seeds": [0, 1], "ratios": [1, 2]},
                          {"latents": [64], "lambdas": [1], "seeds": [1, 2], "ratios": [2]}]}"#;
        let jobs = config(text).unwrap().jobs;
        let mut names: Vec<String> = jobs.iter().map(Job::name).collect();
        assert_eq!(names.len(), 1 + 4 + 5, "{names:?}");
        assert_eq!(names[1], "splitting-f2-lambda1-seed0");
        assert_eq!(names[9], "occlusion-ratio2-f64-lambda1-seed2");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), jobs.len());
    }

    /// Every key of every toy at its least value, beyond it, empty and doubled: taken, or refused under its own name.
    #[test]
    fn every_key_is_taken_at_its_borders_and_refused_beyond() {
        let analytic: &[(&str, &[&str], &[&str])] = &[
            ("encoders", &["1", "1000000000"], &["0", "-1"]),
            ("samples", &["4"], &["0", "3"]),
            ("thresholds", &["2"], &["0", "1"]),
            ("seed", &["0", "9223372036854775807"], &["-1"]),
        ];
        let splitting: &[(&str, &[&str], &[&str])] = &[
            ("latents", &["[1]", "[8, 8]"], &["[]", "[0]", "[8, 0]"]),
            ("lambdas", &["[0]", "[-0.0]", "[1e300]"], &["[]", "[-1]"]),
            ("seeds", &["[0, 0]"], &["[]", "[-1]"]),
            ("steps", &["1"], &["0"]),
            ("batch", &["1"], &["0"]),
            ("learning_rate", &["1e-300", "1e300"], &["0", "-1"]),
        ];
        let occlusion: &[(&str, &[&str], &[&str])] = &[
            ("ratios", &["[1]", "[1.0, 1e300]", "[2, 2]"], &["[]", "[0.999]", "[0]"]),
            ("latents", &["[1]"], &["[]", "[0]"]),
            ("lambdas", &["[0]"], &["[]", "[-1]"]),
            ("seeds", &["[0]"], &["[]"]),
            ("epochs", &["1"], &["0"]),
            ("samples", &["1024"], &["0", "1023"]),
            ("batch", &["1", "20000"], &["0"]),
            ("learning_rate", &["1e-300"], &["0"]),
        ];
        let toys = [
            ("splitting_analytic", "", analytic),
            ("splitting", r#""latents": [8], "lambdas": [1], "steps": 1"#, splitting),
            ("occlusion", r#""latents": [8], "lambdas": [1]"#, occlusion),
        ];
        for (toy, required, keys) in toys {
            for (key, taken, refused) in keys {
                let with = |value: &str| {
                    let others = required
                        .split(", \"")
                        .filter(|part| !part.trim_start_matches('"').starts_with(key));
                    let others: Vec<String> = others
                        .filter(|part| !part.is_empty())
                        .map(|part| format!("\"{}, ", part.trim_start_matches('"')))
                        .collect();
                    let table = format!("{{{}\"{key}\": {value}}}", others.concat());
                    match toy {
                        "splitting_analytic" => config(&format!("{{\"{toy}\": {table}}}")),
                        _ => config(&format!("{{\"{toy}\": [{table}]}}")),
                    }
                };
                for value in *taken {
                    let jobs = with(value)
                        .unwrap_or_else(|error| panic!("{toy}.{key} = {value}: {error}"))
                        .jobs;
                    assert_eq!(
                        jobs.len(),
                        1 + usize::from(value.contains("1e300") && *key == "ratios"),
                        "{key} = {value}"
                    );
                }
                for value in *refused {
                    let message = with(value).expect_err(value);
                    // What serde refuses gets its key from the reader of the file.
                    let named = message.contains("expected") || message.contains(&format!("`{key}`"));
                    assert!(named, "{toy}.{key} = {value}: {message}");
                }
            }
        }
        for text in ["{}", r#"{"splitting": [], "occlusion": []}"#] {
            assert!(config(text).unwrap_err().contains("asks for no toy"));
        }
        let step = r#"{"splitting": [{"latents": [8], "lambdas": [1], "steps": 1, "step": 1}]}"#;
        assert!(config(step).unwrap_err().contains("step"));
    }

    #[test]
    fn a_negative_zero_is_the_configuration_of_zero() {
        let name = |lambda: &str| {
            let text = format!(r#"{{"splitting": [{{"latents": [2], "lambdas": [{lambda}], "steps": 1}}]}}"#);
            config(&text).unwrap().jobs[0].file_name().unwrap()
        };
        assert_eq!(name("-0.0"), name("0.0"));
    }
}
