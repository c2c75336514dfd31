//! GGUF files: one file with the weights, the configuration and the tokenizer of a model, as llama.cpp takes it.
//!
//! A [`Gguf`] looks like a checkpoint in Hugging Face layout: the `config.json` that the file was made from, tensors under
//! their names there with rows in their order there, and a `tokenizer.json`. Numbers in blocks of small integers are widened
//! to single precision exactly as the file says. The file is read a piece at a time, with positioned reads.
//!
//! What a file says of the computation and is not understood here is refused by name.

mod config;
mod dequantise;
mod error;
mod header;
mod metadata;
mod names;
mod rows;
mod source;
mod tokenizer;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use serde_json::Value;
use strum::VariantNames;

use self::header::Tensor;
use self::metadata::Metadata;
use self::names::Rows;
use self::rows::Order;
use self::source::Source;

pub use self::error::Error;

/// Divisors of the rotary frequencies: no parameter, and only in the file.
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// Families of models that are read, by their names in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
enum Architecture {
    /// Llama and Mistral.
    Llama,
    Qwen2,
    Qwen3,
    Gemma2,
    Gemma3,
    GptNeox,
}

impl Architecture {
    fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    fn of(metadata: &Metadata) -> Result<Self, Error> {
        let name = metadata.text("general.architecture")?;
        let name = metadata.required("general.architecture", name)?;
        name.parse().map_err(|_| {
            let known = Self::VARIANTS.join(", ");
            metadata.source().unsupported(format!(
                "it holds a model of architecture `{name}`; supported are {known}"
            ))
        })
    }
}

/// A tensor of the file under its name in the checkpoint.
#[derive(Debug)]
struct Parameter {
    tensor: Tensor,
    rows: Rows,
}

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    metadata: Metadata,
    architecture: Architecture,
    parameters: BTreeMap<String, Parameter>,
    rope_divisors: Option<Tensor>,
}

/// The tokenizer of a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTokenizer {
    /// The bytes of a `tokenizer.json`. Where texts begin with a token, its post-processor puts the token there.
    pub json: Vec<u8>,
    /// The token that begins a text, where the file names one.
    pub bos: Option<u32>,
    /// Whether texts begin with that token.
    pub add_bos: bool,
    /// The token that ends a text, where the file names one.
    pub eos: Option<u32>,
    /// The chat template, in the language of Jinja.
    pub chat_template: Option<String>,
}

impl Gguf {
    /// Opens a file and reads its head.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is cut off or is no GGUF file; one of an architecture, or with numbers of a type, that is
    /// not supported; one of several files of a model; one that holds something else than a model.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (metadata, tensors) = header::parse(Source::open(path)?)?;
        let source = metadata.source();
        if let Some(kind) = metadata.text("general.type")?
            && kind != "model"
        {
            return Err(source.unsupported(format!("it holds no model but a part of type `{kind}`")));
        }
        if let Some(count) = metadata.unsigned("split.count")?
            && count > 1
        {
            let reason = format!("it is one of {count} files of a model; join them with `llama-gguf-split --merge`");
            return Err(source.unsupported(reason));
        }
        let architecture = Architecture::of(&metadata)?;
        let mut parameters = BTreeMap::new();
        let mut rope_divisors = None;
        for tensor in tensors {
            if tensor.name == ROPE_DIVISORS {
                rope_divisors = Some(tensor);
                continue;
            }
            let (name, rows) = names::in_checkpoint(architecture, &tensor.name);
            match parameters.entry(name) {
                Entry::Vacant(place) => drop(place.insert(Parameter { tensor, rows })),
                Entry::Occupied(other) => {
                    let [a, b] = [&other.get().tensor.name, &tensor.name];
                    let reason = format!("tensors `{a}` and `{b}` are both `{}`", other.key());
                    return Err(source.damaged(reason));
                }
            }
        }
        Ok(Self {
            metadata,
            architecture,
            parameters,
            rope_divisors,
        })
    }

    /// The `config.json` of the model, in the spelling before transformers 5.
    ///
    /// # Errors
    ///
    /// A key that is missing or of the wrong type; one that changes the computation in a way that is not supported.
    pub fn config(&self) -> Result<Value, Error> {
        config::of(self)
    }

    /// The shape of a tensor, linear maps `[out, in]`.
    pub fn shape(&self, checkpoint_name: &str) -> Option<&[usize]> {
        self.parameters
            .get(checkpoint_name)
            .map(|parameter| parameter.tensor.shape.as_slice())
    }

    /// The names of all tensors in the checkpoint; a tensor that no model of the architecture has keeps its name in the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parameters.keys().map(String::as_str)
    }

    /// Gives `sink` the numbers of a tensor in row-major order, rows in the order of the checkpoint. A piece is whole rows, of
    /// about a million numbers at most where a row (or a head, where rows change places) is not longer.
    ///
    /// # Errors
    ///
    /// A tensor that is not there; a file that cannot be read; rows that the heads of the configuration cannot have.
    pub fn read(&self, checkpoint_name: &str, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let source = self.metadata.source();
        let Some(Parameter { tensor, rows }) = self.parameters.get(checkpoint_name) else {
            return Err(source.damaged(format!("no tensor of it is `{checkpoint_name}`")));
        };
        let heads = |keys: bool| -> Result<usize, Error> {
            let heads = if keys { self.kv_heads()? } else { self.heads()? };
            // So many heads have no row each, and are refused for that.
            Ok(usize::try_from(heads).unwrap_or(usize::MAX / 4).min(usize::MAX / 4))
        };
        let order = match rows {
            Rows::AsStored => Order::AsStored,
            Rows::PairsOfQueries => Order::Pairs { heads: heads(false)? },
            Rows::PairsOfKeys => Order::Pairs { heads: heads(true)? },
            Rows::QkvApart => Order::QkvApart { heads: heads(false)? },
        };
        rows::read(source, tensor, order, sink)
    }

    /// Whether the weights of norms are those of the checkpoint plus one: those of Gemma.
    pub fn norms_include_one(&self) -> bool {
        self.architecture.is_gemma()
    }

    /// What each rotary frequency is divided by, where the file says so: the scaling of Llama 3, which stands nowhere else.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; divisors that are no positive numbers.
    pub fn rope_divisors(&self) -> Result<Option<Vec<f32>>, Error> {
        let source = self.metadata.source();
        let Some(tensor) = &self.rope_divisors else {
            return Ok(None);
        };
        let mut divisors = Vec::new();
        rows::read(source, tensor, Order::AsStored, &mut |piece| {
            divisors.extend_from_slice(piece)
        })?;
        if !divisors.iter().all(|divisor| divisor.is_finite() && *divisor > 0.0) {
            return Err(source.damaged(format!("`{ROPE_DIVISORS}` holds what is no positive number")));
        }
        Ok(Some(divisors))
    }

    /// The tokenizer.
    ///
    /// # Errors
    ///
    /// A file without one; one of a kind that is not supported; one whose parts do not fit each other.
    pub fn tokenizer(&self) -> Result<GgufTokenizer, Error> {
        tokenizer::of(&self.metadata, self.architecture)
    }

    /// A key of the architecture.
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// Heads of queries.
    fn heads(&self) -> Result<u64, Error> {
        let key = self.key("attention.head_count");
        match self.metadata.required(&key, self.metadata.uniform(&key)?)? {
            0 => Err(self.metadata.source().damaged(format!("`{key}` is 0"))),
            heads => Ok(heads),
        }
    }

    /// Heads of keys and values.
    fn kv_heads(&self) -> Result<u64, Error> {
        let key = self.key("attention.head_count_kv");
        match self.metadata.uniform(&key)? {
            Some(0) => Err(self.metadata.source().damaged(format!("`{key}` is 0"))),
            Some(heads) => Ok(heads),
            None => self.heads(),
        }
    }
}
