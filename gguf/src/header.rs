//! The head of a GGUF file: where each tensor lies, and the metadata.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::dequantise::Kind;
use crate::metadata::{Metadata, Value};
use crate::source::{Cursor, Source};

/// Longest key and longest name of a tensor, in bytes; the format says so of keys.
const LONGEST_NAME: u64 = 65_535;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// Tensors begin at multiples of this where `general.alignment` does not say otherwise.
const ALIGNMENT: u64 = 32;
/// Fewest bytes of a pair of metadata (empty key, type, one byte) and of the entry of a tensor.
const LEAST_PAIR: u64 = 13;
const LEAST_ENTRY: u64 = 24;

/// A tensor of the file.
#[derive(Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    /// The shape, outermost dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
    /// Place of its first byte in the file.
    pub(crate) at: u64,
}

impl Tensor {
    /// Its numbers. The header is refused if they cannot be counted.
    pub(crate) fn numbers(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Metadata and tensors, in the order of the file.
pub(crate) fn parse(source: Source) -> Result<(Metadata, Vec<Tensor>), Error> {
    let mut cursor = source.cursor(0);
    cursor.name("the first bytes");
    let magic = cursor.take::<4>()?;
    if magic != *b"GGUF" {
        return Err(source.damaged("it does not begin with the letters GGUF"));
    }
    match cursor.u32()? {
        2 | 3 => {}
        version if matches!(version.swap_bytes(), 1..=3) => {
            return Err(source.unsupported("its numbers are big-endian; take a little-endian file of the model"));
        }
        version => {
            return Err(source.unsupported(format!(
                "version {version} of the GGUF format is not read, 2 and 3 are; convert it with a newer llama.cpp"
            )));
        }
    }
    let (n_tensors, n_pairs) = (cursor.u64()?, cursor.u64()?);
    cursor.name("the metadata");
    cursor.has_room(n_pairs, LEAST_PAIR)?;
    let mut pairs = BTreeMap::new();
    for i in 0..n_pairs {
        cursor.name(format!("key {i} of the metadata"));
        let key = cursor.text(LONGEST_NAME)?;
        cursor.name(format!("`{key}`"));
        let value = Value::read(&mut cursor, &source)?;
        if pairs.insert(key.clone(), value).is_some() {
            return Err(source.damaged(format!("`{key}` is in the metadata twice")));
        }
    }
    cursor.name("the list of tensors");
    cursor.has_room(n_tensors, LEAST_ENTRY)?;
    let mut tensors = Vec::new();
    for i in 0..n_tensors {
        cursor.name(format!("entry {i} of the list of tensors"));
        tensors.push(entry(&mut cursor, &source)?);
    }
    let end = cursor.at();
    let metadata = Metadata::new(source, pairs);
    let alignment = match metadata.unsigned("general.alignment")? {
        None => ALIGNMENT,
        Some(alignment) if alignment.is_power_of_two() => alignment,
        Some(other) => {
            let reason = format!("`general.alignment` is {other}, expected a power of two");
            return Err(metadata.source().damaged(reason));
        }
    };
    place(&mut tensors, end, alignment, metadata.source())?;
    Ok((metadata, tensors))
}

/// One entry of the list of tensors; its place is still counted from the first tensor.
fn entry(cursor: &mut Cursor<'_>, source: &Source) -> Result<Tensor, Error> {
    let name = cursor.text(LONGEST_NAME)?;
    cursor.name(format!("the entry of tensor `{name}`"));
    let n = cursor.u32()?;
    if n == 0 || n > MOST_DIMENSIONS {
        let reason = format!("tensor `{name}` has {n} dimensions, expected 1 to {MOST_DIMENSIONS}");
        return Err(source.damaged(reason));
    }
    let mut shape = Vec::new();
    for _ in 0..n {
        let size = usize::try_from(cursor.u64()?).unwrap_or(usize::MAX);
        shape.push(size);
    }
    // Innermost first in the file.
    shape.reverse();
    let id = cursor.u32()?;
    let kind = Kind::of(id).map_err(|found| {
        source.unsupported(format!(
            "tensor `{name}` is stored as {found}, which is not read; take a file of the model in {}",
            Kind::NAMES
        ))
    })?;
    let at = cursor.u64()?;
    Ok(Tensor { name, shape, kind, at })
}

/// Makes the places of the tensors those in the file, where all of them must lie, apart from one another.
fn place(tensors: &mut [Tensor], end: u64, alignment: u64, source: &Source) -> Result<(), Error> {
    let first = end.checked_next_multiple_of(alignment);
    let mut names = BTreeSet::new();
    let mut taken = Vec::new();
    for tensor in tensors {
        let name = &tensor.name;
        let (n, size) = tensor.kind.block();
        let numbers = (tensor.shape.iter()).try_fold(1_usize, |product, &size| product.checked_mul(size));
        let innermost = tensor.shape.last().copied().unwrap_or(0);
        let numbers = match numbers {
            Some(numbers) if numbers > 0 && innermost.is_multiple_of(n) => numbers,
            _ => {
                let reason = format!(
                    "tensor `{name}` has shape {:?}, which blocks of {n} numbers cannot have",
                    tensor.shape
                );
                return Err(source.damaged(reason));
            }
        };
        if !tensor.at.is_multiple_of(alignment) {
            let reason = format!(
                "tensor `{name}` begins at {}, no multiple of the alignment {alignment}",
                tensor.at
            );
            return Err(source.damaged(reason));
        }
        let bytes = ((numbers / n) as u64).checked_mul(size as u64);
        let at = first.and_then(|first| first.checked_add(tensor.at));
        let after = at.zip(bytes).and_then(|(at, bytes)| at.checked_add(bytes));
        match at.zip(after) {
            Some((at, after)) if after <= source.length() => {
                tensor.at = at;
                taken.push((at, after, name));
            }
            _ => {
                let reason = format!(
                    "it ends before tensor `{name}` does (shape {:?} from byte {} of the numbers on, in a file of {} bytes)",
                    tensor.shape,
                    tensor.at,
                    source.length()
                );
                return Err(source.damaged(reason));
            }
        }
        if !names.insert(name) {
            return Err(source.damaged(format!("tensor `{name}` is there twice")));
        }
    }
    taken.sort_unstable();
    match taken.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(source.damaged(format!("tensors `{}` and `{}` overlap", pair[0].2, pair[1].2))),
        None => Ok(()),
    }
}
