//! SAELens: `sae_weights.safetensors` and `cfg.json`. This project's own folders are these, with `config.json` beside.
//!
//! Since version 6 `cfg.json` holds the autoencoder's own keys, and under `metadata` where it comes from. Before, all keys
//! stood side by side, and a TopK autoencoder could call itself "standard": its selection is in `activation_fn_str` (or
//! `activation_fn`) and `activation_fn_kwargs.k`.
//!
//! Its transcoders never subtract the decoder's bias and never undo a normalisation. `expected_average_only_in` does nothing
//! when a folder is loaded: SAELens folds the factor when training ends; a checkpoint from before that has it in
//! `activation_scaler.json`, and is folded here.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;
use serde_json::{Map, Value};

use super::folder::{File, SAELENS_CONFIG as CONFIG, SAELENS_SCALER as SCALER, SAELENS_WEIGHTS as WEIGHTS};
use super::keys::Keys;
use super::saelens_keys::HARMLESS;
use super::tensors::Tensors;
use super::{Named, NamedHook, folder, host, refused, unsupported};
use crate::{Activation, Autoencoder, Error, Normalisation, Parameters};

/// The version whose folders these are.
const VERSION: &str = "6.54.12";
const TRANSCODERS: [(&str, bool); 2] = [("transcoder", false), ("skip_transcoder", true)];
const DTYPES: [&str; 4] = ["float32", "float64", "float16", "bfloat16"];

/// `cfg.json` as it is written.
#[derive(Debug, Serialize)]
struct Written {
    architecture: String,
    d_in: usize,
    d_sae: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    d_out: Option<usize>,
    dtype: &'static str,
    device: &'static str,
    apply_b_dec_to_input: bool,
    normalize_activations: &'static str,
    reshape_activations: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rescale_acts_by_decoder_norm: Option<bool>,
    metadata: Map<String, Value>,
}

/// What `cfg.json` says of the computation.
struct Config {
    activation: Activation,
    /// Whether it is a transcoder with a skip connection; none for an autoencoder.
    transcoder: Option<bool>,
    d_in: usize,
    d_sae: usize,
    d_out: usize,
    subtracts_b_dec: bool,
    normalisation: Normalisation,
    /// Whether `activation_scaler.json` may hold a factor that is not in the weights yet.
    unfolded: bool,
    rescales: bool,
    named: Named,
}

/// SAELens's name of an architecture; some of what exists here it does not know, and refuses by name.
fn architecture(model: &Autoencoder) -> String {
    let base = model.activation.saelens_name();
    match (model.transcodes, model.skip.is_some()) {
        (false, _) => base.to_owned(),
        (true, skips) => transcoder(base, if skips { "skip_transcoder" } else { "transcoder" }),
    }
}

/// The name of a transcoder whose codes are those of `base`.
fn transcoder(base: &str, kind: &str) -> String {
    match base {
        "standard" => kind.to_owned(),
        _ => format!("{base}_{kind}"),
    }
}

/// The files that SAELens reads, in the order in which they are written; `metadata` says where the autoencoder comes from.
///
/// # Errors
///
/// What SAELens cannot hold.
pub(crate) fn files(model: &Autoencoder, dir: &Path, mut metadata: Map<String, Value>) -> Result<Vec<File>, Error> {
    if model.skip.is_some() && !model.transcodes {
        let reason = "only its transcoders have skip connections".to_owned();
        return Err(unsupported("SAELens", reason));
    }
    let p = &model.parameters;
    let mut tensors = BTreeMap::from([
        ("W_enc".to_owned(), host(&p.w_enc.clone().transpose())),
        (model.activation.bias_name().to_owned(), host(&p.b_enc)),
        ("W_dec".to_owned(), host(&p.w_dec)),
        ("b_dec".to_owned(), host(&p.b_dec)),
    ]);
    for (name, values) in model.activation.extra_names().iter().zip(&p.extra) {
        tensors.insert((*name).to_owned(), host(values));
    }
    if let Some(skip) = &model.skip {
        tensors.insert("W_skip".to_owned(), host(skip));
    }
    let k = match model.activation {
        Activation::Topk { k } | Activation::Groupmax { k } => Some(k),
        Activation::Relu | Activation::Jumprelu | Activation::Gated => None,
    };
    // Without it SAELens takes the folder for one of an older version.
    metadata.insert("sae_lens_version".to_owned(), VERSION.into());
    let config = Written {
        architecture: architecture(model),
        d_in: p.d_in(),
        d_sae: p.n_latents(),
        d_out: model.transcodes.then_some(p.d_out()),
        dtype: "float32",
        device: "cpu",
        apply_b_dec_to_input: model.subtracts_b_dec,
        normalize_activations: model.normalisation.saelens_name(),
        reshape_activations: "none",
        k,
        rescale_acts_by_decoder_norm: k.map(|_| false),
        metadata,
    };
    Ok(vec![
        folder::json(dir, CONFIG, &config)?,
        folder::safetensors(dir, WEIGHTS, &tensors)?,
    ])
}

fn read_config(path: &Path) -> Result<Config, Error> {
    let mut keys = Keys::read(path)?;
    let mut metadata = keys.object("metadata", "metadata.")?;
    let version = match &mut metadata {
        Some(metadata) => metadata.text("sae_lens_version")?,
        None => None,
    };
    let version = match version {
        Some(version) => Some(version),
        None => keys.text("sae_lens_version")?,
    };
    let before_6 = version.is_none_or(|version| before_6(&version));
    let d_in = keys.width("d_in")?;
    let d_in = keys.required("d_in", d_in)?;
    let d_sae = keys.width("d_sae")?;
    let d_sae = keys.required("d_sae", d_sae)?;
    let (activation, transcoder) = computation(&mut keys, d_sae, before_6, path)?;
    let d_out = keys.width("d_out")?.unwrap_or(d_in);
    if transcoder.is_none() && d_out != d_in {
        return Err(keys.refuse("d_out", d_out, "`d_in`, since it is no transcoder"));
    }
    let subtracts_b_dec = keys.flag("apply_b_dec_to_input")?.unwrap_or(true);
    if transcoder.is_some() && subtracts_b_dec {
        return Err(keys.refuse(
            "apply_b_dec_to_input",
            true,
            "false, since SAELens's transcoders do not subtract it",
        ));
    }
    let rescales = keys.flag("rescale_acts_by_decoder_norm")?.unwrap_or(false);
    if rescales && !matches!(activation, Activation::Topk { .. }) {
        return Err(keys.refuse(
            "rescale_acts_by_decoder_norm",
            true,
            "false where `architecture` is not \"topk\"",
        ));
    }
    // `true` was the name of what `expected_average_only_in` is now.
    let (normalisation, unfolded) = match keys.take("normalize_activations") {
        None | Some(Value::Bool(false)) => (Normalisation::None, false),
        Some(Value::Bool(true)) => (Normalisation::None, true),
        Some(Value::String(name)) => match name.as_str() {
            "none" => (Normalisation::None, false),
            "expected_average_only_in" => (Normalisation::None, true),
            "layer_norm" => (Normalisation::LayerNorm, false),
            "constant_norm_rescale" => (Normalisation::ConstantNorm, false),
            other => return Err(keys.refuse("normalize_activations", format!("\"{other}\""), NORMALISATIONS)),
        },
        Some(other) => return Err(keys.refuse("normalize_activations", other, NORMALISATIONS)),
    };
    // Vectors of all heads are laid side by side before the autoencoder sees them, which it takes as they are.
    match keys.text("reshape_activations")?.as_deref() {
        None | Some("none" | "hook_z") => {}
        Some(other) => {
            return Err(keys.refuse("reshape_activations", format!("\"{other}\""), "\"none\" or \"hook_z\""));
        }
    }
    if let Some(dtype) = keys.text("dtype")?
        && !DTYPES.contains(&dtype.strip_prefix("torch.").unwrap_or(&dtype))
    {
        return Err(keys.refuse("dtype", format!("\"{dtype}\""), "a float type"));
    }
    // Without the tensor of that name it does nothing; with one the tensor is refused.
    keys.flag("finetuning_scaling_factor")?;
    let hook = named_hook(&mut keys, metadata.as_mut(), path)?;
    let writes = match transcoder {
        Some(_) => written_hook(&mut keys, metadata.as_mut())?,
        None => None,
    };
    keys.finish(HARMLESS)?;
    Ok(Config {
        activation,
        transcoder,
        d_in,
        d_sae,
        d_out,
        subtracts_b_dec,
        normalisation,
        unfolded,
        rescales,
        named: Named { hook, writes },
    })
}

const NORMALISATIONS: &str = "\"none\", \"expected_average_only_in\", \"layer_norm\" or \"constant_norm_rescale\"";

/// Whether a version's `cfg.json` is flat.
fn before_6(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_none_or(|major| major < 6)
}

/// How codes follow from pre-activations, and what kind of transcoder it is.
fn computation(
    keys: &mut Keys,
    d_sae: usize,
    before_6: bool,
    path: &Path,
) -> Result<(Activation, Option<bool>), Error> {
    let architecture = keys.text("architecture")?;
    let architecture = match before_6 {
        true => architecture.unwrap_or_else(|| "standard".to_owned()),
        false => keys.required("architecture", architecture)?,
    };
    let mut k = keys.whole("k")?.map(|k| ("k", k));
    if let Some(mut kwargs) = keys.object("activation_fn_kwargs", "activation_fn_kwargs.")? {
        match (kwargs.whole("k")?, k) {
            (Some(new), Some((_, old))) if new != old => {
                return Err(kwargs.refuse("k", new, &format!("{old}, as `k` is")));
            }
            (Some(new), _) => k = Some(("activation_fn_kwargs.k", new)),
            (None, _) => {}
        }
        kwargs.finish(&[])?;
    }
    let named = keys.either(["activation_fn_str", "activation_fn"])?;
    let selects = match &named {
        None => architecture == "topk",
        Some((key, Value::String(name))) => match (name.as_str(), architecture.as_str()) {
            ("topk", "topk") => true,
            ("topk", "standard") if before_6 => true,
            ("relu", "topk") | ("topk", _) => {
                let expected = format!("another, since `architecture` is \"{architecture}\"");
                return Err(keys.refuse(key, format!("\"{name}\""), &expected));
            }
            ("relu", _) => false,
            _ => return Err(keys.refuse(key, format!("\"{name}\""), "\"relu\" or \"topk\"")),
        },
        Some((key, other)) => return Err(keys.refuse(key, other, "\"relu\" or \"topk\"")),
    };
    let base = if selects { "topk" } else { architecture.as_str() };
    let of_transcoder = |base: &str| {
        TRANSCODERS
            .into_iter()
            .find(|(kind, _)| transcoder(base, kind) == architecture)
    };
    let known = ["standard", "jumprelu", "gated", "topk", "groupmax"];
    let found = known.into_iter().find_map(|name| match name == base {
        true => Some((name, None)),
        false => of_transcoder(name).map(|(_, skips)| (name, Some(skips))),
    });
    let Some((name, transcoder)) = found else {
        let known = "\"standard\", \"jumprelu\", \"topk\", \"gated\" or a transcoder of them";
        return Err(keys.refuse("architecture", format!("\"{architecture}\""), known));
    };
    let activation = match (name, k) {
        ("topk" | "groupmax", None) => {
            let key = named.map_or("k", |_| "activation_fn_kwargs.k");
            return Err(refused(path, format!("`{key}` is missing")));
        }
        ("topk" | "groupmax", Some((key, k))) if !(1..=d_sae).contains(&k) => {
            return Err(keys.refuse(key, k, &format!("1 to `d_sae`, {d_sae}")));
        }
        ("topk", Some((_, k))) => Activation::Topk { k },
        ("groupmax", Some((_, k))) if d_sae.is_multiple_of(k) => Activation::Groupmax { k },
        ("groupmax", Some((key, k))) => return Err(keys.refuse(key, k, &format!("a divisor of `d_sae`, {d_sae}"))),
        (_, Some((key, k))) => {
            let expected = format!("none, since `architecture` is \"{architecture}\"");
            return Err(keys.refuse(key, k, &expected));
        }
        ("jumprelu", None) => Activation::Jumprelu,
        ("gated", None) => Activation::Gated,
        (_, None) => Activation::Relu,
    };
    Ok((activation, transcoder))
}

/// The hook of its inputs.
fn named_hook(keys: &mut Keys, metadata: Option<&mut Keys>, path: &Path) -> Result<Option<NamedHook>, Error> {
    let flat = hook_of(keys)?;
    let Some(metadata) = metadata else {
        return Ok(flat);
    };
    match (hook_of(metadata)?, flat) {
        (Some(new), Some(flat)) if new != flat => Err(refused(
            path,
            format!("`metadata` names the hook {new} but the keys beside it {flat}"),
        )),
        (new, flat) => Ok(new.or(flat)),
    }
}

/// The hook of a transcoder's outputs.
fn written_hook(keys: &mut Keys, metadata: Option<&mut Keys>) -> Result<Option<NamedHook>, Error> {
    let flat = keys.text("hook_name_out")?;
    let name = match metadata {
        Some(metadata) => metadata.text("hook_name_out")?.or(flat),
        None => flat,
    };
    Ok(name.map(|name| NamedHook { name, head: None }))
}

/// The hook that an object's keys name, by their names of today or of the first versions.
fn hook_of(keys: &mut Keys) -> Result<Option<NamedHook>, Error> {
    let name = keys.either(["hook_name", "hook_point"])?;
    let layer = keys.either(["hook_layer", "hook_point_layer"])?;
    let head = keys.either(["hook_head_index", "hook_point_head_index"])?;
    let head = match head {
        None => None,
        Some((key, value)) => match value.as_u64().and_then(|head| usize::try_from(head).ok()) {
            Some(head) => Some(head),
            None => return Err(keys.refuse(key, value, "the number of a head")),
        },
    };
    match name {
        None => Ok(None),
        Some((_, Value::String(name))) => {
            let layer = layer.map_or_else(String::new, |(_, layer)| layer.to_string());
            let name = name.replace("{layer}", &layer);
            Ok(Some(NamedHook { name, head }))
        }
        Some((key, other)) => Err(keys.refuse(key, other, "a string")),
    }
}

/// The factor of a checkpoint's `activation_scaler.json`, if there is one.
fn scale(path: &Path) -> Result<Option<f32>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let mut keys = Keys::read(path)?;
    let factor = match keys.take("scaling_factor") {
        None => None,
        Some(value) => match value.as_f64().map(|factor| factor as f32) {
            Some(factor) if factor.is_normal() && factor > 0.0 => Some(factor),
            _ => return Err(keys.refuse("scaling_factor", value, "a number above 0")),
        },
    };
    keys.finish(&[])?;
    Ok(factor)
}

/// Reads `cfg.json` and `sae_weights.safetensors`, whichever version wrote them.
///
/// # Errors
///
/// Files that are missing, damaged or do not fit together; keys and tensors that are not known; an architecture or a
/// normalisation of inputs that is not implemented.
pub(crate) fn load(dir: &Path, device: &Device) -> Result<(Autoencoder, Named), Error> {
    let config = read_config(&dir.join(CONFIG))?;
    let (activation, d_in, d_sae, d_out) = (config.activation, config.d_in, config.d_sae, config.d_out);
    let mut tensors = Tensors::of_safetensors(dir.join(WEIGHTS), device)?;
    // Versions before 2 wrote it whether it was used or not.
    if let Some(factors) = tensors.values("scaling_factor")?
        && factors.data.iter().any(|factor| (factor - 1.0).abs() > 1e-5)
    {
        let reason = "`scaling_factor` is not 1: codes that were scaled after training are not implemented".to_owned();
        return Err(refused(tensors.path(), reason));
    }
    let mut parameters = Parameters {
        w_enc: tensors.take("W_enc", [d_in, d_sae])?.transpose(), // [F, D]
        b_enc: tensors.take(activation.bias_name(), [d_sae])?,
        w_dec: tensors.take("W_dec", [d_sae, d_out])?,
        b_dec: tensors.take("b_dec", [d_out])?,
        extra: activation
            .extra_names()
            .iter()
            .map(|name| tensors.take(name, [d_sae]))
            .collect::<Result<_, Error>>()?,
    };
    let skips = config.transcoder == Some(true);
    let skip = skips.then(|| tensors.take("W_skip", [d_out, d_in])).transpose()?;
    tensors.finish()?;
    parameters.keep_thresholds_positive(activation);
    if config.unfolded
        && let Some(scale) = scale(&dir.join(SCALER))?
    {
        parameters.w_enc = parameters.w_enc * scale;
        parameters.w_dec = parameters.w_dec / scale;
        parameters.b_dec = parameters.b_dec / scale;
    }
    if config.rescales {
        // Selection is by pre-activation times norm, and so are the codes.
        parameters.fold_decoder_norms(activation);
    }
    let model = Autoencoder {
        normalisation: config.normalisation,
        transcodes: config.transcoder.is_some(),
        skip,
        ..Autoencoder::plain(activation, config.subtracts_b_dec, parameters)
    };
    Ok((model, config.named))
}
