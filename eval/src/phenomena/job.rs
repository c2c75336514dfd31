//! One configuration of a toy, and the file that holds what it showed.
//!
//! A finished configuration is a JSON file of its own, named after its settings and the first digits of their hash:
//! a run that is broken off goes on where it stopped, and two configs that share a configuration share its file.
//! The toys are those of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)).

use super::{occlusion_toy, splitting_analytic, splitting_toy};
use crate::Error;
use burn::tensor::Device;
use lm::files;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One configuration of a toy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "toy", rename_all = "kebab-case")]
pub enum Job {
    /// Two Gaussians without training.
    SplittingAnalytic(splitting_analytic::Settings),
    /// Two Gaussians.
    Splitting(splitting_toy::Settings),
    /// Two sets of vectors of different norm.
    Occlusion(occlusion_toy::Settings),
}

/// What one configuration showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Two Gaussians without training.
    SplittingAnalytic(splitting_analytic::Outcome),
    /// Two Gaussians.
    Splitting(splitting_toy::Outcome),
    /// Two sets of vectors of different norm.
    Occlusion(occlusion_toy::Outcome),
}

/// A finished configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its settings.
    pub settings: Job,
    /// What it showed.
    pub outcome: Outcome,
}

impl Job {
    /// The settings in words that fit a file name.
    pub fn name(&self) -> String {
        match self {
            Self::SplittingAnalytic(of) => format!("splitting-analytic-seed{}", of.seed),
            Self::Splitting(of) => format!("splitting-f{}-lambda{}-seed{}", of.latents, of.lambda, of.seed),
            Self::Occlusion(of) => {
                let (ratio, latents, lambda, seed) = (of.ratio, of.latents, of.lambda, of.seed);
                format!("occlusion-ratio{ratio}-f{latents}-lambda{lambda}-seed{seed}")
            }
        }
    }

    /// Name of the file of this configuration: [`Job::name`] and eight digits of the hash of all settings.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn file_name(&self) -> Result<String, Error> {
        let hash = files::sha256_hex(&serde_json::to_vec(self)?);
        Ok(format!("{}-{:.8}.json", self.name(), hash))
    }

    /// Optimiser steps.
    pub fn steps(&self) -> usize {
        match self {
            Self::SplittingAnalytic(_) => 0,
            Self::Splitting(of) => of.steps,
            Self::Occlusion(of) => of.steps(),
        }
    }

    /// Seconds that it takes on two cores, roughly.
    pub fn seconds(&self) -> f64 {
        // Nanoseconds for each entry of a batch's codes at widths near 64 and 100, as `make phenomena-quick` takes them.
        const NANOSECONDS: f64 = 5.0;
        let entries = match self {
            Self::SplittingAnalytic(of) => of.samples * of.encoders * of.thresholds / 10,
            Self::Splitting(of) => of.steps * of.batch * of.latents.max(64),
            Self::Occlusion(of) => of.steps() * of.batch * of.latents,
        };
        entries as f64 * NANOSECONDS * 1e-9
    }

    /// Runs it; tells each optimiser step.
    ///
    /// # Errors
    /// Settings that do not fit together; a loss that is not finite.
    pub fn run(&self, device: &Device, on_step: &mut dyn FnMut()) -> Result<Outcome, Error> {
        Ok(match self {
            Self::SplittingAnalytic(settings) => Outcome::SplittingAnalytic(settings.run()),
            Self::Splitting(settings) => Outcome::Splitting(settings.run(device, on_step)?),
            Self::Occlusion(settings) => Outcome::Occlusion(settings.run(device, on_step)?),
        })
    }

    /// The record of this configuration in `dir`, if it is finished.
    ///
    /// # Errors
    /// A file that is no record, or one of other settings.
    pub fn finished(&self, dir: &Path) -> Result<Option<Record>, Error> {
        let path = dir.join(self.file_name()?);
        if !path.exists() {
            return Ok(None);
        }
        let record: Record = files::read_json(&path)?;
        if record.settings != *self {
            return Err(Error::OtherSettings { path });
        }
        Ok(Some(record))
    }

    /// Runs it and writes its record to `dir`; tells each optimiser step.
    ///
    /// # Errors
    /// As [`Job::run`], and a folder that cannot be written.
    pub fn finish(&self, dir: &Path, device: &Device, on_step: &mut dyn FnMut()) -> Result<Record, Error> {
        let record = Record {
            settings: self.clone(),
            outcome: self.run(device, on_step)?,
        };
        files::write_json(&dir.join(self.file_name()?), &record)?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::cpu;

    fn job(seed: u64) -> Job {
        Job::Splitting(splitting_toy::Settings {
            latents: 2,
            lambda: 2.0,
            steps: 5,
            batch: 64,
            learning_rate: 1e-3,
            seed,
        })
    }

    #[test]
    fn a_finished_configuration_is_read_back_and_another_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut steps = 0;
        let record = job(0).finish(dir.path(), &cpu(), &mut || steps += 1).unwrap();
        assert_eq!((steps, job(0).steps()), (5, 5));
        assert_eq!(job(0).finished(dir.path()).unwrap(), Some(record));
        assert_eq!(job(1).finished(dir.path()).unwrap(), None);

        let (from, to) = (job(0).file_name().unwrap(), job(1).file_name().unwrap());
        std::fs::rename(dir.path().join(from), dir.path().join(to)).unwrap();
        let error = job(1).finished(dir.path()).unwrap_err().to_string();
        assert!(error.contains("other settings") && error.contains("seed1"), "{error}");
    }

    #[test]
    fn every_outcome_is_told_apart_in_json() {
        let analytic = Job::SplittingAnalytic(splitting_analytic::Settings {
            encoders: 10,
            samples: 40,
            thresholds: 3,
            seed: 0,
        });
        let occlusion = Job::Occlusion(occlusion_toy::Settings {
            ratio: 1.3,
            latents: 8,
            lambda: 0.5,
            epochs: 1,
            samples: 64,
            batch: 32,
            learning_rate: 1e-3,
            seed: 0,
        });
        for job in [analytic, occlusion, job(3)] {
            let dir = tempfile::tempdir().unwrap();
            let record = job.finish(dir.path(), &cpu(), &mut || ()).unwrap();
            assert_eq!(job.finished(dir.path()).unwrap(), Some(record));
        }
    }
}
