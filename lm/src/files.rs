//! Files of every stage: written whole or not at all, identified by SHA-256, tensors as safetensors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::temporary::Temporary;
pub use crate::temporary::{TemporaryFolder, end_temporaries, remove_leftovers};

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

/// Writes `path` through a temporary file beside it that is renamed at the end: after a crash, a full disk or Ctrl-C
/// there is the old file or none. Missing folders are made, and what dead processes have left beside it is removed.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> Result<(), Error> {
    written(path, prepared(path, write).and_then(Temporary::persist))
}

/// Writes several files that belong together, as [`write_atomic`] writes one: all of them are whole on the disk before the
/// first takes its name, so that a full disk leaves the old ones. They are renamed in the order given.
pub fn write_together(files: &[(PathBuf, &[u8])]) -> Result<(), Error> {
    let whole = files.iter().map(|(path, bytes)| written(path, on_disk(path, bytes)));
    let whole: Vec<Temporary> = whole.collect::<Result<_, _>>()?;
    for (file, (path, _)) in whole.into_iter().zip(files) {
        written(path, file.persist())?;
    }
    Ok(())
}

/// A file whose bytes have reached the disk, and that can be renamed to `path`.
fn on_disk(path: &Path, bytes: &[u8]) -> io::Result<Temporary> {
    // Found now, a folder in the way of one file leaves the others as they are.
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let file = prepared(path, |file| file.write_all(bytes))?;
    file.file().sync_all()?;
    Ok(file)
}

/// A file that is whole but for its name, which [`Temporary::persist`] gives it.
pub(crate) fn prepared(
    path: &Path,
    write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> io::Result<Temporary> {
    let temporary = Temporary::create(path)?;
    let mut buffer = BufWriter::new(temporary.file());
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    Ok(temporary)
}

/// What came of writing `path`.
pub(crate) fn written<T>(path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|cause| Error::Write {
        path: path.to_owned(),
        cause,
    })
}

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::Write {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

/// Removes a folder and all in it, if it is there.
pub fn remove_folder(path: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|cause| Error::Write {
            path: path.to_owned(),
            cause,
        })?;
    }
    Ok(())
}

/// Writes `value` as indented JSON, atomically.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    write_atomic(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// Reads a JSON file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_slice(&read(path)?).map_err(|error| Error::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Where two JSON values differ: `path: old -> new` for each place; strings stand without quotes.
pub fn json_differences(old: &Value, new: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", old, new, &mut differences);
    differences
}

fn compare(path: &str, old: &Value, new: &Value, differences: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            let inner = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            compare(&inner, &of(old), &of(new), differences);
        }
    } else if old != new {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        differences.push(format!("{path}: {} -> {}", text(old), text(new)));
    }
}

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of bytes that come in parts.
#[derive(Debug, Clone, Default)]
pub struct Sha256Hex(Sha256);

impl Sha256Hex {
    /// The next part.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all parts in lower-case hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// SHA-256 of a file in lower-case hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String, Error> {
    digest_file(Sha256::new(), path)
}

/// What `digest` makes of the bytes of a file, in lower-case hexadecimal; the file is not held in memory.
pub(crate) fn digest_file<D: Digest>(mut digest: D, path: &Path) -> Result<String, Error> {
    let mut go = || {
        let mut file = fs::File::open(path)?;
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                read => digest.update(&piece[..read]),
            }
        }
    };
    go().map_err(|cause| Error::Read {
        path: path.to_owned(),
        cause,
    })?;
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| Error::Read {
        path: path.to_owned(),
        cause,
    })
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
pub(crate) struct Written {
    pub(crate) tensors: BTreeMap<String, HostTensor>,
    /// Empty where another program wrote the file.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The tensors of a file, as [`read_tensors`] gives them, and its metadata.
pub(crate) fn read_with_metadata(path: &Path) -> Result<Written, Error> {
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
    Ok(Written { tensors, metadata })
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
    use super::*;

    #[test]
    fn differences_are_listed_with_their_path() {
        let (old, new) = (
            serde_json::json!({"steps": 10, "a": {"k": 8, "x": 1}, "dtype": "f32"}),
            serde_json::json!({"steps": 20, "a": {"k": 16, "x": 1}, "dtype": "f16", "seed": 1}),
        );
        let found = json_differences(&old, &new);
        assert_eq!(
            found,
            [
                "a.k: 8 -> 16",
                "dtype: f32 -> f16",
                "seed: null -> 1",
                "steps: 10 -> 20"
            ]
        );
    }

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

    #[test]
    fn files_that_belong_together_are_replaced_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "sub/c"].map(|name| folder.path().join(name));
        let write = |text: &[u8]| write_together(&[(a.clone(), text), (b.clone(), text), (c.clone(), text)]);
        write(b"old").unwrap();
        // The last cannot be written: the first two stay.
        fs::remove_file(&c).unwrap();
        fs::create_dir(&c).unwrap();
        let error = write(b"new").unwrap_err().to_string();
        assert!(error.contains("sub/c"), "{error}");
        assert_eq!([&a, &b].map(|path| fs::read(path).unwrap()), [b"old", b"old"]);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "no temporary file is left"
        );
        fs::remove_dir(&c).unwrap();
        write(b"new").unwrap();
        assert_eq!([&a, &b, &c].map(|path| fs::read(path).unwrap()), [b"new"; 3]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }
}
