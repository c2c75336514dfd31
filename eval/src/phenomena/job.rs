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
use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

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
    /// [`Job::hash`] of its settings.
    pub hash: String,
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

    /// SHA-256 of all settings.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn hash(&self) -> Result<String, Error> {
        Ok(files::sha256_hex(&serde_json::to_vec(self)?))
    }

    /// Name of the file of this configuration: [`Job::name`] and eight digits of the hash.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn file_name(&self) -> Result<String, Error> {
        Ok(format!("{}-{:.8}.json", self.name(), self.hash()?))
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
        // Of an entry of a batch's codes and of a step: between what few active latents cost, which is half, and many, which is
        // three times as much.
        const OF_ENTRY: f64 = 1e-8;
        const OF_STEP: f64 = 4e-4;
        let entries = match self {
            Self::SplittingAnalytic(of) => of.samples * of.encoders * of.thresholds / 10,
            Self::Splitting(of) => of.steps * of.batch * of.latents,
            Self::Occlusion(of) => of.steps() * of.batch * of.latents,
        };
        entries as f64 * OF_ENTRY + self.steps() as f64 * OF_STEP
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
        path.exists().then(|| self.read(path)).transpose()
    }

    /// Runs it, writes its record to `dir` and gives what was written; tells each optimiser step.
    ///
    /// # Errors
    /// As [`Job::run`], and a folder that cannot be written.
    pub fn finish(&self, dir: &Path, device: &Device, on_step: &mut dyn FnMut()) -> Result<Record, Error> {
        let record = Record {
            hash: self.hash()?,
            settings: self.clone(),
            outcome: self.run(device, on_step)?,
        };
        let path = dir.join(self.file_name()?);
        files::write_json(&path, &record)?;
        // The last bit of a number may be lost in JSON: the file is read, so that a run that goes on gives the same bytes.
        self.read(path)
    }

    fn read(&self, path: PathBuf) -> Result<Record, Error> {
        let record: Record = files::read_json(&path)?;
        if record.hash != self.hash()? {
            return Err(Error::OtherSettings { path });
        }
        Ok(Record {
            settings: self.clone(),
            ..record
        })
    }
}

/// Finishes `jobs`, several at once, and gives their records in the same order; tells each optimiser step.
///
/// A single autoencoder of a toy is too small to keep more than one core busy. Workers are threads of their own and not
/// tasks of rayon's pool, where one that waits inside a tensor operation would take up another whole configuration.
///
/// # Errors
/// As [`Job::finish`]; what was finished before is kept.
pub fn finish_all(
    jobs: &[Job],
    dir: &Path,
    device: &Device,
    on_step: &(dyn Fn() + Sync),
) -> Result<Vec<Record>, Error> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((place, job)) = jobs.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let result = job.finish(dir, device, &mut || on_step());
            if result.is_err() {
                next.store(jobs.len(), Ordering::Relaxed);
            }
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(place, result);
        }
    };
    thread::scope(|scope| {
        // This thread is one of the workers; where the system gives no more of them it does all the work.
        (1..workers).for_each(|_| drop(thread::Builder::new().spawn_scoped(scope, work)));
        work();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_values().collect()
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
    fn many_at_once_are_the_same_one_by_one() {
        let [one_by_one, at_once] = [0, 1].map(|_| tempfile::tempdir().unwrap());
        let jobs: Vec<Job> = (0..5).map(job).collect();
        let expected: Vec<Record> = jobs
            .iter()
            .map(|job| job.finish(one_by_one.path(), &cpu(), &mut || ()).unwrap())
            .collect();
        let steps = AtomicUsize::new(0);
        let count = || {
            steps.fetch_add(1, Ordering::Relaxed);
        };
        let found = finish_all(&jobs, at_once.path(), &cpu(), &count).unwrap();
        assert_eq!((found, steps.into_inner()), (expected, 25));
        for job in &jobs {
            let [a, b] = [&one_by_one, &at_once].map(|dir| std::fs::read(dir.path().join(job.file_name().unwrap())));
            assert_eq!(a.unwrap(), b.unwrap());
        }
    }

    #[test]
    fn one_that_fails_stops_the_rest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let jobs: Vec<Job> = (0..5).map(job).collect();
        // A file cannot be a folder.
        assert!(finish_all(&jobs, file.path(), &cpu(), &|| ()).is_err());
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
