//! Files of `torch.save`: a dictionary of tensors, as `torch.load(weights_only=True)` accepts it.
//!
//! The file is a zip archive of one pickle, which names the tensors, and of their raw numbers. Reading is left to a library,
//! once it is certain that nothing in the file is larger than the file: neither an entry, which `torch.save` never compresses,
//! nor a tensor, whose strides could repeat one number. Writing needs a dozen opcodes of the pickle protocol 2, and gives equal
//! bytes for equal tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Write as _};
use std::path::Path;

use artifacts::{HostTensor, words};
use pytorch_reader::{DType, PytorchReader};
use serde::de::DeserializeOwned;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{damaged, refused, shown};
use crate::Error;

/// The largest pickle that is read. That of a dictionary's few tensors has about a thousand bytes.
const MOST_PICKLE: u64 = 1 << 20;

/// Numbers of a tensor that is written.
pub(super) enum Numbers {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

/// What a file of `torch.save` holds: the tensors of its dictionary, and what `T` names of its other entries, such as settings and lists
/// of names.
///
/// # Errors
///
/// A file that is missing or damaged, that claims more than it holds, or that lacks an entry of `T`.
pub fn read_torch<T: DeserializeOwned>(path: &Path) -> Result<(T, BTreeMap<String, HostTensor>), Error> {
    let tensors = read(path)?;
    let settings = PytorchReader::load_config(path, None).map_err(|error| damaged(path, one_line(&error)))?;
    Ok((settings, tensors))
}

/// All tensors of a file as `f32`; whole numbers and truth values too.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, HostTensor>, Error> {
    let file = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, file) = file.map_err(|cause| artifacts::Error::read(path, cause))?;
    check_archive(path, file)?;
    let reader = PytorchReader::new(path).map_err(|error| damaged(path, one_line(&error)))?;
    let mut all = 0_u64;
    for tensor in reader.tensors().values() {
        let size = tensor.byte_len() as u64;
        all = all.saturating_add(size);
        if size > length {
            let reason = format!(
                "`{}` of shape {:?} needs {size} bytes, more than the file of {length} bytes can hold",
                shown(&tensor.name),
                tensor.shape()
            );
            return Err(refused(path, reason));
        }
    }
    // Tensors may share their numbers, as tied weights do.
    if all / 2 > length {
        let reason = format!("its tensors need {all} bytes, more than twice the {length} bytes of the file");
        return Err(refused(path, reason));
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in reader.into_tensors() {
        let bytes = tensor.read().map_err(|error| damaged(path, one_line(&error)))?;
        let data: Vec<f32> = match tensor.dtype() {
            DType::F32 => words(&bytes).map(f32::from_le_bytes).collect(),
            DType::F64 => words(&bytes).map(|word| f64::from_le_bytes(word) as f32).collect(),
            DType::F16 => words(&bytes)
                .map(|word| half::f16::from_le_bytes(word).to_f32())
                .collect(),
            DType::BF16 => words(&bytes)
                .map(|word| half::bf16::from_le_bytes(word).to_f32())
                .collect(),
            DType::I32 => words(&bytes).map(|word| i32::from_le_bytes(word) as f32).collect(),
            DType::Bool => bytes.iter().map(|&byte| f32::from(u8::from(byte != 0))).collect(),
            DType::I64 => words(&bytes).map(|word| i64::from_le_bytes(word) as f32).collect(),
            other => {
                let reason = format!("`{}` has dtype {other:?}, expected a float type", shown(&name));
                return Err(refused(path, reason));
            }
        };
        tensors.insert(name, HostTensor::new(tensor.shape(), data));
    }
    Ok(tensors)
}

/// Refuses an archive that unpacks to more than its size, or whose pickle is that of something else than a few tensors.
fn check_archive(path: &Path, file: File) -> Result<(), Error> {
    let broken = |error: zip::result::ZipError| {
        damaged(
            path,
            format!(
                "it is not a whole zip archive, as `torch.save` writes since PyTorch 1.6 ({})",
                one_line(&error)
            ),
        )
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(broken)?;
        let name = entry.name().map_err(broken)?.into_owned();
        if entry.compression() != CompressionMethod::Stored {
            let reason = format!(
                "its entry `{}` is compressed, which `torch.save` never does",
                shown(&name)
            );
            return Err(refused(path, reason));
        }
        if name.ends_with("data.pkl") && entry.size() > MOST_PICKLE {
            let reason = format!(
                "its entry `{}` of {} bytes is no dictionary of a few tensors",
                shown(&name),
                entry.size()
            );
            return Err(refused(path, reason));
        }
    }
    Ok(())
}

/// A library's message in one line of moderate length.
fn one_line(error: &dyn std::fmt::Display) -> String {
    shown(&error.to_string())
}

/// The bytes of a file of tensors, in the order given.
pub(super) fn bytes(path: &Path, tensors: &[(&str, Vec<usize>, Numbers)]) -> Result<Vec<u8>, Error> {
    let mut pickle = Pickle(vec![0x80, 2, b'}', b'(']); // PROTO 2, EMPTY_DICT, MARK
    let mut storages = Vec::new();
    for (i, (name, shape, numbers)) in tensors.iter().enumerate() {
        pickle.string(name);
        let (class, bytes): (_, Vec<u8>) = match numbers {
            Numbers::F32(values) => ("FloatStorage", values.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Numbers::I32(values) => ("IntStorage", values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        pickle.tensor(class, i, bytes.len() / 4, shape);
        storages.push(bytes);
    }
    pickle.0.extend(b"u."); // SETITEMS, STOP
    let archive = || -> zip::result::ZipResult<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let mut entry = |name: String, bytes: &[u8]| -> zip::result::ZipResult<()> {
            zip.start_file(name, options)?;
            Ok(zip.write_all(bytes)?)
        };
        entry("ae/data.pkl".to_owned(), &pickle.0)?;
        entry("ae/byteorder".to_owned(), b"little")?;
        for (i, bytes) in storages.iter().enumerate() {
            entry(format!("ae/data/{i}"), bytes)?;
        }
        entry("ae/version".to_owned(), b"3\n")?;
        Ok(zip.finish()?.into_inner())
    };
    let bytes = archive().map_err(|error| artifacts::Error::Write {
        path: path.to_owned(),
        cause: std::io::Error::other(error),
    })?;
    Ok(bytes)
}

/// A pickle that grows.
struct Pickle(Vec<u8>);

impl Pickle {
    fn string(&mut self, text: &str) {
        self.0.push(b'X'); // BINUNICODE
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn number(&mut self, n: usize) {
        // BININT; storages of 2^31 numbers and more need LONG1.
        match i32::try_from(n) {
            Ok(n) => {
                self.0.push(b'J');
                self.0.extend(n.to_le_bytes());
            }
            Err(_) => {
                self.0.extend([0x8a, 9]); // LONG1 of nine bytes, the last for the sign
                self.0.extend((n as u64).to_le_bytes());
                self.0.push(0);
            }
        }
    }

    fn numbers(&mut self, values: &[usize]) {
        self.0.push(b'('); // MARK
        values.iter().for_each(|&n| self.number(n));
        self.0.push(b't'); // TUPLE
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").bytes());
    }

    /// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())` of storage `i`.
    fn tensor(&mut self, class: &str, i: usize, n: usize, shape: &[usize]) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend(b"((");
        self.string("storage");
        self.global("torch", class);
        self.string(&i.to_string());
        self.string("cpu");
        self.number(n);
        self.0.extend(b"tQ"); // TUPLE, BINPERSID
        self.number(0);
        self.numbers(shape);
        let strides: Vec<usize> = (0..shape.len())
            .map(|axis| shape[axis + 1..].iter().product())
            .collect();
        self.numbers(&strides);
        self.0.push(0x89); // NEWFALSE
        self.global("collections", "OrderedDict");
        self.0.extend(b")RtR"); // EMPTY_TUPLE, REDUCE, TUPLE, REDUCE
    }
}
