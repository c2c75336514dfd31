//! sparsify (EleutherAI): `sae.safetensors` and `cfg.json`.
//!
//! `h = (x - b_dec) W_encᵀ + b`, a transcoder without the subtraction; ReLU, then the largest of each row (`topk`) or of each
//! group of neighbours (`groupmax`). It knows no other activation function. Transcoders are read as its versions since
//! February 2025 read them; the ones before subtracted the bias from a transcoder's inputs too.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::folder::{File, SPARSIFY_WEIGHTS as WEIGHTS};
use super::keys::Keys;
use super::tensors::Tensors;
use super::{Named, NamedHook, folder, hooks, host, move_b_dec, unsupported};
use crate::{Activation, Autoencoder, Error, Normalisation, Parameters};

const CONFIG: &str = "cfg.json";
/// Its defaults for keys that are left out.
const DEFAULT_K: usize = 32;
const DEFAULT_EXPANSION: usize = 32;
/// Keys that change training only: the norm of the decoder's rows, and a second loss.
const HARMLESS: &[&str] = &["normalize_decoder", "multi_topk"];

/// `cfg.json` as it is written.
#[derive(Debug, Serialize)]
struct Config {
    activation: &'static str,
    expansion_factor: usize,
    normalize_decoder: bool,
    num_latents: usize,
    k: usize,
    multi_topk: bool,
    skip_connection: bool,
    transcode: bool,
    d_in: usize,
}

pub(crate) fn load(dir: &Path, device: &Device) -> Result<(Autoencoder, Named), Error> {
    let mut keys = Keys::read(&dir.join(CONFIG))?;
    let d = keys.width("d_in")?;
    let d = keys.required("d_in", d)?;
    let expansion = keys.whole("expansion_factor")?.unwrap_or(DEFAULT_EXPANSION);
    let n_latents = match keys.whole("num_latents")?.unwrap_or(0) {
        0 => match d.checked_mul(expansion) {
            Some(n) if n > 0 => n,
            _ => {
                return Err(keys.refuse(
                    "expansion_factor",
                    expansion,
                    "a number of latents, since `num_latents` is 0",
                ));
            }
        },
        n => n,
    };
    let k = keys.whole("k")?.unwrap_or(DEFAULT_K);
    if !(1..=n_latents).contains(&k) {
        return Err(keys.refuse("k", k, &format!("1 to the number of latents, {n_latents}")));
    }
    let activation = match keys.text("activation")?.as_deref() {
        None | Some("topk") => Activation::Topk { k },
        Some("groupmax") if n_latents.is_multiple_of(k) => Activation::Groupmax { k },
        Some("groupmax") => {
            let expected =
                format!("a divisor of the number of latents, {n_latents}, since `activation` is \"groupmax\"");
            return Err(keys.refuse("k", k, &expected));
        }
        Some(other) => return Err(keys.refuse("activation", format!("\"{other}\""), "\"topk\" or \"groupmax\"")),
    };
    let skips = keys.flag("skip_connection")?.unwrap_or(false);
    let transcodes = keys.flag("transcode")?.unwrap_or(false);
    // Of its first versions: the largest entries by absolute value, without a ReLU.
    if keys.flag("signed")? == Some(true) {
        return Err(keys.refuse("signed", true, "false; codes below 0 are not implemented"));
    }
    keys.finish(HARMLESS)?;
    let mut tensors = Tensors::of_safetensors(dir.join(WEIGHTS), device)?;
    let parameters = Parameters {
        w_enc: tensors.take("encoder.weight", [n_latents, d])?,
        b_enc: tensors.take("encoder.bias", [n_latents])?,
        w_dec: tensors.take("W_dec", [n_latents, d])?,
        b_dec: tensors.take("b_dec", [d])?,
        extra: Vec::new(),
    };
    let skip = skips.then(|| tensors.take("W_skip", [d, d])).transpose()?;
    tensors.finish()?;
    let model = Autoencoder {
        transcodes,
        skip,
        ..Autoencoder::plain(activation, !transcodes, parameters)
    };
    Ok((model, named_hooks(dir, transcodes)))
}

/// The module that the folder is named after, whose output it encodes; a transcoder encodes the input and gives the output.
fn named_hooks(dir: &Path, transcodes: bool) -> Named {
    let name = dir.file_name().and_then(|name| name.to_str());
    let output = name
        .filter(|name| hooks::of_module(name).is_some())
        .map(|name| NamedHook {
            name: name.to_owned(),
            head: None,
        });
    match transcodes {
        true => Named {
            hook: None,
            writes: output,
        },
        false => Named {
            hook: output,
            writes: None,
        },
    }
}

/// The files that sparsify reads, in the order in which they are written.
pub(crate) fn files(model: &Autoencoder, dir: &Path) -> Result<Vec<File>, Error> {
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
    let config = Config {
        activation,
        expansion_factor: (p.n_latents() / p.d_in()).max(1),
        normalize_decoder: true,
        num_latents: p.n_latents(),
        k,
        multi_topk: false,
        skip_connection: model.skip.is_some(),
        transcode: model.transcodes,
        d_in: p.d_in(),
    };
    Ok(vec![
        folder::json(dir, CONFIG, &config)?,
        folder::safetensors(dir, WEIGHTS, &tensors)?,
    ])
}
