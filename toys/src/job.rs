//! One configuration of a toy, and the file that holds what it showed.
//!
//! A finished configuration is a JSON file of its own, named after its settings and the first digits of their hash:
//! a run that is broken off continues where it stopped, and two configs that share a configuration share its file. The last
//! line of a file is the hash of the program and of all that stands before it: a file that was changed, that belongs to
//! other settings than its name says or that another program made is not used, its configuration is run again.
//! The toys are those of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)).

use crate::Error;
use crate::{occlusion, splitting, splitting_analytic};
use artifacts::Sha256Hex;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
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
    Splitting(splitting::Settings),
    /// Two sets of vectors of different norm.
    Occlusion(occlusion::Settings),
}

/// What one configuration showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Two Gaussians without training.
    SplittingAnalytic(splitting_analytic::Outcome),
    /// Two Gaussians.
    Splitting(splitting::Outcome),
    /// Two sets of vectors of different norm.
    Occlusion(occlusion::Outcome),
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
            Self::Splitting(of) => {
                let (latents, lambda, seed) = (of.latents, short(of.lambda), of.seed);
                format!("splitting-f{latents}-lambda{lambda}-seed{seed}")
            }
            Self::Occlusion(of) => {
                let (ratio, latents, lambda, seed) = (short(of.ratio), of.latents, short(of.lambda), of.seed);
                format!("occlusion-ratio{ratio}-f{latents}-lambda{lambda}-seed{seed}")
            }
        }
    }

    /// SHA-256 of all settings.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn hash(&self) -> Result<String, Error> {
        Ok(artifacts::sha256_hex(&serde_json::to_vec(self)?))
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
        // three times as much. Counted in f64: the largest grids have more entries than a usize can count.
        const OF_ENTRY: f64 = 1e-8;
        const OF_STEP: f64 = 4e-4;
        let entries = match self {
            Self::SplittingAnalytic(of) => [of.samples, of.encoders, of.thresholds],
            Self::Splitting(of) => [of.steps, of.batch, of.latents],
            Self::Occlusion(of) => [of.steps(), of.batch, of.latents],
        };
        let entries: f64 = entries.map(|factor| factor as f64).iter().product();
        let of_entry = match self {
            Self::SplittingAnalytic(_) => OF_ENTRY / 10.0,
            _ => OF_ENTRY,
        };
        entries * of_entry + self.steps() as f64 * OF_STEP
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

    /// Runs it, writes its record to `records` and gives what was written; tells each optimiser step.
    ///
    /// # Errors
    /// As [`Job::run`], and a folder that cannot be written.
    pub fn finish(&self, records: &Records, device: &Device, on_step: &mut dyn FnMut()) -> Result<Record, Error> {
        let record = Record {
            hash: self.hash()?,
            settings: self.clone(),
            outcome: self.run(device, on_step)?,
        };
        let text = records.sealed(&serde_json::to_string_pretty(&record)?);
        artifacts::write_atomic(&records.path(self)?, |file| file.write_all(text.as_bytes()))?;
        // The last bit of a number may be lost in JSON: the text is read, so that a run that continues gives the same bytes.
        Ok(Record {
            settings: self.clone(),
            ..serde_json::from_str(&text)?
        })
    }
}

/// A number as it is written, or with an exponent where that has more digits than a file name should.
fn short(number: f64) -> String {
    let written = number.to_string();
    if written.len() > 12 {
        format!("{number:e}")
    } else {
        written
    }
}

/// The folder of the records of finished configurations.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
    program: String,
}

impl Records {
    /// Records in `folder`, which need not exist yet. `program` names what runs the toys: its revision, and all else of it or
    /// of the machine that outcomes may depend on. What another program has made is not used.
    pub fn new(folder: PathBuf, program: String) -> Self {
        Self { folder, program }
    }

    /// Where the record of a configuration stands once it is finished.
    ///
    /// # Errors
    /// Settings that JSON cannot hold.
    pub fn path(&self, job: &Job) -> Result<PathBuf, Error> {
        Ok(self.folder.join(job.file_name()?))
    }

    /// The record of a configuration; none when it is not finished, or when what stands in its place is not a record of it as
    /// this program wrote it.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn finished(&self, job: &Job) -> Result<Option<Record>, Error> {
        let path = self.path(job)?;
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| artifacts::Error::read(&path, source))?,
        };
        let hash = job.hash()?;
        let record = self.opened(&text).filter(|record| record.hash == hash);
        Ok(record.map(|record| Record {
            settings: job.clone(),
            ..record
        }))
    }

    /// A record's JSON with the seal as its last key.
    fn sealed(&self, record: &str) -> String {
        let body = record.trim_end_matches('}').trim_end();
        format!("{body}{}", self.seal(body))
    }

    /// The record in a file, if its seal is that of its bytes and of this program.
    fn opened(&self, file: &[u8]) -> Option<Record> {
        let text = std::str::from_utf8(file).ok()?;
        let body = &text[..text.rfind(SEAL)?];
        (text[body.len()..] == self.seal(body)).then_some(())?;
        serde_json::from_str(text).ok()
    }

    /// What follows `body`, the JSON of a record without its last bracket.
    fn seal(&self, body: &str) -> String {
        let mut hash = Sha256Hex::default();
        hash.update(self.program.as_bytes());
        hash.update(body.as_bytes());
        format!("{SEAL}{}\"\n}}\n", hash.finish())
    }
}

/// Between a record and the hash that seals it.
const SEAL: &str = ",\n  \"sha256\": \"";

/// Finishes `jobs`, several at once, and gives their records in the same order; tells each optimiser step.
///
/// A single autoencoder of a toy is too small to keep more than one core busy. Workers are threads of their own and not
/// tasks of rayon's pool, where one that waits inside a tensor operation would take up another whole configuration.
///
/// # Errors
/// As [`Job::finish`]; what was finished before is kept.
pub fn finish_all(
    jobs: &[Job],
    records: &Records,
    device: &Device,
    on_step: &(dyn Fn() + Sync),
) -> Result<Vec<Record>, Error> {
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(jobs.len());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((place, job)) = jobs.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let result = job.finish(records, device, &mut || on_step());
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
        Job::Splitting(splitting::Settings {
            latents: 2,
            lambda: 2.0,
            steps: 5,
            batch: 64,
            learning_rate: 1e-3,
            seed,
        })
    }

    fn records(dir: &tempfile::TempDir) -> Records {
        Records::new(dir.path().to_owned(), "this".to_owned())
    }

    #[test]
    fn only_what_this_program_made_of_these_settings_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let records = records(&dir);
        let mut steps = 0;
        let record = job(0).finish(&records, &cpu(), &mut || steps += 1).unwrap();
        assert_eq!((steps, job(0).steps()), (5, 5));
        assert_eq!(records.finished(&job(0)).unwrap(), Some(record.clone()));
        assert_eq!(records.finished(&job(1)).unwrap(), None);
        let newer = Records::new(dir.path().to_owned(), "a newer one".to_owned());
        assert_eq!(newer.finished(&job(0)).unwrap(), None);

        let (path, whole) = (
            records.path(&job(0)).unwrap(),
            std::fs::read(records.path(&job(0)).unwrap()).unwrap(),
        );
        let as_json: Record = artifacts::read_json(&path).unwrap();
        assert_eq!(as_json.hash, record.hash, "the file is JSON, the seal its last key");
        // Under the name of another configuration.
        std::fs::write(records.path(&job(1)).unwrap(), &whole).unwrap();
        assert_eq!(records.finished(&job(1)).unwrap(), None);
        // Any byte that is changed, and any end that is cut off.
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert_eq!(records.finished(&job(0)).unwrap(), None, "byte {place}");
            std::fs::write(&path, &whole[..place]).unwrap();
            assert_eq!(records.finished(&job(0)).unwrap(), None, "cut at {place}");
        }
        // It is run again, to the same bytes.
        assert_eq!(job(0).finish(&records, &cpu(), &mut || ()).unwrap(), record);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn many_at_once_are_the_same_one_by_one() {
        let [one_by_one, at_once] = [0, 1].map(|_| tempfile::tempdir().unwrap());
        let jobs: Vec<Job> = (0..5).map(job).collect();
        let expected: Vec<Record> = jobs
            .iter()
            .map(|job| job.finish(&records(&one_by_one), &cpu(), &mut || ()).unwrap())
            .collect();
        let steps = AtomicUsize::new(0);
        let count = || {
            steps.fetch_add(1, Ordering::Relaxed);
        };
        let found = finish_all(&jobs, &records(&at_once), &cpu(), &count).unwrap();
        assert_eq!((found, steps.into_inner()), (expected, 25));
        for job in &jobs {
            let [a, b] = [&one_by_one, &at_once].map(|dir| std::fs::read(records(dir).path(job).unwrap()));
            assert_eq!(a.unwrap(), b.unwrap());
        }
    }

    #[test]
    fn one_that_fails_stops_the_rest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let jobs: Vec<Job> = (0..5).map(job).collect();
        // A file cannot be a folder.
        let records = Records::new(file.path().to_owned(), String::new());
        assert!(finish_all(&jobs, &records, &cpu(), &|| ()).is_err());
    }

    #[test]
    fn every_outcome_is_told_apart_in_json() {
        let analytic = Job::SplittingAnalytic(splitting_analytic::Settings {
            encoders: 10,
            samples: 40,
            thresholds: 3,
            seed: 0,
        });
        let occlusion = Job::Occlusion(occlusion::Settings {
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
            let record = job.finish(&records(&dir), &cpu(), &mut || ()).unwrap();
            assert_eq!(records(&dir).finished(&job).unwrap(), Some(record));
        }
    }

    #[test]
    fn names_fit_a_file_system() {
        assert_eq!(
            [1.319, 0.0125, 1e300, 1e-12].map(short),
            ["1.319", "0.0125", "1e300", "1e-12"].map(str::to_owned)
        );
    }

    #[test]
    fn the_largest_grid_has_a_cost() {
        let most = 1_000_000_000;
        let job = Job::SplittingAnalytic(splitting_analytic::Settings {
            encoders: most,
            samples: most,
            thresholds: most,
            seed: 0,
        });
        assert!((job.seconds() / 1e18 - 1.0).abs() < 1e-9, "{}", job.seconds());
    }
}
