//! A supervised dictionary on disk: `dictionary.safetensors` and, written last, `config.json`.
//!
//! Shapes: `D` width, `F` latents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use activations::Node;
use artifacts::HostTensor;
use burn::tensor::Device;
use dictionaries::Dictionary;
use serde::{Deserialize, Serialize};
use tasks::Attribute;

use crate::{Columns, Error, FitMethod, Parametrization, SupervisedDictionary};

/// Version of the two files; a reader refuses any other.
///
/// 2 says the parametrization.
const FORMAT_VERSION: u32 = 2;
const KIND: &str = "supervised";
const WEIGHTS_FILE: &str = "dictionary.safetensors";
const CONFIG_FILE: &str = "config.json";

/// What a saved dictionary was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The node whose activations it describes.
    pub node: Node,
    /// Hash of the store that they came from (`activations::Store::hash`).
    pub parent: String,
}

/// `config.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    format_version: u32,
    kind: String,
    method: FitMethod,
    parametrization: Parametrization,
    /// Its role decides how many names the parametrization of that name has.
    node: Node,
    /// Width `D`.
    d_in: usize,
    /// Values of each attribute; with the parametrization and the node it says which latent is what.
    attributes: BTreeMap<Attribute, usize>,
    parent: String,
    /// sha256 of `dictionary.safetensors`.
    weights_sha256: String,
}

impl SupervisedDictionary {
    /// Writes the dictionary into the folder `dir`, which is made when it does not exist.
    ///
    /// # Errors
    ///
    /// A dictionary that was fitted for another role than that of the node; files that cannot be written.
    pub fn save(&self, dir: &Path, origin: &Origin) -> Result<(), Error> {
        let (parametrization, n_values) = (self.columns().parametrization(), self.columns().n_values());
        if *self.columns() != Columns::new(parametrization, n_values.clone(), origin.node.role)? {
            return Err(Error::Config {
                field: "node",
                reason: format!("is {}, but the dictionary was fitted for another role", origin.node),
            });
        }
        std::fs::create_dir_all(dir).map_err(|source| Error::Io {
            path: dir.to_owned(),
            source,
        })?;
        let (d_in, weights) = (self.d_in(), dir.join(WEIGHTS_FILE));
        let tensors = BTreeMap::from([
            (
                "features".to_owned(),
                HostTensor {
                    shape: vec![self.n_latents(), d_in],
                    data: self.features().to_vec(),
                },
            ),
            (
                "mean".to_owned(),
                HostTensor {
                    shape: vec![d_in],
                    data: self.mean(),
                },
            ),
        ]);
        let metadata = BTreeMap::from([("saelab.format_version".to_owned(), FORMAT_VERSION.to_string())]);
        artifacts::write_tensors(&weights, &tensors, &metadata)?;
        let config = ConfigFile {
            format_version: FORMAT_VERSION,
            kind: KIND.to_owned(),
            method: self.method(),
            parametrization,
            node: origin.node,
            d_in,
            attributes: n_values.iter().collect(),
            parent: origin.parent.clone(),
            weights_sha256: artifacts::sha256_file(&weights)?,
        };
        Ok(artifacts::write_json(&dir.join(CONFIG_FILE), &config)?)
    }

    /// Reads the dictionary in the folder `dir`, and what it was made from.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let path = dir.join(CONFIG_FILE);
        let config = read_config(&path)?;
        let weights = dir.join(WEIGHTS_FILE);
        let hash = artifacts::sha256_file(&weights)?;
        if hash != config.weights_sha256 {
            return Err(saved(&weights, format!("sha256 {}", config.weights_sha256), hash));
        }
        let n_values = config.attributes.into_iter().collect();
        let columns = Columns::new(config.parametrization, n_values, config.node.role).map_err(|error| {
            saved(
                &path,
                format!("a parametrization {}", config.parametrization),
                error.to_string(),
            )
        })?;
        let mut tensors = artifacts::read_tensors(&weights)?;
        let mut take = |name: &str, shape: Vec<usize>| match tensors.remove(name) {
            Some(tensor) if tensor.shape != shape => Err(saved(
                &weights,
                format!("{name} of shape {shape:?}"),
                format!("{:?}", tensor.shape),
            )),
            Some(tensor) if tensor.data.iter().any(|value| !value.is_finite()) => {
                Err(saved(&weights, format!("finite values of {name}"), "others".to_owned()))
            }
            Some(tensor) => Ok(tensor.data),
            None => Err(saved(&weights, format!("tensor {name}"), "none".to_owned())),
        };
        let features = take("features", vec![columns.len(), config.d_in])?;
        let mean = take("mean", vec![config.d_in])?;
        let origin = Origin {
            node: config.node,
            parent: config.parent,
        };
        Ok((Self::new(config.method, columns, features, mean, device), origin))
    }
}

fn read_config(path: &PathBuf) -> Result<ConfigFile, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.clone(),
        source,
    })?;
    let invalid = |error: serde_json::Error| saved(path, format!("a {KIND} dictionary"), error.to_string());
    // Version and kind are read alone first: others may have other fields.
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(invalid)?;
    if value["kind"] != KIND {
        return Err(saved(path, format!("kind \"{KIND}\""), value["kind"].to_string()));
    }
    if value["format_version"] != FORMAT_VERSION {
        return Err(saved(
            path,
            format!("format version {FORMAT_VERSION}"),
            value["format_version"].to_string(),
        ));
    }
    serde_json::from_value(value).map_err(invalid)
}

fn saved(path: &Path, expected: String, found: String) -> Error {
    Error::Saved {
        path: path.to_owned(),
        expected,
        found,
    }
}
