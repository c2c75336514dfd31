//! An autoencoder of this project on disk: the folder that SAELens reads, and beside it `config.json`, where it comes from.
//!
//! `config.json` is written last, so a folder that has one is whole.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use lm::files;
use serde::{Deserialize, Serialize};

use crate::formats::{WEIGHTS, damaged};
use crate::{Autoencoder, Error, Summary, Variant};

const FORMAT_VERSION: u32 = 5;
const CONFIG: &str = "config.json";

/// Where an autoencoder comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// It was trained here.
    Trained(Box<Trained>),
    /// It was converted from the folder of another library.
    Imported {
        /// The folder.
        path: PathBuf,
    },
}

/// How an autoencoder was trained, and how it turned out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// What it was trained as.
    pub variant: Variant,
    /// The node, or the hook, whose activations it was trained on.
    pub site: String,
    /// Hash of the store that held them.
    pub parent: String,
    /// Hash of the model that they are of.
    pub model: String,
    /// Hash of the settings it was trained with ([`crate::TrainConfig::hash`]).
    pub config: String,
    /// These settings ([`crate::TrainConfig::settings`]).
    pub settings: serde_json::Value,
    /// Measured at the end.
    pub summary: Summary,
}

impl Origin {
    /// What SAELens shows of it.
    pub(crate) fn metadata(&self) -> serde_json::Map<String, serde_json::Value> {
        let pairs = match self {
            Self::Imported { path } => serde_json::json!({ "imported_from": path }),
            Self::Trained(trained) => {
                let (hook, head) = hook_and_head(&trained.site);
                serde_json::json!({
                    "hook_name": hook,
                    "hook_head_index": head,
                    "hook_name_out": trained.variant.target,
                    "training_architecture": trained.variant.architecture.name(),
                    "training_architecture_details": trained.variant.architecture,
                    "l0": trained.summary.l0,
                })
            }
        };
        match pairs {
            serde_json::Value::Object(map) => map,
            _ => serde_json::Map::new(),
        }
    }
}

/// The hook of a site, and its head if it is one: `blocks.0.attn.hook_z.1@END` or, of all positions, `blocks.0.attn.hook_z.1`.
fn hook_and_head(site: &str) -> (String, Option<usize>) {
    let place = site.split('@').next().unwrap_or(site);
    match place.rsplit_once('.').map(|(hook, head)| (hook, head.parse())) {
        Some((hook, Ok(head))) => (hook.to_owned(), Some(head)),
        _ => (place.to_owned(), None),
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    format_version: u32,
    weights: String,
    origin: Origin,
}

impl Autoencoder {
    /// Writes the folder.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn save(&self, dir: &Path, origin: &Origin) -> Result<(), Error> {
        self.save_saelens(dir, origin.metadata())?;
        let config = Config {
            format_version: FORMAT_VERSION,
            weights: files::sha256_file(&dir.join(WEIGHTS))?,
            origin: origin.clone(),
        };
        Ok(files::write_json(&dir.join(CONFIG), &config)?)
    }

    /// Reads a folder and where it comes from.
    ///
    /// # Errors
    ///
    /// Files that are missing, damaged or do not fit together.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let config_path = dir.join(CONFIG);
        let config: Config = files::read_json(&config_path)?;
        if config.format_version != FORMAT_VERSION {
            let reason = format!("format version {}, expected {FORMAT_VERSION}", config.format_version);
            return Err(damaged(&config_path, reason));
        }
        let path = dir.join(WEIGHTS);
        if files::sha256_file(&path)? != config.weights {
            return Err(damaged(&path, "its hash is not the one in config.json".to_owned()));
        }
        Ok((Self::load_saelens(dir, device)?, config.origin))
    }
}
