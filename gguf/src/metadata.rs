//! The metadata of a GGUF file: values by their keys, each asked for as what it should be.

use std::collections::BTreeMap;

use crate::Error;
use crate::source::{Cursor, Source};

/// Longest text of the metadata, in bytes: chat templates, and licences in full.
const LONGEST_TEXT: u64 = 16 << 20;
/// Most entries of a list that is read: vocabularies hold some hundred thousand.
const LONGEST_LIST: u64 = 1 << 22;

/// A value. Lists are read when they are asked for.
#[derive(Debug)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    List(List),
}

/// Where a list lies.
#[derive(Debug)]
pub(crate) struct List {
    kind: u32,
    length: u64,
    at: u64,
}

const TEXT: u32 = 8;
const LIST: u32 = 9;

/// Bytes of a value of a type, where all have the same size.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// The number that a single-precision one was written for: 1e-5 is not 9.999999747378752e-6.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

impl Value {
    /// The next value: its type, then its bytes.
    pub(crate) fn read(cursor: &mut Cursor<'_>, source: &Source) -> Result<Self, Error> {
        let kind = cursor.u32()?;
        match kind {
            TEXT => cursor.text(LONGEST_TEXT).map(Self::Text),
            LIST => {
                let (kind, length) = (cursor.u32()?, cursor.u64()?);
                let at = cursor.at();
                match width(kind) {
                    Some(width) => {
                        cursor.has_room(length, width)?;
                        cursor.skip(length * width)?;
                    }
                    None if kind == TEXT => {
                        cursor.has_room(length, 8)?;
                        for _ in 0..length {
                            cursor.skip_text()?;
                        }
                    }
                    None => {
                        return Err(
                            source.damaged(format!("a list of the metadata has entries of unknown type {kind}"))
                        );
                    }
                }
                Ok(Self::List(List { kind, length, at }))
            }
            _ => Self::scalar(cursor, source, kind),
        }
    }

    fn scalar(cursor: &mut Cursor<'_>, source: &Source, kind: u32) -> Result<Self, Error> {
        Ok(match kind {
            0 => Self::Unsigned(cursor.take::<1>()?[0].into()),
            1 => Self::Signed(i8::from_le_bytes(cursor.take()?).into()),
            2 => Self::Unsigned(u16::from_le_bytes(cursor.take()?).into()),
            3 => Self::Signed(i16::from_le_bytes(cursor.take()?).into()),
            4 => Self::Unsigned(cursor.u32()?.into()),
            5 => Self::Signed(i32::from_le_bytes(cursor.take()?).into()),
            6 => Self::Float(decimal(f32::from_le_bytes(cursor.take()?))),
            7 => match cursor.take::<1>()?[0] {
                0 => Self::Flag(false),
                1 => Self::Flag(true),
                other => {
                    return Err(source.damaged(format!("a truth value of the metadata is {other}, expected 0 or 1")));
                }
            },
            10 => Self::Unsigned(cursor.u64()?),
            11 => Self::Signed(i64::from_le_bytes(cursor.take()?)),
            12 => Self::Float(f64::from_le_bytes(cursor.take()?)),
            _ => return Err(source.damaged(format!("a value of the metadata has unknown type {kind}"))),
        })
    }

    /// What it is, for errors.
    fn what(&self) -> String {
        match self {
            Self::Unsigned(number) => number.to_string(),
            Self::Signed(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::Text(_) => "a text".to_owned(),
            Self::List(list) if list.kind == TEXT => "a list of texts".to_owned(),
            Self::List(_) => "a list of numbers".to_owned(),
        }
    }
}

/// Values by their keys, and the file that they are in.
#[derive(Debug)]
pub(crate) struct Metadata {
    source: Source,
    pairs: BTreeMap<String, Value>,
}

impl Metadata {
    pub(crate) fn new(source: Source, pairs: BTreeMap<String, Value>) -> Self {
        Self { source, pairs }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }

    /// The error that a value is none of what was expected.
    fn unexpected(&self, key: &str, value: &Value, expected: &str) -> Error {
        self.source
            .damaged(format!("`{key}` is {}, expected {expected}", value.what()))
    }

    /// A whole number that is not negative.
    pub(crate) fn unsigned(&self, key: &str) -> Result<Option<u64>, Error> {
        let expected = "a whole number";
        self.pairs
            .get(key)
            .map(|value| match value {
                Value::Unsigned(number) => Ok(*number),
                Value::Signed(number) => u64::try_from(*number).map_err(|_| self.unexpected(key, value, expected)),
                _ => Err(self.unexpected(key, value, expected)),
            })
            .transpose()
    }

    /// A whole number, which may stand there once for each block.
    pub(crate) fn uniform(&self, key: &str) -> Result<Option<u64>, Error> {
        if !matches!(self.pairs.get(key), Some(Value::List(_))) {
            return self.unsigned(key);
        }
        let numbers = self.integers(key)?.unwrap_or_default();
        match numbers.first() {
            Some(&first) if first >= 0 && numbers.iter().all(|&number| number == first) => Ok(Some(first as u64)),
            _ => Err(self
                .source
                .unsupported(format!("`{key}` differs from block to block, which is not supported"))),
        }
    }

    /// A finite number.
    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>, Error> {
        self.pairs
            .get(key)
            .map(|value| match value {
                Value::Float(number) if number.is_finite() => Ok(*number),
                Value::Unsigned(number) => Ok(*number as f64),
                Value::Signed(number) => Ok(*number as f64),
                _ => Err(self.unexpected(key, value, "a finite number")),
            })
            .transpose()
    }

    /// A truth value.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.pairs
            .get(key)
            .map(|value| match value {
                Value::Flag(flag) => Ok(*flag),
                _ => Err(self.unexpected(key, value, "true or false")),
            })
            .transpose()
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.pairs
            .get(key)
            .map(|value| match value {
                Value::Text(text) => Ok(text.as_str()),
                _ => Err(self.unexpected(key, value, "a text")),
            })
            .transpose()
    }

    /// Whether a value is a list.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        matches!(self.pairs.get(key), Some(Value::List(_)))
    }

    /// A list of texts.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Error> {
        self.list(
            key,
            "a list of texts",
            |kind| kind == TEXT,
            |cursor, _| cursor.text(LONGEST_TEXT),
        )
    }

    /// A list of whole numbers, or of truth values as 0 and 1.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<Vec<i64>>, Error> {
        let whole = |kind| matches!(kind, 0..=5 | 7 | 10 | 11);
        self.list(
            key,
            "a list of whole numbers",
            whole,
            |cursor, kind| match Value::scalar(cursor, &self.source, kind)? {
                Value::Unsigned(number) => i64::try_from(number).map_err(|_| {
                    self.source
                        .damaged(format!("`{key}` holds {number}, which is too large"))
                }),
                Value::Signed(number) => Ok(number),
                other => Ok(i64::from(matches!(other, Value::Flag(true)))),
            },
        )
    }

    /// A list of single-precision numbers.
    pub(crate) fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, Error> {
        self.list(
            key,
            "a list of single-precision numbers",
            |kind| kind == 6,
            |cursor, _| cursor.take().map(f32::from_le_bytes),
        )
    }

    fn list<T>(
        &self,
        key: &str,
        expected: &str,
        fits: impl Fn(u32) -> bool,
        read: impl Fn(&mut Cursor<'_>, u32) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let list = match self.pairs.get(key) {
            None => return Ok(None),
            Some(Value::List(list)) if fits(list.kind) => list,
            Some(other) => return Err(self.unexpected(key, other, expected)),
        };
        if list.length > LONGEST_LIST {
            let reason = format!("`{key}` has {} entries, more than {LONGEST_LIST}", list.length);
            return Err(self.source.damaged(reason));
        }
        let mut cursor = self.source.cursor(list.at);
        cursor.name(format!("`{key}`"));
        (0..list.length)
            .map(|_| read(&mut cursor, list.kind))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| self.source.damaged(format!("`{key}` is not in its metadata")))
    }
}
