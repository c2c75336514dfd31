//! Where the weights of a model lie: in `model.safetensors`, or in several files (shards) that an index names.
//!
//! `model.safetensors.index.json` holds `{"weight_map": {TENSOR: FILE, ...}}`; the files lie beside it. Where both are there,
//! `model.safetensors` is the model, as for `transformers`, and the index is left over from another form of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use artifacts::SafetensorsFile;
use serde::Deserialize;

use crate::Error;

/// All weights in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// Says which tensor lies in which file.
pub const INDEX: &str = "model.safetensors.index.json";
/// What other programs keep weights in; none of it is read.
const OTHER_FORMATS: [&str; 5] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "model.onnx",
];
/// More shards than any model has that could be run here.
const MOST_SHARDS: usize = 1000;

/// The file of each tensor.
#[derive(Debug, Clone, Deserialize)]
pub struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index, and checks that it names files beside it and nothing else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let index: Self = artifacts::read_json(path)?;
        let damaged = |reason: String| format(path.to_owned(), reason);
        let shards = index.shards();
        // A name that holds a slash, or is one of a folder, could lead out of the model's folder.
        let is_name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            name.ends_with(".safetensors") && !name.starts_with('.') && name.chars().all(plain)
        };
        if let Some(name) = shards.iter().find(|name| !is_name(name)) {
            return Err(damaged(format!("`{name}` is no name of a safetensors file beside it")));
        }
        if shards.is_empty() || shards.len() > MOST_SHARDS {
            return Err(damaged(format!("it names {} files", shards.len())));
        }
        Ok(index)
    }

    /// The names of the files, each once.
    pub fn shards(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

/// The files that hold the weights of a model.
#[derive(Debug)]
pub(crate) struct WeightFiles {
    folder: PathBuf,
    /// None where one file holds all.
    index: Option<Index>,
}

impl WeightFiles {
    /// Finds them in the folder of a model.
    pub(crate) fn find(folder: &Path) -> Result<Self, Error> {
        let has = |name: &str| folder.join(name).exists();
        let index = match (has(WEIGHTS), has(INDEX)) {
            (true, _) => None,
            (false, true) => Some(Index::read(&folder.join(INDEX))?),
            (false, false) => {
                return Err(Error::NoWeights {
                    path: folder.to_owned(),
                    found: OTHER_FORMATS.into_iter().find(|name| has(name)),
                });
            }
        };
        Ok(Self {
            folder: folder.to_owned(),
            index,
        })
    }

    /// The file that stands for all of them in errors.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(if self.index.is_some() { INDEX } else { WEIGHTS })
    }

    /// An index that is not followed, since one file holds all weights.
    pub(crate) fn passed_over(&self) -> Option<PathBuf> {
        let index = self.folder.join(INDEX);
        (self.index.is_none() && index.exists()).then_some(index)
    }

    /// The files, each with the tensors that the index places there; all where there is no index.
    ///
    /// # Errors
    ///
    /// A file that is not there, a tensor that lies elsewhere than the index says.
    pub(crate) fn open(&self) -> Result<Vec<SafetensorsFile>, Error> {
        let Some(index) = &self.index else {
            return Ok(vec![SafetensorsFile::open(&self.path())?]);
        };
        let mut found = BTreeSet::new();
        let mut opened = Vec::new();
        for shard in index.shards() {
            let path = self.folder.join(shard);
            if !path.exists() {
                return Err(Error::MissingShard {
                    path: self.path(),
                    shard: shard.to_owned(),
                });
            }
            let file = SafetensorsFile::open(&path)?;
            for name in file.names() {
                if index.weight_map.get(name).map(String::as_str) != Some(shard) {
                    let reason = format!("it holds `{name}`, which {INDEX} does not place there");
                    return Err(format(path, reason));
                }
                found.insert(name.to_owned());
            }
            opened.push(file);
        }
        match index.weight_map.iter().find(|(name, _)| !found.contains(*name)) {
            None => Ok(opened),
            Some((name, shard)) => Err(format(
                self.path(),
                format!("it places `{name}` in {shard}, which does not hold it"),
            )),
        }
    }

    /// What identifies the bytes of the weights: SHA-256 of the one file, or of the SHA-256 of each shard in hexadecimal
    /// digits, a line each, in the order of their names.
    pub(crate) fn hash(&self) -> Result<String, Error> {
        let Some(index) = &self.index else {
            return Ok(artifacts::sha256_file(&self.path())?);
        };
        let mut lines = String::new();
        for shard in index.shards() {
            lines += &artifacts::sha256_file(&self.folder.join(shard))?;
            lines.push('\n');
        }
        Ok(artifacts::sha256_hex(lines.as_bytes()))
    }
}

fn format(path: PathBuf, reason: String) -> Error {
    artifacts::Error::Format { path, reason }.into()
}
