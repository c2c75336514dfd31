//! A safetensors file that stays on the disk: tensors are read one by one, piece by piece.
//!
//! Positioned reads and no memory map: where a file is cut off while it is mapped, the process is killed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::Error;
use crate::tensors::{no_number, widen};

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
pub struct SafetensorsFile {
    path: PathBuf,
    file: File,
    places: BTreeMap<String, Place>,
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let cannot_read = |cause| Error::read(path, cause);
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
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Names and shapes of all tensors.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.places
            .iter()
            .map(|(name, place)| (name.as_str(), place.shape.as_slice()))
    }

    /// Hands the numbers of a tensor to `sink` as `f32`, in pieces of at most 4 MB of the file.
    ///
    /// # Errors
    ///
    /// A tensor that is not there or whose type is no number of a model, and a file that cannot be read.
    pub fn read(&self, name: &str, sink: &mut dyn FnMut(&[f32])) -> Result<(), Error> {
        let place = self.places.get(name).ok_or_else(|| Error::Format {
            path: self.path.clone(),
            reason: format!("it holds no tensor `{name}`"),
        })?;
        let widen = widen(place.dtype).ok_or_else(|| no_number(&self.path, name, place.dtype))?;
        let mut bytes = vec![0; PIECE.min(place.len)];
        let mut numbers = Vec::new();
        let mut done = 0;
        while done < place.len {
            let piece = &mut bytes[..PIECE.min(place.len - done)];
            self.file
                .read_exact_at(piece, place.start + done as u64)
                .map_err(|cause| Error::read(&self.path, cause))?;
            numbers.clear();
            widen(piece, &mut numbers);
            sink(&numbers);
            done += piece.len();
        }
        Ok(())
    }
}
