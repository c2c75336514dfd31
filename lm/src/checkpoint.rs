//! Where the parameters of a model come from: tensors by name, read piece by piece.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use artifacts::HostTensor;

use crate::families::entries;
use crate::{Error, Spec};

/// Prefixes under which a checkpoint keeps the whole model, or the text model of several modalities.
const PREFIXES: [&str; 4] = ["transformer.", "model.", "language_model.", "gpt_neox."];

/// Tensors of a model by their names without the prefix of the whole model.
pub(crate) trait Tensors {
    /// The file that errors name.
    fn path(&self) -> PathBuf;

    /// A tensor's name with the prefix of the whole model, as the file has it or would have it.
    fn stored_name(&self, name: &str) -> String;

    /// Shapes by name.
    fn shapes(&self) -> &BTreeMap<String, Vec<usize>>;

    /// Whether the scales of norms are stored as they are used, where the family's own checkpoints hold them less 1.
    fn norms_include_one(&self) -> bool {
        false
    }

    /// Hands the numbers of a tensor to `sink`, row by row, in pieces.
    ///
    /// # Errors
    ///
    /// A tensor that is not there, or a file that cannot be read.
    fn read(&self, name: &str, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error>;
}

/// Tensors that are in memory.
pub(crate) struct InMemory<'a> {
    path: PathBuf,
    tensors: &'a BTreeMap<String, HostTensor>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl<'a> InMemory<'a> {
    /// `tensors`, of which errors say that they are of `path`.
    pub(crate) fn new(path: &Path, tensors: &'a BTreeMap<String, HostTensor>) -> Self {
        let shape = |(name, tensor): (&String, &HostTensor)| (name.clone(), tensor.shape.clone());
        Self {
            path: path.to_owned(),
            shapes: tensors.iter().map(shape).collect(),
            tensors,
        }
    }
}

impl Tensors for InMemory<'_> {
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    fn stored_name(&self, name: &str) -> String {
        name.to_owned()
    }

    fn shapes(&self) -> &BTreeMap<String, Vec<usize>> {
        &self.shapes
    }

    fn read(&self, name: &str, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let tensor = self.tensors.get(name).ok_or_else(|| Error::MissingTensors {
            path: self.path.clone(),
            names: vec![name.to_owned()],
        })?;
        sink(&tensor.data);
        Ok(())
    }
}

/// A tensor's name without the prefix of the whole model.
pub(crate) fn without_prefix(mut name: &str) -> &str {
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)) {
        name = rest;
    }
    name
}

/// Checks that `tensors` are those of a model of `spec`, in name and shape; says in the spec whether the unembedding is the
/// embedding. Where both are stored and equal, or where the other one is not there, it is.
pub(crate) fn fit(spec: &mut Spec, tensors: &dyn Tensors) -> Result<(), Error> {
    let (path, shapes) = (tensors.path(), tensors.shapes());
    check_depth(spec, &path, shapes)?;
    let unembed = spec.family.unembed_name();
    if spec.tied && shapes.contains_key(unembed) {
        spec.tied = equal(tensors, unembed, spec.family.embed_name())?;
    }
    let mut missing = Vec::new();
    let mut known = BTreeSet::new();
    for entry in entries(spec) {
        match shapes.get(&entry.name) {
            Some(shape) if *shape == entry.shape => {}
            Some(shape) => {
                return Err(Error::Shape {
                    path,
                    name: tensors.stored_name(&entry.name),
                    expected: entry.shape,
                    found: shape.clone(),
                });
            }
            None => missing.push(tensors.stored_name(&entry.name)),
        }
        known.insert(entry.name);
    }
    if !missing.is_empty() {
        return Err(Error::MissingTensors { path, names: missing });
    }
    let stray = shapes.keys().filter(|name| {
        let is_head = spec.tied && *name == unembed;
        !(known.contains(*name) || is_head || spec.family.is_no_parameter(name))
    });
    let names: Vec<String> = stray.map(|name| tensors.stored_name(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::UnexpectedTensors { path, names })
}

/// Checks the number of blocks before the names of all of them are listed, which a config may say to be many.
fn check_depth(spec: &Spec, path: &Path, shapes: &BTreeMap<String, Vec<usize>>) -> Result<(), Error> {
    let block = |name: &'_ String| -> Option<String> {
        let rest = name.strip_prefix(spec.family.block_prefix())?;
        Some(rest.split('.').next()?.to_owned())
    };
    let found = shapes.keys().filter_map(block).collect::<BTreeSet<_>>().len();
    if found == spec.n_layer {
        return Ok(());
    }
    Err(Error::Blocks {
        path: path.to_owned(),
        expected: spec.n_layer,
        found,
    })
}

/// Whether two tensors hold the same numbers.
fn equal(tensors: &dyn Tensors, one: &str, other: &str) -> Result<bool, Error> {
    let shapes = tensors.shapes();
    if shapes.get(one) != shapes.get(other) {
        return Ok(false);
    }
    let mut numbers = Vec::new();
    tensors.read(one, &mut |piece| numbers.extend_from_slice(piece))?;
    let (mut at, mut same) = (0, true);
    tensors.read(other, &mut |piece| {
        same &= numbers[at..at + piece.len()] == *piece;
        at += piece.len();
    })?;
    Ok(same)
}
