//! Scores of finished batches on disk, so that a long run that was ended goes on where it stopped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifacts::HostTensor;
use lm::Model;
use serde_json::json;

use crate::{Error, Pair, ScoreOptions};

/// The scores of one batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BatchScores {
    pub(crate) rows: Vec<usize>,
    /// Of each pair all edges, `[B, edges]`.
    pub(crate) values: Vec<f32>,
    pub(crate) clean: Vec<f64>,
    pub(crate) corrupted: Vec<f64>,
}

/// A folder of finished batches. Their names begin with a hash of everything that decides the scores, so none of other settings is
/// ever taken.
pub(crate) struct Kept {
    folder: PathBuf,
    key: String,
}

impl Kept {
    pub(crate) fn new(folder: &Path, model: &Model, pairs: &[Pair], options: &ScoreOptions) -> Result<Self, Error> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|pair| json!([pair.clean, pair.corrupted, pair.answer, pair.wrong, pair.positions]))
            .collect();
        let key = json!([model.file_hash(), pairs, options]).to_string();
        std::fs::create_dir_all(folder).map_err(|error| Error::File {
            path: folder.to_owned(),
            reason: format!("cannot be made: {error}"),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            key: artifacts::sha256_hex(key.as_bytes()).chars().take(16).collect(),
        })
    }

    /// The file of the batch that begins with the pair `rows[0]`.
    fn path(&self, rows: &[usize]) -> PathBuf {
        let first = rows.first().copied().unwrap_or(0);
        self.folder.join(format!("{}-{first}.safetensors", self.key))
    }

    /// The scores of a batch of `rows`, if they are there.
    pub(crate) fn load(&self, rows: &[usize], edges: usize) -> Result<Option<BatchScores>, Error> {
        let path = self.path(rows);
        if !path.exists() {
            return Ok(None);
        }
        let mut tensors = artifacts::read_tensors(&path)?;
        let mut take = |name: &str, len: usize| -> Option<Vec<f32>> {
            tensors
                .remove(name)
                .map(|tensor| tensor.data)
                .filter(|data| data.len() == len)
        };
        let wide = |data: Vec<f32>| data.into_iter().map(f64::from).collect();
        let n = rows.len();
        let scores = take("values", n * edges)
            .zip(take("clean", n))
            .zip(take("corrupted", n));
        let ((values, clean), corrupted) = scores.ok_or_else(|| Error::File {
            path,
            reason: "does not hold the scores of its batch: remove it".to_owned(),
        })?;
        Ok(Some(BatchScores {
            rows: rows.to_vec(),
            values,
            clean: wide(clean),
            corrupted: wide(corrupted),
        }))
    }

    pub(crate) fn save(&self, scores: &BatchScores) -> Result<(), Error> {
        // Metrics are numbers of `f32`, kept in double precision.
        let narrow =
            |values: &[f64]| HostTensor::new([values.len()], values.iter().map(|&value| value as f32).collect());
        let n = scores.rows.len();
        let tensors = BTreeMap::from([
            (
                "values".to_owned(),
                HostTensor::new([n, scores.values.len() / n], scores.values.clone()),
            ),
            ("clean".to_owned(), narrow(&scores.clean)),
            ("corrupted".to_owned(), narrow(&scores.corrupted)),
        ]);
        Ok(artifacts::write_tensors(
            &self.path(&scores.rows),
            &tensors,
            &BTreeMap::new(),
        )?)
    }

    /// Removes what was kept of these scores, and the folder when nothing else lies there.
    pub(crate) fn remove(self) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::File {
            path: self.folder.clone(),
            reason: format!("cannot be removed: {error}"),
        };
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with(&self.key) {
                artifacts::remove_file(&entry.path())?;
            }
        }
        if std::fs::read_dir(&self.folder).map_err(failed)?.next().is_none() {
            std::fs::remove_dir(&self.folder).map_err(failed)?;
        }
        Ok(())
    }
}
