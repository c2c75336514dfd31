//! Changes of a safetensors file: eight bytes with the length of a JSON header, the header, the numbers.

use kernels::random::ChaCha8Rng;
use rand::RngExt;
use serde_json::{Map, Value, json};

use super::json::{self, Donor};
use super::one_of;

/// The types of the format, and their bytes.
const DTYPES: [(&str, usize); 12] = [
    ("F32", 4),
    ("F64", 8),
    ("F16", 2),
    ("BF16", 2),
    ("I64", 8),
    ("I32", 4),
    ("U8", 1),
    ("BOOL", 1),
    ("I8", 1),
    ("U64", 8),
    ("F8_E4M3", 1),
    ("F4", 1),
];
/// Numbers that weights should not hold, and some that they may.
const NUMBERS: [f32; 8] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    0.0,
    -1.0,
    f32::MAX,
    1e-45,
    1.0,
];

/// A tensor of a file.
#[derive(Clone)]
struct Entry {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

/// The JSON of a file.
pub(super) fn header(file: &[u8]) -> Option<&[u8]> {
    let length = u64::from_le_bytes(*file.first_chunk::<8>()?);
    file.get(8..)?.get(..usize::try_from(length).ok()?)
}

/// Changes that keep the tensors where the header says, or changes of the header alone.
pub(super) fn change(input: &[u8], donors: &[Donor], rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let old = header(input)?;
    if rng.random_ratio(1, 3) {
        let header = json::change(old, donors, rng)?;
        let numbers = &input[8 + old.len()..];
        return Some([&(header.len() as u64).to_le_bytes(), header.as_slice(), numbers].concat());
    }
    let (mut entries, metadata) = parse(input)?;
    for _ in 0..rng.random_range(1..=2) {
        once(&mut entries, donors, rng);
    }
    Some(write(&entries, metadata))
}

fn parse(input: &[u8]) -> Option<(Vec<Entry>, Option<Value>)> {
    let header = header(input)?;
    let numbers = &input[8 + header.len()..];
    let mut map: Map<String, Value> = serde_json::from_slice(header).ok()?;
    let metadata = map.remove("__metadata__");
    let entry = |(name, value): (String, Value)| {
        let place = |index: usize| usize::try_from(value["data_offsets"][index].as_u64()?).ok();
        Some(Entry {
            name,
            dtype: value["dtype"].as_str()?.to_owned(),
            shape: value["shape"]
                .as_array()?
                .iter()
                .map(Value::as_u64)
                .collect::<Option<_>>()?,
            bytes: numbers.get(place(0)?..place(1)?)?.to_vec(),
        })
    };
    Some((map.into_iter().map(entry).collect::<Option<_>>()?, metadata))
}

fn write(entries: &[Entry], metadata: Option<Value>) -> Vec<u8> {
    let (mut map, mut numbers) = (Map::new(), Vec::new());
    if let Some(metadata) = metadata {
        map.insert("__metadata__".to_owned(), metadata);
    }
    for entry in entries {
        let start = numbers.len();
        numbers.extend(&entry.bytes);
        let value = json!({ "dtype": entry.dtype, "shape": entry.shape, "data_offsets": [start, numbers.len()] });
        map.insert(entry.name.clone(), value);
    }
    let header = Value::Object(map).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat()
}

fn once(entries: &mut Vec<Entry>, donors: &[Donor], rng: &mut ChaCha8Rng) {
    if entries.is_empty() {
        return;
    }
    let at = rng.random_range(0..entries.len());
    let size = entries[at].bytes.len() as u64;
    match rng.random_range(0..7) {
        0 => drop(entries.remove(at)),
        1 => {
            let mut copy = entries[at].clone();
            copy.name = match donors.is_empty() || rng.random_ratio(1, 2) {
                true => format!("transformer.{}", copy.name),
                false => one_of(donors, rng).0.clone(),
            };
            entries.push(copy);
        }
        2 if !donors.is_empty() => entries[at].name = one_of(donors, rng).0.clone(),
        3 => {
            // Another type of as many bytes.
            let (dtype, width) = *one_of(&DTYPES, rng);
            entries[at].dtype = dtype.to_owned();
            entries[at].shape = vec![size / width as u64];
        }
        4 => {
            // Another shape of as many numbers.
            let all = entries[at].shape.iter().fold(1, |all: u64, n| all.saturating_mul(*n));
            let half = all / 2;
            let shapes = [
                vec![all],
                vec![1, all],
                vec![all, 1],
                vec![2, half],
                vec![half, 2],
                vec![1; 9],
            ];
            entries[at].shape = one_of(&shapes, rng).clone();
        }
        5 => {
            // Nothing at all, in a shape that may be large.
            let (shape, bytes) = one_of(
                &[(vec![0], 0), (vec![0, 1 << 40], 0), (vec![1 << 32, 0], 0), (vec![], 4)],
                rng,
            )
            .clone();
            entries[at].shape = shape;
            entries[at].bytes.truncate(bytes);
        }
        _ => {
            let number = one_of(&NUMBERS, rng).to_le_bytes();
            let all = rng.random_ratio(1, 3);
            let words = entries[at].bytes.as_chunks_mut::<4>().0;
            let only = rng.random_range(0..words.len().max(1));
            for (index, word) in words.iter_mut().enumerate() {
                if all || index == only {
                    *word = number;
                }
            }
        }
    }
}
