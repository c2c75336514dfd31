//! dictionary_learning: `ae.pt`, a state dict of PyTorch, and `config.json`, whose `trainer.dict_class` says what it is.
//!
//! When the library loads an `AutoEncoder` it brings the decoder's directions to norm 1 and multiplies codes by what they
//! had; so does this. `AutoEncoderTopK` always selects; `BatchTopKSAE` and `MatryoshkaBatchTopKSAE` compare with their
//! threshold, or with 0 when it is not set.

use std::collections::BTreeMap;
use std::path::Path;

use artifacts::HostTensor;
use burn::tensor::Device;
use kernels::{from_vec, to_vec};
use serde::Serialize;

use super::folder::{DICTIONARY_LEARNING_CONFIG as CONFIG, DICTIONARY_LEARNING_WEIGHTS as WEIGHTS, File};
use super::keys::Keys;
use super::tensors::Tensors;
use super::torch::{self, Numbers};
use super::{NamedHook, folder, hooks, host, move_b_dec, refused, shown, unsupported};
use crate::{Activation, Autoencoder, Error, Normalisation, Parameters};

/// Keys of `trainer` that say how the dictionary was trained, in any version.
const HARMLESS: &[&str] = &[
    "activation_queue_length",
    "adaptive_sparsity_penalty",
    "anneal_start",
    "auxk_alpha",
    "bandwidth",
    "decay_start",
    "device",
    "group_fractions",
    "group_weights",
    "k_anneal_steps",
    "l1_penalty",
    "lambda",
    "lambda_warm_steps",
    "layer",
    "lm_name",
    "lr",
    "n_sparsity_updates",
    "next_p",
    // Biases are multiplied by it before they are saved.
    "norm_factor",
    "p",
    "p_end",
    "p_start",
    "resample_steps",
    "seed",
    "sparsity_coeff",
    "sparsity_coefficient",
    "sparsity_function",
    "sparsity_loss_queue_length",
    "sparsity_penalty",
    "sparsity_queue_length",
    "sparsity_warmup_steps",
    "steps",
    "steps_before_annealing",
    "target_l0",
    "threshold_beta",
    "threshold_start_step",
    "top_k_aux",
    "trainer_class",
    "wandb_name",
    "warmup_steps",
    "weights_temperature",
];

/// `config.json` as it is written.
#[derive(Debug, Serialize)]
struct Config {
    trainer: Trainer,
}

#[derive(Debug, Serialize)]
struct Trainer {
    dict_class: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    activation_dim: usize,
    dict_size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    submodule_name: Option<String>,
}

/// Names of encoder, its bias, decoder and its bias, and whether matrices are `[D, F]` for the encoder and `[F, D]` for the
/// decoder (else the other way round).
type Names = ([&'static str; 4], bool);

const LINEAR: Names = (["encoder.weight", "encoder.bias", "decoder.weight", "b_dec"], false);
const PLAIN: Names = (["W_enc", "b_enc", "W_dec", "b_dec"], true);

/// How codes follow from pre-activations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codes {
    Relu,
    Gated,
    /// Thresholds of their own.
    Jumprelu,
    /// The `k` largest of a row.
    TopK,
    /// One threshold, which stands for a selection over the batch.
    BatchTopK,
}

/// The names of a class, how its codes become sparse, and whether the decoder's bias is subtracted.
fn class(name: &str) -> Option<(Names, Codes, bool)> {
    let with = |bias, decoder_bias| (["encoder.weight", bias, "decoder.weight", decoder_bias], false);
    Some(match name {
        "AutoEncoder" => (with("encoder.bias", "bias"), Codes::Relu, true),
        "AutoEncoderNew" => (with("encoder.bias", "decoder.bias"), Codes::Relu, false),
        "GatedAutoEncoder" => (with("gate_bias", "decoder_bias"), Codes::Gated, true),
        "JumpReluAutoEncoder" => (PLAIN, Codes::Jumprelu, false),
        "AutoEncoderTopK" => (LINEAR, Codes::TopK, true),
        "BatchTopKSAE" => (LINEAR, Codes::BatchTopK, true),
        "MatryoshkaBatchTopKSAE" => (PLAIN, Codes::BatchTopK, true),
        _ => return None,
    })
}

pub(crate) fn load(dir: &Path, device: &Device) -> Result<(Autoencoder, Option<NamedHook>), Error> {
    let config_path = dir.join(CONFIG);
    let mut file = Keys::read(&config_path)?;
    let trainer = file.object("trainer", "trainer.")?;
    let mut keys = file.required("trainer", trainer)?;
    let buffer = file.object("buffer", "buffer.")?;
    file.finish(&[])?;
    let dict_class = keys.text("dict_class")?;
    let dict_class = keys.required("dict_class", dict_class)?;
    let Some(((names, plain), codes, subtracts)) = class(&dict_class) else {
        let known = "AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder, AutoEncoderTopK, BatchTopKSAE or \
                     MatryoshkaBatchTopKSAE";
        return Err(keys.refuse("dict_class", format!("\"{dict_class}\""), known));
    };
    let mut tensors = Tensors::of_torch(dir.join(WEIGHTS), device)?;
    let path = tensors.path().to_owned();
    let [d, f] = match (tensors.matrix(names[0])?, plain) {
        (shape, true) => shape,
        ([f, d], false) => [d, f],
    };
    for (key, found) in [("activation_dim", d), ("dict_size", f)] {
        if let Some(said) = keys.width(key)?.filter(|said| *said != found) {
            return Err(keys.refuse(key, said, &format!("{found}, as in {WEIGHTS}")));
        }
    }
    let k = k_of(&mut keys, &mut tensors, codes, f)?;
    groups(&mut keys, &mut tensors, &dict_class, f)?;
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
    let (activation, extra) = match codes {
        Codes::Relu => (Activation::Relu, Vec::new()),
        Codes::Gated => (
            Activation::Gated,
            vec![tensors.take("r_mag", [f])?, tensors.take("mag_bias", [f])?],
        ),
        Codes::Jumprelu => (Activation::Jumprelu, vec![tensors.take("threshold", [f])?]),
        Codes::BatchTopK => {
            let Some(threshold) = tensors.number("threshold")? else {
                return Err(tensors.missing("threshold"));
            };
            // -1 for not set: a code is what is positive.
            (
                Activation::Jumprelu,
                vec![from_vec(vec![threshold.max(0.0); f], [f], device)],
            )
        }
        Codes::TopK => {
            // It is kept for another way to encode, which must be asked for.
            tensors.number("threshold")?;
            let k = k.ok_or_else(|| refused(&config_path, "`trainer.k` is missing".to_owned()))?;
            (Activation::Topk { k }, Vec::new())
        }
    };
    let mut parameters = Parameters {
        w_enc,
        b_enc: tensors.take(names[1], [f])?,
        w_dec,
        b_dec: tensors.take(names[3], [d])?,
        extra,
    };
    tensors.finish()?;
    parameters.keep_thresholds_positive(activation);
    if dict_class == "AutoEncoder" && !parameters.has_unit_rows() {
        if to_vec(parameters.decoder_norms()).contains(&0.0) {
            let reason = "`decoder.weight` has a direction of length 0, to which the library cannot give length 1";
            return Err(refused(&path, reason.to_owned()));
        }
        parameters.fold_decoder_norms(activation);
    }
    let hook = named_hook(&mut keys, buffer)?;
    keys.finish(HARMLESS)?;
    Ok((Autoencoder::plain(activation, subtracts, parameters), hook))
}

/// The number of active latents, which the config and the weights may both say.
fn k_of(keys: &mut Keys, tensors: &mut Tensors, codes: Codes, f: usize) -> Result<Option<usize>, Error> {
    let said = keys.whole("k")?;
    let selects = matches!(codes, Codes::TopK | Codes::BatchTopK);
    if let Some(k) = said {
        if !selects {
            return Err(keys.refuse("k", k, "none, since the class of `trainer.dict_class` selects nothing"));
        }
        if !(1..=f).contains(&k) {
            return Err(keys.refuse("k", k, &format!("1 to the number of latents, {f}")));
        }
    }
    let stored = match selects {
        true => tensors.number("k")?,
        false => None,
    };
    let Some(stored) = stored else {
        return Ok(said);
    };
    let whole = stored as usize;
    if whole as f32 != stored || !(1..=f).contains(&whole) {
        let reason = format!("`k` is {stored}, expected 1 to the number of latents, {f}");
        return Err(refused(tensors.path(), reason));
    }
    match said {
        Some(said) if said != whole => Err(keys.refuse("k", said, &format!("{whole}, as in {WEIGHTS}"))),
        _ => Ok(Some(whole)),
    }
}

/// Checks the groups of latents of a Matryoshka dictionary, which the config and the weights may both say; all are used.
fn groups(keys: &mut Keys, tensors: &mut Tensors, dict_class: &str, f: usize) -> Result<(), Error> {
    if dict_class != "MatryoshkaBatchTopKSAE" {
        return Ok(());
    }
    let said = keys.widths("group_sizes")?;
    let stored = tensors.values("group_sizes")?.map(|tensor| tensor.data);
    if let Some(stored) = &stored
        && stored.iter().map(|size| f64::from(*size)).sum::<f64>() != f as f64
    {
        let found = shown(&format!("{stored:?}"));
        let reason = format!("`group_sizes` is {found}, expected sizes that sum to the number of latents, {f}");
        return Err(refused(tensors.path(), reason));
    }
    match (said, stored) {
        (Some(said), Some(stored)) if !said.iter().map(|size| *size as f32).eq(stored.iter().copied()) => {
            Err(keys.refuse("group_sizes", format!("{said:?}"), &format!("those in {WEIGHTS}")))
        }
        _ => Ok(()),
    }
}

/// The hook that the user named, if the activations were those behind the module.
fn named_hook(keys: &mut Keys, buffer: Option<Keys>) -> Result<Option<NamedHook>, Error> {
    let name = keys.text("submodule_name")?;
    let io = match buffer {
        Some(mut buffer) => buffer.text("io")?,
        None => None,
    };
    let named = name.map(|name| NamedHook { name, head: None });
    // What goes into a module has another name than what comes out.
    Ok(named.filter(|named| hooks::of_module(&named.name).is_none() || io.is_none_or(|io| io == "out")))
}

/// The files that dictionary_learning reads, in the order in which they are written; `hook` is the one they name.
pub(crate) fn files(model: &Autoencoder, dir: &Path, hook: Option<&NamedHook>) -> Result<Vec<File>, Error> {
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
    let Some(((names, plain), _, subtracts)) = class(dict_class) else {
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
    let trainer = Trainer {
        dict_class,
        k,
        activation_dim: d,
        dict_size: f,
        submodule_name: hook.filter(|hook| hook.head.is_none()).map(NamedHook::transformer_lens),
    };
    Ok(vec![
        folder::json(dir, CONFIG, &Config { trainer })?,
        (WEIGHTS, torch::bytes(&dir.join(WEIGHTS), &tensors)?),
    ])
}
