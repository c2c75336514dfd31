//! Folders of the field's libraries: which names and layouts hold the same numbers.

pub(crate) mod dictionary_learning;
pub(crate) mod folder;
mod hooks;
#[cfg(test)]
mod hostile;
mod keys;
#[cfg(test)]
mod mutations;
pub(crate) mod saelens;
mod saelens_keys;
pub(crate) mod sparsify;
mod tensors;
mod torch;

use std::path::Path;

use artifacts::HostTensor;
use burn::tensor::Tensor;
use kernels::to_vec;

use crate::{Activation, Autoencoder, Error, Parameters};

pub(crate) use hooks::Named;
pub use hooks::NamedHook;
pub use torch::read_torch;

/// A layout of an autoencoder's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown)]
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
    /// The layout of a folder, by its file of weights, which is written last.
    ///
    /// # Errors
    ///
    /// A folder without weights, or with those of several libraries.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let has = |name: &str| dir.join(name).exists();
        let weights = [
            folder::DICTIONARY_LEARNING_WEIGHTS,
            folder::SPARSIFY_WEIGHTS,
            folder::SAELENS_WEIGHTS,
        ];
        let found: Vec<&str> = weights.into_iter().filter(|name| has(name)).collect();
        match found.as_slice() {
            [folder::DICTIONARY_LEARNING_WEIGHTS] => Ok(Self::DictionaryLearning),
            [folder::SPARSIFY_WEIGHTS] => Ok(Self::Sparsify),
            [_] if has(folder::SAELAB_CONFIG) => Ok(Self::Saelab),
            [_] => Ok(Self::Saelens),
            [] => Err(damaged(
                dir,
                format!(
                    "it holds none of {} (SAELens), {} (sparsify) and {} (dictionary_learning)",
                    folder::SAELENS_WEIGHTS,
                    folder::SPARSIFY_WEIGHTS,
                    folder::DICTIONARY_LEARNING_WEIGHTS
                ),
            )),
            several => {
                let reason = format!(
                    "it holds {}; which library's folder it is cannot be told",
                    several.join(" and ")
                );
                Err(refused(dir, reason))
            }
        }
    }
}

fn unknown(_name: &str) -> String {
    "expected saelab, saelens, sparsify or dictionary-learning".to_owned()
}

impl Autoencoder {
    /// Refuses weights that are finite in the file, but not once scales are folded in or a gate's log-scales are scales.
    pub(crate) fn checked(self, dir: &Path) -> Result<Self, Error> {
        let scales = match self.activation {
            Activation::Gated => to_vec(self.parameters.extra[0].clone().exp()),
            _ => Vec::new(),
        };
        match self.parameters.are_finite() && scales.iter().all(|scale| scale.is_finite()) {
            true => Ok(self),
            false => Err(refused(
                dir,
                "its weights are so large that scaling them makes them infinite".to_owned(),
            )),
        }
    }
}

/// A folder or file that is not what was written.
pub(crate) fn damaged(path: &Path, reason: String) -> Error {
    Error::Checkpoint {
        path: path.to_owned(),
        reason,
    }
}

/// A folder or file that holds something which is contradictory or not implemented.
fn refused(path: &Path, reason: String) -> Error {
    Error::Refused {
        path: path.to_owned(),
        reason,
    }
}

pub(crate) fn unsupported(library: &'static str, reason: String) -> Error {
    Error::Unsupported { library, reason }
}

/// Text from a file in one line of moderate length, without control characters.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let mut line: String = text
        .chars()
        .take(MOST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MOST).is_some() {
        line.push_str("...");
    }
    line
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
