//! Tensors in host memory, and safetensors files that are read and written at once.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::{Error, read, write_atomic};

/// A tensor in host memory, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl HostTensor {
    /// A tensor of `shape`.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        Self {
            shape: shape.into(),
            data,
        }
    }

    /// Whether no value is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.data.iter().all(|x| x.is_finite())
    }
}

/// All float tensors of a safetensors file as `f32` (from F32, F64, F16 or BF16).
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, HostTensor>, Error> {
    let bytes = read(path)?;
    let file = parse(path, &bytes)?;
    file.tensors()
        .iter()
        .map(|(name, view)| Ok((name.clone(), to_f32(path, name, view)?)))
        .collect()
}

/// What [`write_tensors`] has written.
pub struct WithMetadata {
    /// The tensors by name.
    pub tensors: BTreeMap<String, HostTensor>,
    /// Empty where another program wrote the file.
    pub metadata: BTreeMap<String, String>,
}

/// The tensors of a file, as [`read_tensors`] gives them, and its metadata.
pub fn read_with_metadata(path: &Path) -> Result<WithMetadata, Error> {
    let bytes = read(path)?;
    let file = parse(path, &bytes)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| not_whole(path, &error))?;
    let ours = header.metadata().as_ref().and_then(|map| map.get("saelab"));
    let metadata = ours
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let tensors = file.tensors();
    let tensors = tensors
        .iter()
        .map(|(name, view)| Ok((name.clone(), to_f32(path, name, view)?)))
        .collect::<Result<_, Error>>()?;
    Ok(WithMetadata { tensors, metadata })
}

/// One integer tensor (I64 or I32) of a safetensors file: its shape and values.
pub fn read_integers(path: &Path, name: &str) -> Result<(Vec<usize>, Vec<i64>), Error> {
    let bytes = read(path)?;
    let file = parse(path, &bytes)?;
    let format = |reason: String| Error::Format {
        path: path.to_owned(),
        reason,
    };
    let view = file
        .tensor(name)
        .map_err(|error| format(format!("`{name}`: {error}")))?;
    let values = match view.dtype() {
        Dtype::I64 => words::<8>(view.data()).map(i64::from_le_bytes).collect(),
        Dtype::I32 => words::<4>(view.data())
            .map(|word| i64::from(i32::from_le_bytes(word)))
            .collect(),
        other => return Err(format(format!("`{name}` is {other:?}, expected I64 or I32"))),
    };
    Ok((view.shape().to_vec(), values))
}

/// Writes a safetensors file of F32 tensors, atomically; equal content gives equal bytes.
pub fn write_tensors(
    path: &Path,
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let bytes = tensor_bytes(path, tensors, metadata)?;
    write_atomic(path, |file| file.write_all(&bytes))
}

/// The bytes of a safetensors file of F32 tensors; `path` is where they will stand.
pub fn tensor_bytes(
    path: &Path,
    tensors: &BTreeMap<String, HostTensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    let data: Vec<Vec<u8>> = tensors
        .values()
        .map(|tensor| tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views: Vec<(&String, TensorView<'_>)> = tensors
        .iter()
        .zip(&data)
        .map(|((name, tensor), bytes)| Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()
        .map_err(|error| not_writable(path, error))?;
    // The metadata map of the format has no fixed order, so more than one entry would make the bytes vary: one entry
    // holds all of them as JSON, beside the `format` that Hugging Face's readers ask for.
    let header = match metadata.is_empty() {
        true => HashMap::from([("format".to_owned(), "pt".to_owned())]),
        false => HashMap::from([("saelab".to_owned(), serde_json::json!(metadata).to_string())]),
    };
    safetensors::serialize(views, Some(header)).map_err(|error| not_writable(path, error))
}

fn not_writable(path: &Path, error: safetensors::SafeTensorError) -> Error {
    Error::Write {
        path: path.to_owned(),
        cause: io::Error::other(error),
    }
}

fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Error> {
    SafeTensors::deserialize(bytes).map_err(|error| not_whole(path, &error))
}

fn not_whole(path: &Path, error: &safetensors::SafeTensorError) -> Error {
    Error::Format {
        path: path.to_owned(),
        reason: format!("not a whole safetensors file ({error})"),
    }
}

/// Whole words of `N` bytes.
pub fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

/// Widens the bytes of numbers of one type and adds them to `out`.
pub(crate) type Widen = fn(&[u8], &mut Vec<f32>);

/// How numbers of a type become `f32`; none for a type that is no number of a model.
pub(crate) fn widen(dtype: Dtype) -> Option<Widen> {
    Some(match dtype {
        Dtype::F32 => |bytes, out| out.extend(words::<4>(bytes).map(f32::from_le_bytes)),
        Dtype::F64 => |bytes, out| out.extend(words::<8>(bytes).map(|word| f64::from_le_bytes(word) as f32)),
        Dtype::F16 => |bytes, out| out.extend(words::<2>(bytes).map(|word| half::f16::from_le_bytes(word).to_f32())),
        Dtype::BF16 => |bytes, out| out.extend(words::<2>(bytes).map(|word| half::bf16::from_le_bytes(word).to_f32())),
        // The causal masks of old checkpoints; they are checked by name and never used.
        Dtype::BOOL | Dtype::U8 => |bytes, out| out.extend(bytes.iter().map(|&byte| f32::from(byte))),
        Dtype::I64 => |bytes, out| out.extend(words::<8>(bytes).map(|word| i64::from_le_bytes(word) as f32)),
        _ => return None,
    })
}

/// The error of a tensor whose type is no number of a model.
pub(crate) fn no_number(path: &Path, name: &str, dtype: Dtype) -> Error {
    Error::Format {
        path: path.to_owned(),
        reason: format!("`{name}` has dtype {dtype:?}, expected a float type"),
    }
}

fn to_f32(path: &Path, name: &str, view: &TensorView<'_>) -> Result<HostTensor, Error> {
    let widen = widen(view.dtype()).ok_or_else(|| no_number(path, name, view.dtype()))?;
    let mut data = Vec::new();
    widen(view.data(), &mut data);
    Ok(HostTensor {
        shape: view.shape().to_vec(),
        data,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn tensors_round_trip_and_truncation_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/x.safetensors");
        let tensors = BTreeMap::from([(
            "a".to_owned(),
            HostTensor::new([2, 3], vec![1.0, -2.0, 3.5, 0.0, 1e-30, 7.0]),
        )]);
        write_tensors(&path, &tensors, &BTreeMap::new()).unwrap();
        assert_eq!(read_tensors(&path).unwrap(), tensors);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(matches!(read_tensors(&path), Err(Error::Format { .. })));
    }
}
