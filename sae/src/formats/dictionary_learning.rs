//! dictionary_learning: `ae.pt`, a state dict of PyTorch, and `config.json`, whose `trainer.dict_class` says what it is.
//!
//! When the library loads an `AutoEncoder` it brings the decoder's directions to norm 1 and multiplies codes by what they
//! had; so does this. `AutoEncoderTopK` always selects; `BatchTopKSAE` and `MatryoshkaBatchTopKSAE` compare with their
//! threshold, or with 0 when it is not set.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use kernels::{from_vec, to_vec};
use lm::{HostTensor, files};
use serde::{Deserialize, Serialize};

use super::torch::{self, Numbers};
use super::{Tensors, damaged, host, move_b_dec, unsupported};
use crate::{Activation, Autoencoder, Error, Normalisation, Parameters};

pub(super) const WEIGHTS: &str = "ae.pt";
const CONFIG: &str = "config.json";

#[derive(Debug, Serialize, Deserialize)]
struct Config {
    trainer: Trainer,
}

#[derive(Debug, Serialize, Deserialize)]
struct Trainer {
    dict_class: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    #[serde(default)]
    activation_dim: usize,
    #[serde(default)]
    dict_size: usize,
}

/// Names of encoder, its bias, decoder and its bias, and whether matrices are `[D, F]` for the encoder and `[F, D]` for the
/// decoder (else the other way round).
type Names = ([&'static str; 4], bool);

const LINEAR: Names = (["encoder.weight", "encoder.bias", "decoder.weight", "b_dec"], false);
const PLAIN: Names = (["W_enc", "b_enc", "W_dec", "b_dec"], true);

/// The names of a class, how its codes become sparse, and whether the decoder's bias is subtracted.
fn class(name: &str, k: Option<usize>) -> Option<(Names, Activation, bool)> {
    let with = |bias, decoder_bias| (["encoder.weight", bias, "decoder.weight", decoder_bias], false);
    Some(match (name, k) {
        ("AutoEncoder", _) => (with("encoder.bias", "bias"), Activation::Relu, true),
        ("AutoEncoderNew", _) => (with("encoder.bias", "decoder.bias"), Activation::Relu, false),
        ("GatedAutoEncoder", _) => (with("gate_bias", "decoder_bias"), Activation::Gated, true),
        ("JumpReluAutoEncoder", _) => (PLAIN, Activation::Jumprelu, false),
        ("AutoEncoderTopK", Some(k)) => (LINEAR, Activation::Topk { k }, true),
        ("BatchTopKSAE", _) => (LINEAR, Activation::Jumprelu, true),
        ("MatryoshkaBatchTopKSAE", _) => (PLAIN, Activation::Jumprelu, true),
        _ => return None,
    })
}

pub(super) fn load(dir: &Path, device: &Device) -> Result<Autoencoder, Error> {
    let config_path = dir.join(CONFIG);
    let Trainer { dict_class, k, .. } = files::read_json::<Config>(&config_path)?.trainer;
    let Some(((names, plain), activation, subtracts)) = class(&dict_class, k) else {
        let reason = format!("`trainer.dict_class` \"{dict_class}\" is not known, or `trainer.k` is missing");
        return Err(damaged(&config_path, reason));
    };
    let path = dir.join(WEIGHTS);
    let mut tensors = Tensors {
        tensors: torch::read(&path)?,
        device: device.clone(),
        path: path.clone(),
    };
    let shape = tensors
        .tensors
        .get(names[0])
        .map(|tensor| tensor.shape.clone())
        .unwrap_or_default();
    let (d, f) = match (shape.as_slice(), plain) {
        (&[d, f], true) | (&[f, d], false) => (d, f),
        _ => return Err(damaged(&path, format!("`{}` is missing or no matrix", names[0]))),
    };
    let (w_enc, w_dec) = if plain {
        (
            tensors.take(names[0], [d, f])?.transpose(),
            tensors.take(names[2], [f, d])?,
        )
    } else {
        (
            tensors.take(names[0], [f, d])?,
            tensors.take(names[2], [d, f])?.transpose(),
        )
    };
    let extra = match (activation, dict_class.as_str()) {
        (Activation::Gated, _) => vec![tensors.take("r_mag", [f])?, tensors.take("mag_bias", [f])?],
        (Activation::Jumprelu, "JumpReluAutoEncoder") => vec![tensors.take("threshold", [f])?],
        (Activation::Jumprelu, _) => {
            let threshold: Tensor<1> = match tensors.tensors.remove("threshold") {
                // -1 for not set: a code is what is positive.
                Some(HostTensor { data, .. }) if data.len() == 1 => from_vec(vec![data[0].max(0.0); f], [f], device),
                _ => return Err(damaged(&path, "`threshold` is missing or no number".to_owned())),
            };
            vec![threshold]
        }
        _ => Vec::new(),
    };
    let mut parameters = Parameters {
        w_enc,
        b_enc: tensors.take(names[1], [f])?,
        w_dec,
        b_dec: tensors.take(names[3], [d])?,
        extra,
    };
    parameters.keep_thresholds_positive(activation);
    if dict_class == "AutoEncoder" && !parameters.has_unit_rows() {
        parameters.fold_decoder_norms(activation);
    }
    Ok(Autoencoder::plain(activation, subtracts, parameters))
}

pub(super) fn save(model: &Autoencoder, dir: &Path) -> Result<(), Error> {
    let refuse = |reason: &str| Err(unsupported("dictionary_learning", reason.to_owned()));
    if model.transcodes || model.skip.is_some() {
        return refuse("its dictionaries are autoencoders, this is a transcoder");
    }
    if model.normalisation != Normalisation::None {
        return refuse("its dictionaries normalise no inputs");
    }
    let mut p = model.parameters.clone();
    let (dict_class, k) = match model.activation {
        // With other rows it would change the codes when it loads them.
        Activation::Relu if model.subtracts_b_dec && p.has_unit_rows() => ("AutoEncoder", None),
        Activation::Relu => ("AutoEncoderNew", None),
        Activation::Gated => ("GatedAutoEncoder", None),
        Activation::Jumprelu => ("JumpReluAutoEncoder", None),
        Activation::Topk { k } => ("AutoEncoderTopK", Some(k)),
        Activation::Groupmax { .. } => return refuse("it knows no groupmax"),
    };
    let Some(((names, plain), _, subtracts)) = class(dict_class, k) else {
        return refuse("it has no such class");
    };
    match (model.subtracts_b_dec, subtracts) {
        (true, false) => move_b_dec(&mut p, model.activation, -1.0),
        (false, true) => move_b_dec(&mut p, model.activation, 1.0),
        _ => {}
    }
    let (d, f) = (p.d_in(), p.n_latents());
    let floats = |tensor: HostTensor| (tensor.shape, Numbers::F32(tensor.data));
    let matrices = if plain {
        [host(&p.w_enc.clone().transpose()), host(&p.w_dec)]
    } else {
        [host(&p.w_enc), host(&p.w_dec.clone().transpose())]
    };
    let [encoder, decoder] = matrices.map(floats);
    let mut tensors = BTreeMap::from([
        (names[0], encoder),
        (names[1], floats(host(&p.b_enc))),
        (names[2], decoder),
        (names[3], floats(host(&p.b_dec))),
    ]);
    match model.activation {
        Activation::Gated => {
            tensors.insert("r_mag", floats(host(&p.extra[0])));
            tensors.insert("mag_bias", floats(host(&p.extra[1])));
        }
        Activation::Jumprelu => {
            tensors.insert("threshold", (vec![f], Numbers::F32(to_vec(p.extra[0].clone()))));
        }
        Activation::Topk { k } => {
            tensors.insert("k", (Vec::new(), Numbers::I32(vec![k as i32])));
            tensors.insert("threshold", (Vec::new(), Numbers::F32(vec![-1.0])));
        }
        Activation::Relu | Activation::Groupmax { .. } => {}
    }
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, (shape, numbers))| (name, shape, numbers))
        .collect();
    torch::write(&dir.join(WEIGHTS), &tensors)?;
    let trainer = Trainer {
        dict_class: dict_class.to_owned(),
        k,
        activation_dim: d,
        dict_size: f,
    };
    Ok(files::write_json(&dir.join(CONFIG), &Config { trainer })?)
}
