//! A GGUF file as the checkpoint of a model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gguf::Gguf;
use serde_json::{Value, json};

use crate::checkpoint::{Tensors, without_prefix};
use crate::{Error, Spec, families};

/// The tensors of a GGUF file by their names without the prefix of the whole model.
pub(crate) struct GgufTensors {
    path: PathBuf,
    gguf: Gguf,
    /// Names with the prefix.
    stored: BTreeMap<String, String>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl GgufTensors {
    /// Opens a file; gives what its model computes as well.
    ///
    /// # Errors
    ///
    /// Those of [`Gguf::open`] and [`Gguf::config`]; a computation that this program does not have.
    pub(crate) fn open(path: &Path) -> Result<(Self, Spec), Error> {
        let gguf = Gguf::open(path)?;
        let spec = families::spec(path, with_divisors(&gguf)?)?;
        let (mut stored, mut shapes) = (BTreeMap::new(), BTreeMap::new());
        for name in gguf.names() {
            let short = without_prefix(name).to_owned();
            shapes.insert(short.clone(), gguf.shape(name).unwrap_or_default().to_vec());
            stored.insert(short, name.to_owned());
        }
        let tensors = Self {
            path: path.to_owned(),
            gguf,
            stored,
            shapes,
        };
        Ok((tensors, spec))
    }
}

/// The config of the file, with the divisors of the rotary frequencies that a tensor of it holds.
fn with_divisors(gguf: &Gguf) -> Result<Value, Error> {
    let mut config = gguf.config()?;
    if let Some(divisors) = gguf.rope_divisors()? {
        config["rope_scaling"] = json!({"rope_type": "divided", "divisors": divisors});
    }
    Ok(config)
}

impl Tensors for GgufTensors {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn stored_name(&self, name: &str) -> String {
        self.stored.get(name).cloned().unwrap_or_else(|| name.to_owned())
    }

    fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    fn norms_include_one(&self) -> bool {
        self.gguf.norms_include_one()
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        Ok(self.gguf.read(&self.stored_name(name), sink)?)
    }
}
