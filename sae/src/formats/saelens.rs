//! SAELens 6: `sae_weights.safetensors` and `cfg.json`. This project's own folders are these, with `config.json` beside.
//!
//! Its transcoders never subtract the decoder's bias and never undo a normalisation. `expected_average_only_in` does nothing
//! when a folder is loaded: SAELens folds the factor when training ends; a checkpoint from before that has it in
//! `activation_scaler.json`, and is folded here.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use lm::files;
use serde::{Deserialize, Serialize};

use super::{Tensors, damaged, host, unsupported};
use crate::{Activation, Autoencoder, Error, Normalisation, Parameters};

pub(crate) const WEIGHTS: &str = "sae_weights.safetensors";
const CONFIG: &str = "cfg.json";
const SCALER: &str = "activation_scaler.json";
/// The version whose folders these are.
const VERSION: &str = "6.54.12";

/// `cfg.json`. SAELens's files hold more; what does not change the computation is ignored.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    architecture: String,
    d_in: usize,
    d_sae: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    d_out: Option<usize>,
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
    metadata: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Scaler {
    scaling_factor: Option<f32>,
}

fn none() -> String {
    "none".to_owned()
}

/// SAELens's name of an architecture; some of what exists here it does not know, and refuses by name.
fn architecture(model: &Autoencoder) -> String {
    let base = model.activation.saelens_name();
    let skip = if model.skip.is_some() { "skip_" } else { "" };
    match (model.transcodes, model.activation) {
        (false, _) => base.to_owned(),
        (true, Activation::Relu) => format!("{skip}transcoder"),
        (true, _) => format!("{base}_{skip}transcoder"),
    }
}

impl Autoencoder {
    /// Writes `cfg.json` and `sae_weights.safetensors` as SAELens reads them; `metadata` says where it comes from.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn save_saelens(
        &self,
        dir: &Path,
        mut metadata: serde_json::Map<String, serde_json::Value>,
    ) -> Result<(), Error> {
        if self.skip.is_some() && !self.transcodes {
            let reason = "only its transcoders have skip connections".to_owned();
            return Err(unsupported("SAELens", reason));
        }
        let p = &self.parameters;
        let mut tensors = BTreeMap::from([
            ("W_enc".to_owned(), host(&p.w_enc.clone().transpose())),
            (self.activation.bias_name().to_owned(), host(&p.b_enc)),
            ("W_dec".to_owned(), host(&p.w_dec)),
            ("b_dec".to_owned(), host(&p.b_dec)),
        ]);
        for (name, values) in self.activation.extra_names().iter().zip(&p.extra) {
            tensors.insert((*name).to_owned(), host(values));
        }
        if let Some(skip) = &self.skip {
            tensors.insert("W_skip".to_owned(), host(skip));
        }
        files::write_tensors(&dir.join(WEIGHTS), &tensors, &BTreeMap::new())?;
        let k = match self.activation {
            Activation::Topk { k } | Activation::Groupmax { k } => Some(k),
            Activation::Relu | Activation::Jumprelu | Activation::Gated => None,
        };
        // Without it SAELens takes the folder for one of an older version.
        metadata.insert("sae_lens_version".to_owned(), VERSION.into());
        let config = Config {
            architecture: architecture(self),
            d_in: p.d_in(),
            d_sae: p.n_latents(),
            d_out: self.transcodes.then_some(p.d_out()),
            dtype: "float32".to_owned(),
            device: "cpu".to_owned(),
            apply_b_dec_to_input: self.subtracts_b_dec,
            normalize_activations: self.normalisation.saelens_name().to_owned(),
            reshape_activations: none(),
            k,
            rescale_acts_by_decoder_norm: k.map(|_| false),
            metadata,
        };
        Ok(files::write_json(&dir.join(CONFIG), &config)?)
    }

    /// Reads `cfg.json` and `sae_weights.safetensors`, whoever wrote them.
    ///
    /// # Errors
    ///
    /// Files that are missing, damaged or do not fit together; an architecture or a normalisation of inputs that is not
    /// implemented.
    pub fn load_saelens(dir: &Path, device: &Device) -> Result<Self, Error> {
        let config_path = dir.join(CONFIG);
        let config: Config = files::read_json(&config_path)?;
        let refuse = |field: &str, found: &str, expected: &str| {
            Err(damaged(
                &config_path,
                format!("`{field}` is \"{found}\", expected {expected}"),
            ))
        };
        let (base, transcodes) = match config.architecture.strip_suffix("transcoder") {
            Some(base) => (base.trim_end_matches('_'), true),
            None => (config.architecture.as_str(), false),
        };
        let (base, skips) = match base.strip_suffix("skip") {
            Some(base) if transcodes => (base.trim_end_matches('_'), true),
            _ => (base, false),
        };
        let activation = match (base, config.k) {
            ("standard", _) => Activation::Relu,
            ("", _) if transcodes => Activation::Relu,
            ("jumprelu", _) => Activation::Jumprelu,
            ("gated", _) => Activation::Gated,
            ("topk", Some(k)) if (1..=config.d_sae).contains(&k) => Activation::Topk { k },
            ("topk", Some(k)) => return refuse("k", &k.to_string(), "1 to `d_sae`"),
            ("groupmax", Some(k)) if k > 0 && config.d_sae.is_multiple_of(k) => Activation::Groupmax { k },
            ("topk", None) => return Err(damaged(&config_path, "`k` is missing".to_owned())),
            _ => {
                let known = "\"standard\", \"jumprelu\", \"topk\", \"gated\" or a transcoder of them";
                return refuse("architecture", &config.architecture, known);
            }
        };
        let normalisation = match config.normalize_activations.as_str() {
            "none" | "expected_average_only_in" => Normalisation::None,
            "layer_norm" => Normalisation::LayerNorm,
            "constant_norm_rescale" => Normalisation::ConstantNorm,
            other => {
                let known = "\"none\", \"expected_average_only_in\", \"layer_norm\" or \"constant_norm_rescale\"";
                return refuse("normalize_activations", other, known);
            }
        };
        let (d_in, d_sae) = (config.d_in, config.d_sae);
        let d_out = if transcodes { config.d_out.unwrap_or(d_in) } else { d_in };
        let path = dir.join(WEIGHTS);
        let mut tensors = Tensors {
            tensors: files::read_tensors(&path)?,
            device: device.clone(),
            path,
        };
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
        parameters.keep_thresholds_positive(activation);
        let skip = skips.then(|| tensors.take("W_skip", [d_out, d_in])).transpose()?;
        let scaler = dir.join(SCALER);
        if config.normalize_activations == "expected_average_only_in"
            && scaler.exists()
            && let Some(scale) = files::read_json::<Scaler>(&scaler)?.scaling_factor
        {
            parameters.w_enc = parameters.w_enc * scale;
            parameters.w_dec = parameters.w_dec / scale;
            parameters.b_dec = parameters.b_dec / scale;
        }
        if config.rescale_acts_by_decoder_norm == Some(true) {
            // Selection is by pre-activation times norm, and so are the codes.
            parameters.fold_decoder_norms(activation);
        }
        Ok(Self {
            normalisation,
            transcodes,
            skip,
            ..Self::plain(activation, config.apply_b_dec_to_input && !transcodes, parameters)
        })
    }
}
