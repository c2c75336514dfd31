//! A safetensors file that stays on the disk: tensors are read one by one, piece by piece.
//!
//! Positioned reads and no memory map: where a file is cut off while it is mapped, the process is killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::checkpoint::{Tensors, without_prefix};
use crate::{Error, Spec, files};

/// Bytes of a piece.
const PIECE: usize = 4 << 20;
/// No header is longer.
const LONGEST_HEADER: u64 = 100 << 20;

/// Where a tensor lies in a file.
#[derive(Debug, Clone)]
struct Place {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Bytes from the beginning of the file.
    start: u64,
    len: usize,
}

/// A safetensors file, of which the header was read.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    places: BTreeMap<String, Place>,
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let cannot_read = |cause| Error::Read {
            path: path.to_owned(),
            cause,
        };
        let damaged = |reason: String| Error::Format {
            path: path.to_owned(),
            reason,
        };
        let file = File::open(path).map_err(cannot_read)?;
        let bytes = file.metadata().map_err(cannot_read)?.len();
        let mut length = [0; 8];
        if bytes < 8 {
            return Err(damaged(format!("not a whole safetensors file ({bytes} bytes)")));
        }
        file.read_exact_at(&mut length, 0).map_err(cannot_read)?;
        let length = u64::from_le_bytes(length);
        if length > bytes - 8 || length > LONGEST_HEADER {
            return Err(damaged(format!(
                "not a whole safetensors file (its header should have {length} bytes)"
            )));
        }
        let mut header = vec![0; length as usize];
        file.read_exact_at(&mut header, 8).map_err(cannot_read)?;
        // Offsets that overlap, leave gaps or do not fit the shapes are refused by the library.
        let metadata: Metadata = serde_json::from_slice(&header)
            .map_err(|error| damaged(format!("not a whole safetensors file (header: {error})")))?;
        let first = 8 + length;
        let mut places = BTreeMap::new();
        let mut end = first;
        for (name, info) in metadata.tensors() {
            let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            end = end.max(first + to);
            let place = Place {
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: first + from,
                len: (to - from) as usize,
            };
            places.insert(name.clone(), place);
        }
        if end != bytes {
            return Err(damaged(format!(
                "not a whole safetensors file ({bytes} bytes where its header tells of {end})"
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            places,
        })
    }

    /// Names of all tensors, as the file has them.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Hands the numbers of a tensor to `sink`, in pieces.
    fn read(&self, name: &str, place: &Place, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let widen = files::widen(place.dtype).ok_or_else(|| files::no_number(&self.path, name, place.dtype))?;
        let mut bytes = vec![0; PIECE.min(place.len)];
        let mut numbers = Vec::new();
        let mut done = 0;
        while done < place.len {
            let piece = &mut bytes[..PIECE.min(place.len - done)];
            self.file
                .read_exact_at(piece, place.start + done as u64)
                .map_err(|cause| Error::Read {
                    path: self.path.clone(),
                    cause,
                })?;
            numbers.clear();
            widen(piece, &mut numbers);
            sink(&numbers);
            done += piece.len();
        }
        Ok(())
    }
}

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
            for (stored, place) in &file.places {
                let name = without_prefix(stored).to_owned();
                shapes.insert(name.clone(), place.shape.clone());
                if let Some((_, other)) = places.insert(name, (index, stored.clone())) {
                    let reason = format!("one tensor is there twice, as `{stored}` and as `{other}`");
                    return Err(Error::Format { path, reason });
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
        let file = &self.files[*index];
        file.read(stored, &file.places[stored], sink)
    }
}
