//! A model on a device: loaded, identified, run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifacts::HostTensor;
use burn::tensor::Device;

use crate::checkpoint::{InMemory, Tensors, fit};
use crate::families::{Family, to_hugging_face};
use crate::gguf_checkpoint::GgufTensors;
use crate::refactor::refactor;
use crate::safetensors_files::SafetensorsFiles;
use crate::shards::WeightFiles;
use crate::tap::Extent;
use crate::weights::{Weights, hashed};
use crate::{Dtype, Error, Logits, Request, Spec, Start, Trace, decoder};

/// A language model on a device.
#[derive(Debug, Clone)]
pub struct Model {
    spec: Spec,
    weights: Weights,
    dtype: Dtype,
    device: Device,
    hash: String,
    file_hash: String,
    passed_over: Option<PathBuf>,
}

/// What is done to the weights of a model when it is loaded, and what they are kept in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Fold layer norms, centre weights and factor the matrices of every head anew, which leaves log-probabilities as they
    /// are and makes norms at q, k, v, z comparable between heads. For GPT-2 only; takes some seconds for GPT-2 small.
    pub refactor_attention: bool,
    /// What matrices and tables are kept in; `f32` unless asked otherwise. With 16 bits they take half the memory, and products
    /// in bf16 are faster where the processor has instructions for them.
    pub dtype: Dtype,
}

impl Model {
    /// Loads a model: a folder in Hugging Face layout, with its weights in `model.safetensors` or, where that is absent, the files
    /// that `model.safetensors.index.json` names; or a GGUF file. Memory holds the weights and a piece of one tensor.
    ///
    /// # Errors
    ///
    /// A file that is missing or damaged, a config of a computation that this program does not have, weights that do not fit it.
    pub fn load(path: &Path, device: &Device) -> Result<Self, Error> {
        Self::load_with(path, LoadOptions::default(), device)
    }

    /// Loads a model as [`Model::load`] does, with the weights changed as `options` say.
    ///
    /// # Errors
    ///
    /// Those of [`Model::load`]; an option that a model of this family does not have; a type that the device does not multiply, or
    /// that is too small for a number of the weights.
    pub fn load_with(path: &Path, options: LoadOptions, device: &Device) -> Result<Self, Error> {
        if options.dtype.half().is_some_and(|half| !half.is_supported(device)) {
            return Err(Error::DtypeOfDevice { dtype: options.dtype });
        }
        // Weights are changed in f32, and rounded in the end.
        let dtype = if options.refactor_attention {
            Dtype::F32
        } else {
            options.dtype
        };
        let mut model = if path.is_file() {
            let (tensors, spec) = GgufTensors::open(path)?;
            Self::from_checkpoint(spec, &tensors, &artifacts::sha256_file(path)?, dtype, device)?
        } else {
            let spec = Spec::read(&path.join("config.json"))?;
            let found = WeightFiles::find(path)?;
            let mut tensors = SafetensorsFiles::new(found.path(), found.open()?)?;
            tensors.accept_other_names(&spec);
            Self {
                passed_over: found.passed_over(),
                ..Self::from_checkpoint(spec, &tensors, &found.hash()?, dtype, device)?
            }
        };
        if options.refactor_attention {
            model.refactor_attention(path, options.dtype)?;
        }
        if options.dtype != Dtype::F32 {
            model.hash = artifacts::sha256_hex(format!("dtype {} {}", options.dtype, model.hash).as_bytes());
        }
        Ok(model)
    }

    /// The model of `tensors`, whose bytes `hash` stands for.
    fn from_checkpoint(
        mut spec: Spec,
        tensors: &dyn Tensors,
        hash: &str,
        dtype: Dtype,
        device: &Device,
    ) -> Result<Self, Error> {
        fit(&mut spec, tensors)?;
        let file_hash = artifacts::sha256_hex(format!("{} {hash}", identity(&spec)).as_bytes());
        Ok(Self {
            weights: Weights::load(&spec, tensors, dtype, device)?,
            dtype,
            hash: file_hash.clone(),
            file_hash,
            passed_over: None,
            spec,
            device: device.clone(),
        })
    }

    fn refactor_attention(&mut self, path: &Path, dtype: Dtype) -> Result<(), Error> {
        if self.spec.family != Family::Gpt2 {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                field: "refactor_attention".to_owned(),
                found: "set for a model that is no GPT-2".to_owned(),
                supported: "GPT-2, whose norms have a mean and whose heads are not rotated",
            });
        }
        let mut tensors = self.weights.to_host(&self.spec);
        refactor(&mut self.spec, &mut tensors);
        self.weights = Weights::load(&self.spec, &InMemory::new(path, &tensors), dtype, &self.device)?;
        self.dtype = dtype;
        self.hash = artifacts::sha256_hex(format!("refactor_attention {}", self.file_hash).as_bytes());
        Ok(())
    }

    /// A model of invented weights that other languages compute alike, for measurements and comparisons at full size; its
    /// hash is empty, since it has no file.
    ///
    /// `scripts/gpt2_geometry.py` says which weights.
    pub fn hashed(spec: Spec, device: &Device) -> Self {
        Self::hashed_in(spec, Dtype::F32, device)
    }

    /// The same with weights that are kept in `dtype`.
    pub fn hashed_in(spec: Spec, dtype: Dtype, device: &Device) -> Self {
        let weights = in_type(&spec, &hashed(&spec), dtype, device);
        Self {
            dtype,
            ..Self::from_weights(spec, weights, device)
        }
    }

    /// A model of weights made elsewhere (training); its hashes are empty, since it has no file.
    pub(crate) fn from_weights(spec: Spec, weights: Weights, device: &Device) -> Self {
        Self {
            spec,
            weights,
            dtype: Dtype::F32,
            device: device.clone(),
            hash: String::new(),
            file_hash: String::new(),
            passed_over: None,
        }
    }

    /// Sizes and variants.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What matrices and tables are kept in.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What identifies the activations of this model: [`Model::file_hash`], another one with changed weights or with weights
    /// in 16 bits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What identifies the behaviour, whatever was done to the weights: SHA-256 of that of the weights and of all that
    /// `config.json` says of the computation. Of weights in several files it is the SHA-256 of a line for each, its SHA-256 in
    /// hexadecimal digits, in the order of the files' names; so other shards of the same tensors count as another model.
    pub fn file_hash(&self) -> &str {
        &self.file_hash
    }

    /// An index of shards that lies beside `model.safetensors` and was not followed.
    pub fn passed_over_index(&self) -> Option<&Path> {
        self.passed_over.as_deref()
    }

    /// Runs the model from `start` as far as `request` needs. Where gradients are wanted, weights of 16 bits are widened for the pass,
    /// and all of it is in `f32`.
    ///
    /// # Errors
    ///
    /// A hook that the model does not have, values of another shape, ids outside the vocabulary, too many tokens.
    pub fn run(&self, start: Start<'_>, request: &Request) -> Result<Trace, Error> {
        let spec = &self.spec;
        let (first, rows, len, earlier) = start.shape(spec)?;
        if earlier + len > spec.n_ctx {
            return Err(Error::TooLong {
                found: earlier + len,
                n_ctx: spec.n_ctx,
            });
        }
        if let Logits::At(positions) = &request.logits
            && (positions.len() != rows || positions.iter().any(|&position| position >= len))
        {
            let reason = format!("positions must be one per row ({rows}), each below {len}");
            return Err(Error::Hook {
                hook: "logits".to_owned(),
                reason,
            });
        }
        let extent = Extent { rows, len, earlier };
        if request.watch.is_empty() {
            return decoder::run(spec, &self.weights, &self.device, start, first, extent, request);
        }
        let (weights, device) = (self.weights.recorded(), self.device.clone().autodiff());
        decoder::run(spec, &weights, &device, start, first, extent, request)
    }
}

/// Weights that are in memory, under their names in a checkpoint.
///
/// # Panics
///
/// When `tensors` are not those of `spec`, which is an error of the caller.
pub(crate) fn from_host(spec: &Spec, tensors: &BTreeMap<String, HostTensor>, device: &Device) -> Weights {
    in_type(spec, tensors, Dtype::F32, device)
}

/// Weights that are in memory, kept in `dtype`.
#[expect(
    clippy::expect_used,
    reason = "the panic is documented: it is an error of the caller"
)]
fn in_type(spec: &Spec, tensors: &BTreeMap<String, HostTensor>, dtype: Dtype, device: &Device) -> Weights {
    Weights::load(spec, &InMemory::new(Path::new("memory"), tensors), dtype, device)
        .expect("the tensors were made for this spec")
}

/// All that a config says of the computation, as text.
#[expect(clippy::expect_used, reason = "plain data is always written")]
fn identity(spec: &Spec) -> String {
    match spec.family {
        Family::Gpt2 => to_hugging_face(spec, 0).to_string(),
        _ => serde_json::to_string(spec).expect("a spec is plain data"),
    }
}
