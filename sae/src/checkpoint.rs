//! An autoencoder on disk, as SAELens (6 or later) reads it: `sae_weights.safetensors` and `cfg.json`; and beside them
//! `config.json`, where it comes from.
//!
//! `config.json` is written last, so a folder that has one is whole. A folder from SAELens has none and can be read too.

use std::collections::BTreeMap;
use std::path::Path;

use activations::{Dictionary, Node};
use burn::tensor::Device;
use kernels::{from_vec, to_vec};
use lm::{HostTensor, files};
use serde::{Deserialize, Serialize};

use crate::{Activation, Architecture, Autoencoder, Error, Parameters, Summary};

const FORMAT_VERSION: u32 = 2;
const WEIGHTS: &str = "sae_weights.safetensors";

/// Where an autoencoder comes from, and how it turned out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// What it was trained as.
    pub training: Architecture,
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
    weights: String,
    origin: Origin,
}

/// SAELens's `cfg.json`. Its files hold more; what does not change the computation is ignored.
#[derive(Debug, Serialize, Deserialize)]
struct SaeLensConfig {
    architecture: String,
    d_in: usize,
    d_sae: usize,
    dtype: String,
    device: String,
    apply_b_dec_to_input: bool,
    normalize_activations: String,
    #[serde(default = "none")]
    reshape_activations: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rescale_acts_by_decoder_norm: Option<bool>,
    #[serde(default)]
    metadata: serde_json::Value,
}

fn none() -> String {
    "none".to_owned()
}

fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        reason,
    }
}

impl Autoencoder {
    /// Writes the checkpoint into `dir`.
    pub fn save(&self, dir: &Path, origin: &Origin) -> Result<(), Error> {
        let (d_in, d_sae) = (self.d_in(), self.n_latents());
        let p = &self.parameters;
        let vector = |values| HostTensor::new([d_sae], values);
        let mut tensors = BTreeMap::from([
            (
                "W_enc".to_owned(),
                HostTensor::new([d_in, d_sae], to_vec(p.w_enc.clone().transpose())),
            ),
            (self.activation.bias_name().to_owned(), vector(to_vec(p.b_enc.clone()))),
            (
                "W_dec".to_owned(),
                HostTensor::new([d_sae, d_in], to_vec(p.w_dec.clone())),
            ),
            ("b_dec".to_owned(), HostTensor::new([d_in], to_vec(p.b_dec.clone()))),
        ]);
        for (name, values) in self.activation.extra_names().iter().zip(&p.extra) {
            tensors.insert((*name).to_owned(), vector(to_vec(values.clone())));
        }
        let path = dir.join(WEIGHTS);
        files::write_tensors(&path, &tensors, &BTreeMap::new())?;
        let k = match self.activation {
            Activation::Topk { k } => Some(k),
            Activation::Relu | Activation::Jumprelu | Activation::Gated => None,
        };
        let saelens = SaeLensConfig {
            architecture: self.activation.saelens_name().to_owned(),
            d_in,
            d_sae,
            dtype: "float32".to_owned(),
            device: "cpu".to_owned(),
            apply_b_dec_to_input: self.subtracts_b_dec,
            normalize_activations: none(),
            reshape_activations: none(),
            k,
            rescale_acts_by_decoder_norm: k.map(|_| false),
            metadata: serde_json::json!({
                "hook_name": origin.node.hook.to_string(),
                "hook_head_index": origin.node.head,
                "training_architecture": origin.training.name(),
                "training_architecture_details": origin.training,
                "l0": origin.summary.l0,
            }),
        };
        files::write_json(&dir.join("cfg.json"), &saelens)?;
        let config = Config {
            format_version: FORMAT_VERSION,
            weights: files::sha256_file(&path)?,
            origin: origin.clone(),
        };
        Ok(files::write_json(&dir.join("config.json"), &config)?)
    }

    /// Reads a checkpoint and where it came from.
    pub fn load(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let config_path = dir.join("config.json");
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

    /// Reads `cfg.json` and `sae_weights.safetensors`, whoever wrote them.
    ///
    /// # Errors
    ///
    /// Files that are missing, damaged or do not fit together; an architecture or a normalisation of inputs that is not
    /// implemented.
    pub fn load_saelens(dir: &Path, device: &Device) -> Result<Self, Error> {
        let config_path = dir.join("cfg.json");
        let config: SaeLensConfig = files::read_json(&config_path)?;
        let refuse = |field: &str, found: &str, expected: &str| {
            Err(damaged(
                &config_path,
                format!("`{field}` is \"{found}\", expected {expected}"),
            ))
        };
        let activation = match (config.architecture.as_str(), config.k) {
            ("standard", _) => Activation::Relu,
            ("jumprelu", _) => Activation::Jumprelu,
            ("gated", _) => Activation::Gated,
            ("topk", Some(k)) => Activation::Topk { k },
            ("topk", None) => return Err(damaged(&config_path, "`k` is missing".to_owned())),
            (other, _) => {
                return refuse(
                    "architecture",
                    other,
                    "\"standard\", \"jumprelu\", \"topk\" or \"gated\"",
                );
            }
        };
        if config.normalize_activations != "none" {
            return refuse("normalize_activations", &config.normalize_activations, "\"none\"");
        }
        let (d_in, d_sae) = (config.d_in, config.d_sae);
        let path = dir.join(WEIGHTS);
        let mut tensors = files::read_tensors(&path)?;
        let mut take = |name: &str, shape: &[usize]| match tensors.remove(name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor.data),
            Some(tensor) => Err(damaged(
                &path,
                format!("`{name}` has shape {:?}, expected {shape:?}", tensor.shape),
            )),
            None => Err(damaged(&path, format!("`{name}` is missing"))),
        };
        let w_enc = from_vec(take("W_enc", &[d_in, d_sae])?, [d_in, d_sae], device).transpose(); // [F, D]
        let mut parameters = Parameters {
            w_enc,
            b_enc: from_vec(take(activation.bias_name(), &[d_sae])?, [d_sae], device),
            w_dec: from_vec(take("W_dec", &[d_sae, d_in])?, [d_sae, d_in], device),
            b_dec: from_vec(take("b_dec", &[d_in])?, [d_in], device),
            extra: activation
                .extra_names()
                .iter()
                .map(|name| Ok(from_vec(take(name, &[d_sae])?, [d_sae], device)))
                .collect::<Result<_, Error>>()?,
        };
        if config.rescale_acts_by_decoder_norm == Some(true) {
            // Selection is by pre-activation times norm, and so are the codes.
            parameters.fold_decoder_norms();
        }
        Ok(Self {
            activation,
            subtracts_b_dec: config.apply_b_dec_to_input,
            parameters,
        })
    }
}
