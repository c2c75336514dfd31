//! An autoencoder on disk: `sae.safetensors` with SAELens's names (`W_enc`, `b_enc`, `W_dec`, `b_dec`) and `config.json`.
//!
//! `config.json` is written last, so a folder that has one is whole.

use std::collections::BTreeMap;
use std::path::Path;

use activations::{Dictionary, Node};
use burn::tensor::Device;
use kernels::{from_vec, to_vec};
use lm::{HostTensor, files};
use serde::{Deserialize, Serialize};

use crate::{Architecture, Autoencoder, Error, Parameters, Summary};

const FORMAT_VERSION: u32 = 1;

/// Where an autoencoder comes from, and how it turned out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The node whose activations it was trained on.
    pub node: Node,
    /// Hash of the store that held them.
    pub parent: String,
    /// Hash of the settings it was trained with ([`crate::TrainConfig::hash`]).
    pub config: String,
    /// Measured on the training activations at the end.
    pub summary: Summary,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    format_version: u32,
    d_in: usize,
    d_sae: usize,
    sparsity: Architecture,
    /// Pre-activations above it are codes, where training selected over a batch; 0 elsewhere.
    batch_threshold: f32,
    weights: String,
    origin: Origin,
}

impl Autoencoder {
    /// Writes the checkpoint into `dir`.
    pub fn save(&self, dir: &Path, origin: &Origin) -> Result<(), Error> {
        let (d_in, d_sae) = (self.d_in(), self.n_latents());
        let p = &self.parameters;
        let mut tensors = BTreeMap::from([
            (
                "W_enc".to_owned(),
                HostTensor::new([d_in, d_sae], to_vec(p.w_enc.clone().transpose())),
            ),
            ("b_enc".to_owned(), HostTensor::new([d_sae], to_vec(p.b_enc.clone()))),
            (
                "W_dec".to_owned(),
                HostTensor::new([d_sae, d_in], to_vec(p.w_dec.clone())),
            ),
            ("b_dec".to_owned(), HostTensor::new([d_in], to_vec(p.b_dec.clone()))),
        ]);
        for (name, values) in extra_names(self.architecture).iter().zip(&p.extra) {
            tensors.insert((*name).to_owned(), HostTensor::new([d_sae], to_vec(values.clone())));
        }
        let path = dir.join("sae.safetensors");
        files::write_tensors(&path, &tensors, &BTreeMap::new())?;
        let config = Config {
            format_version: FORMAT_VERSION,
            d_in,
            d_sae,
            sparsity: self.architecture,
            batch_threshold: self.batch_threshold,
            weights: files::sha256_file(&path)?,
            origin: origin.clone(),
        };
        Ok(files::write_json(&dir.join("config.json"), &config)?)
    }

    /// Reads a checkpoint and where it came from.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let config_path = dir.join("config.json");
        let path = dir.join("sae.safetensors");
        let config: Config = files::read_json(&config_path)?;
        let damaged = |path: &Path, reason: String| Error::Checkpoint {
            path: path.to_owned(),
            reason,
        };
        if config.format_version != FORMAT_VERSION {
            let reason = format!("format version {}, expected {FORMAT_VERSION}", config.format_version);
            return Err(damaged(&config_path, reason));
        }
        if files::sha256_file(&path)? != config.weights {
            return Err(damaged(&path, "its hash is not the one in config.json".to_owned()));
        }
        let mut tensors = files::read_tensors(&path)?;
        let mut take = |name: &str, shape: &[usize]| match tensors.remove(name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor.data),
            Some(tensor) => Err(damaged(
                &path,
                format!("`{name}` has shape {:?}, expected {shape:?}", tensor.shape),
            )),
            None => Err(damaged(&path, format!("`{name}` is missing"))),
        };
        let (d_in, d_sae) = (config.d_in, config.d_sae);
        let w_enc = from_vec(take("W_enc", &[d_in, d_sae])?, [d_in, d_sae], device).transpose(); // [F, D]
        let parameters = Parameters {
            w_enc,
            b_enc: from_vec(take("b_enc", &[d_sae])?, [d_sae], device),
            w_dec: from_vec(take("W_dec", &[d_sae, d_in])?, [d_sae, d_in], device),
            b_dec: from_vec(take("b_dec", &[d_in])?, [d_in], device),
            extra: extra_names(config.sparsity)
                .iter()
                .map(|name| Ok(from_vec(take(name, &[d_sae])?, [d_sae], device)))
                .collect::<Result<_, Error>>()?,
        };
        let model = Self {
            architecture: config.sparsity,
            parameters,
            batch_threshold: config.batch_threshold,
        };
        Ok((model, config.origin))
    }
}

/// SAELens's names of what only some architectures have, in the order of [`Parameters::extra`].
fn extra_names(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::Jumprelu { .. } => &["threshold"],
        Architecture::Gated { .. } => &["r_mag", "b_mag"],
        _ => &[],
    }
}
