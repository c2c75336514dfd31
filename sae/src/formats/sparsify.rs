//! sparsify (EleutherAI): `sae.safetensors` and `cfg.json`.
//!
//! `h = (x - b_dec) W_encᵀ + b`, a transcoder without the subtraction; ReLU, then the largest of each row (`topk`) or of each
//! group of neighbours (`groupmax`). It knows no other activation function.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use lm::files;
use serde::{Deserialize, Serialize};

use super::{Tensors, damaged, host, move_b_dec, unsupported};
use crate::{Activation, Autoencoder, Error, Normalisation, Parameters};

pub(super) const WEIGHTS: &str = "sae.safetensors";
const CONFIG: &str = "cfg.json";

/// `cfg.json`; what does not change the computation is ignored.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    #[serde(default = "topk")]
    activation: String,
    #[serde(default = "expansion")]
    expansion_factor: usize,
    #[serde(default = "yes")]
    normalize_decoder: bool,
    #[serde(default)]
    num_latents: usize,
    #[serde(default = "k")]
    k: usize,
    #[serde(default)]
    multi_topk: bool,
    #[serde(default)]
    skip_connection: bool,
    #[serde(default)]
    transcode: bool,
    d_in: usize,
}

fn topk() -> String {
    "topk".to_owned()
}

fn expansion() -> usize {
    32
}

fn k() -> usize {
    32
}

fn yes() -> bool {
    true
}

pub(super) fn load(dir: &Path, device: &Device) -> Result<Autoencoder, Error> {
    let config_path = dir.join(CONFIG);
    let config: Config = files::read_json(&config_path)?;
    let (d, k) = (config.d_in, config.k);
    let n_latents = match config.num_latents {
        0 => d * config.expansion_factor,
        n => n,
    };
    let activation = match config.activation.as_str() {
        "topk" => Activation::Topk { k },
        "groupmax" if k > 0 && n_latents.is_multiple_of(k) => Activation::Groupmax { k },
        other => {
            let reason = format!("`activation` is \"{other}\" with k = {k}, expected \"topk\" or \"groupmax\"");
            return Err(damaged(&config_path, reason));
        }
    };
    let path = dir.join(WEIGHTS);
    let mut tensors = Tensors {
        tensors: files::read_tensors(&path)?,
        device: device.clone(),
        path,
    };
    let parameters = Parameters {
        w_enc: tensors.take("encoder.weight", [n_latents, d])?,
        b_enc: tensors.take("encoder.bias", [n_latents])?,
        w_dec: tensors.take("W_dec", [n_latents, d])?,
        b_dec: tensors.take("b_dec", [d])?,
        extra: Vec::new(),
    };
    let skip = config
        .skip_connection
        .then(|| tensors.take("W_skip", [d, d]))
        .transpose()?;
    Ok(Autoencoder {
        transcodes: config.transcode,
        skip,
        ..Autoencoder::plain(activation, !config.transcode, parameters)
    })
}

pub(super) fn save(model: &Autoencoder, dir: &Path) -> Result<(), Error> {
    let (activation, k) = match model.activation {
        Activation::Topk { k } => ("topk", k),
        Activation::Groupmax { k } => ("groupmax", k),
        other => {
            let reason = format!("it knows top-k only, this is {}", other.saelens_name());
            return Err(unsupported("sparsify", reason));
        }
    };
    if model.normalisation != Normalisation::None {
        return Err(unsupported("sparsify", "it normalises no inputs".to_owned()));
    }
    let mut p = model.parameters.clone();
    if p.d_in() != p.d_out() {
        return Err(unsupported(
            "sparsify",
            "its outputs are as wide as its inputs".to_owned(),
        ));
    }
    if !model.subtracts_b_dec && !model.transcodes {
        move_b_dec(&mut p, model.activation, 1.0);
    }
    let mut tensors = BTreeMap::from([
        ("encoder.weight".to_owned(), host(&p.w_enc)),
        ("encoder.bias".to_owned(), host(&p.b_enc)),
        ("W_dec".to_owned(), host(&p.w_dec)),
        ("b_dec".to_owned(), host(&p.b_dec)),
    ]);
    if let Some(skip) = &model.skip {
        tensors.insert("W_skip".to_owned(), host(skip));
    }
    files::write_tensors(&dir.join(WEIGHTS), &tensors, &BTreeMap::new())?;
    let config = Config {
        activation: activation.to_owned(),
        expansion_factor: (p.n_latents() / p.d_in()).max(1),
        normalize_decoder: true,
        num_latents: p.n_latents(),
        k,
        multi_topk: false,
        skip_connection: model.skip.is_some(),
        transcode: model.transcodes,
        d_in: p.d_in(),
    };
    Ok(files::write_json(&dir.join(CONFIG), &config)?)
}
