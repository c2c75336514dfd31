//! Folders of the field's libraries: which names and layouts hold the same numbers.

mod dictionary_learning;
mod saelens;
mod sparsify;
mod torch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::tensor::{Device, Tensor};
use kernels::{from_vec, to_vec};
use lm::HostTensor;

use crate::{Activation, Autoencoder, Error, Origin, Parameters};

pub(crate) use saelens::WEIGHTS;

/// A layout of an autoencoder's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// This project's: SAELens's, with `config.json` beside.
    Saelab,
    /// SAELens 6.
    Saelens,
    /// sparsify (EleutherAI).
    Sparsify,
    /// dictionary_learning.
    DictionaryLearning,
}

impl Format {
    const ALL: [Self; 4] = [Self::Saelab, Self::Saelens, Self::Sparsify, Self::DictionaryLearning];

    /// The layout of a folder, by the files in it.
    ///
    /// # Errors
    ///
    /// A folder that is none.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let has = |name: &str| dir.join(name).exists();
        if has(dictionary_learning::WEIGHTS) {
            Ok(Self::DictionaryLearning)
        } else if has(sparsify::WEIGHTS) {
            Ok(Self::Sparsify)
        } else if has(WEIGHTS) {
            Ok(if has("config.json") {
                Self::Saelab
            } else {
                Self::Saelens
            })
        } else {
            let reason = format!(
                "it holds none of {WEIGHTS} (SAELens), {} (sparsify) and {} (dictionary_learning)",
                sparsify::WEIGHTS,
                dictionary_learning::WEIGHTS
            );
            Err(damaged(dir, reason))
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Saelab => "saelab",
            Self::Saelens => "saelens",
            Self::Sparsify => "sparsify",
            Self::DictionaryLearning => "dictionary-learning",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.to_string() == text);
        found.ok_or_else(|| "expected saelab, saelens, sparsify or dictionary-learning".to_owned())
    }
}

impl Autoencoder {
    /// Reads a folder of any of the libraries.
    ///
    /// # Errors
    ///
    /// Files that are missing, damaged, do not fit together, or need what is not implemented.
    pub fn read(dir: &Path, device: &Device) -> Result<Self, Error> {
        Ok(Self::open(dir, device)?.0)
    }

    /// The same, and where it comes from: of a folder of another library only which one it was.
    ///
    /// # Errors
    ///
    /// Those of [`Autoencoder::read`].
    pub fn open(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let model = match Format::of(dir)? {
            Format::Saelab => return Self::load(dir, device),
            Format::Saelens => Self::load_saelens(dir, device)?,
            Format::Sparsify => sparsify::load(dir, device)?,
            Format::DictionaryLearning => dictionary_learning::load(dir, device)?,
        };
        let path = dir.to_owned();
        Ok((model, Origin::Imported { path }))
    }

    /// Writes a folder for one of the libraries; `origin` is kept where there is room for it.
    ///
    /// # Errors
    ///
    /// What the library cannot express; files that cannot be written.
    pub fn write(&self, dir: &Path, format: Format, origin: &Origin) -> Result<(), Error> {
        match format {
            Format::Saelab => self.save(dir, origin),
            Format::Saelens => {
                let known = match self.activation {
                    Activation::Relu | Activation::Jumprelu => true,
                    Activation::Topk { .. } | Activation::Gated => !self.transcodes,
                    Activation::Groupmax { .. } => false,
                };
                if !known {
                    let name = self.activation.saelens_name();
                    let kind = if self.transcodes { "transcoders" } else { "autoencoders" };
                    return Err(unsupported("SAELens", format!("it knows no {name} {kind}")));
                }
                self.save_saelens(dir, origin.metadata())
            }
            Format::Sparsify => sparsify::save(self, dir),
            Format::DictionaryLearning => dictionary_learning::save(self, dir),
        }
    }
}

pub(crate) fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        reason,
    }
}

fn unsupported(library: &'static str, reason: String) -> Error {
    Error::Unsupported { library, reason }
}

/// The tensors of a file, taken out one by one with the shape that each must have.
struct Tensors {
    path: PathBuf,
    tensors: BTreeMap<String, HostTensor>,
    device: Device,
}

impl Tensors {
    fn take<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, Error> {
        match self.tensors.remove(name) {
            Some(tensor) if tensor.shape == shape => Ok(from_vec(tensor.data, shape, &self.device)),
            Some(tensor) => Err(damaged(
                &self.path,
                format!("`{name}` has shape {:?}, expected {shape:?}", tensor.shape),
            )),
            None => Err(damaged(&self.path, format!("`{name}` is missing"))),
        }
    }
}

/// A tensor for a file.
fn host<const D: usize>(tensor: &Tensor<D>) -> HostTensor {
    HostTensor::new(tensor.dims(), to_vec(tensor.clone()))
}

/// Moves what the decoder's bias adds to pre-activations into the biases of the encoder, for an encoder that no longer
/// subtracts it (`sign` -1), or back for one that now does (1).
fn move_b_dec(p: &mut Parameters, activation: Activation, sign: f64) {
    let (n_latents, d) = (p.n_latents(), p.d_in());
    let of_bias = p.w_enc.clone().matmul(p.b_dec.clone().reshape([d, 1])); // [F, 1]
    let of_bias = of_bias.reshape([n_latents]) * sign; // [F]
    p.b_enc = p.b_enc.clone() + of_bias.clone();
    if activation == Activation::Gated {
        p.extra[1] = p.extra[1].clone() + of_bias * p.extra[0].clone().exp();
    }
}
