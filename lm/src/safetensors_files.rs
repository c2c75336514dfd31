//! The tensors of a model in one or several safetensors files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use artifacts::SafetensorsFile;

use crate::checkpoint::{Tensors, without_prefix};
use crate::{Error, Spec};

/// The tensors of a model in one or several safetensors files.
#[derive(Debug)]
pub(crate) struct SafetensorsFiles {
    path: PathBuf,
    files: Vec<SafetensorsFile>,
    /// File and name there of each tensor, by its name without the prefix of the whole model.
    places: BTreeMap<String, (usize, String)>,
    shapes: BTreeMap<String, Vec<usize>>,
    /// Prefix of the whole model in the names of its blocks.
    prefix: String,
}

impl SafetensorsFiles {
    /// The tensors of `files`, of which errors name `path`.
    ///
    /// # Errors
    ///
    /// A tensor that is there twice, with and without the prefix of the whole model.
    pub(crate) fn new(path: PathBuf, files: Vec<SafetensorsFile>) -> Result<Self, Error> {
        let (mut places, mut shapes) = (BTreeMap::new(), BTreeMap::new());
        for (index, file) in files.iter().enumerate() {
            for (stored, shape) in file.shapes() {
                let name = without_prefix(stored).to_owned();
                shapes.insert(name.clone(), shape.to_vec());
                if let Some((_, other)) = places.insert(name, (index, stored.to_owned())) {
                    let reason = format!("one tensor is there twice, as `{stored}` and as `{other}`");
                    return Err(artifacts::Error::Format { path, reason }.into());
                }
            }
        }
        let prefix = |(name, (_, stored)): (&String, &(usize, String))| {
            let of_block = name.starts_with("h.") || name.starts_with("layers.");
            of_block.then(|| stored[..stored.len() - name.len()].to_owned())
        };
        Ok(Self {
            path,
            files,
            prefix: places.iter().find_map(prefix).unwrap_or_default(),
            places,
            shapes,
        })
    }

    /// Takes the unembedding under the name that newer files of NeoX have, and as the embedding where only the former is stored,
    /// as in some tied checkpoints.
    pub(crate) fn accept_other_names(&mut self, spec: &Spec) {
        let head = spec.family.unembed_name();
        self.rename("lm_head.weight", head);
        if spec.tied {
            self.rename(head, spec.family.embed_name());
        }
    }

    /// Gives a tensor another name, unless that is taken.
    fn rename(&mut self, from: &str, to: &str) {
        if self.places.contains_key(to) {
            return;
        }
        if let (Some(place), Some(shape)) = (self.places.remove(from), self.shapes.remove(from)) {
            self.places.insert(to.to_owned(), place);
            self.shapes.insert(to.to_owned(), shape);
        }
    }
}

impl Tensors for SafetensorsFiles {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn stored_name(&self, name: &str) -> String {
        match self.places.get(name) {
            Some((_, stored)) => stored.clone(),
            // The head lies beside the rest of the model, not in it.
            None if name.starts_with("lm_head") || name.starts_with("embed_out") => name.to_owned(),
            None => format!("{}{name}", self.prefix),
        }
    }

    fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let (index, stored) = self.places.get(name).ok_or_else(|| Error::MissingTensors {
            path: self.path.clone(),
            names: vec![name.to_owned()],
        })?;
        Ok(self.files[*index].read(stored, sink)?)
    }
}
