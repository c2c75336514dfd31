//! A library's config file, read so that no key is passed over: each is taken, known to change nothing, or refused by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::{refused, shown};
use crate::Error;

/// The keys of a JSON object that have not been taken yet. `null` counts as absent, as in the libraries.
#[derive(Debug)]
pub(super) struct Keys {
    path: PathBuf,
    /// The object's place in the file: empty, or `trainer.`.
    within: &'static str,
    values: BTreeMap<String, Value>,
}

impl Keys {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let Object(values) = artifacts::read_json(path)?;
        Ok(Self {
            path: path.to_owned(),
            within: "",
            values,
        })
    }

    /// The object under `key`; `within` is `key` and a dot.
    pub(super) fn object(&mut self, key: &str, within: &'static str) -> Result<Option<Self>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Object(values)) => Ok(Some(Self {
                path: self.path.clone(),
                within,
                values: values.into_iter().collect(),
            })),
            Some(other) => Err(self.refuse(key, other, "an object")),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.refuse(key, other, "a string")),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(self.refuse(key, other, "true or false")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn whole(&mut self, key: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(self.refuse(key, value, "a whole number")),
        }
    }

    /// A number of dimensions or latents: 1 or more.
    pub(super) fn width(&mut self, key: &str) -> Result<Option<usize>, Error> {
        match self.whole(key)? {
            Some(0) => Err(self.refuse(key, 0, "1 or more")),
            other => Ok(other),
        }
    }

    /// Numbers of latents, as those of groups.
    pub(super) fn widths(&mut self, key: &str) -> Result<Option<Vec<usize>>, Error> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let numbers = value.as_array().map(|values| {
            let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
            values.iter().map(number).collect::<Option<Vec<_>>>()
        });
        match numbers.flatten() {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.refuse(key, value, "a list of whole numbers")),
        }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.values.remove(key).filter(|value| !value.is_null())
    }

    /// The first of two keys that is there; they are names of one setting, so they may not contradict each other.
    pub(super) fn either(&mut self, [new, old]: [&'static str; 2]) -> Result<Option<(&'static str, Value)>, Error> {
        match (self.take(new), self.take(old)) {
            (Some(a), Some(b)) if a != b => {
                let reason = format!(
                    "`{new}` is {} but `{old}` is {}",
                    shown(&a.to_string()),
                    shown(&b.to_string())
                );
                Err(refused(&self.path, reason))
            }
            (Some(value), _) => Ok(Some((new, value))),
            (None, Some(value)) => Ok(Some((old, value))),
            (None, None) => Ok(None),
        }
    }

    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, Error> {
        value.ok_or_else(|| refused(&self.path, format!("`{}{key}` is missing", self.within)))
    }

    /// The refusal of a value.
    pub(super) fn refuse(&self, key: &str, found: impl fmt::Display, expected: &str) -> Error {
        let found = shown(&found.to_string());
        refused(
            &self.path,
            format!("`{}{key}` is {found}, expected {expected}", self.within),
        )
    }

    /// Refuses what is left, except for the keys in `harmless`, which do not change what an autoencoder computes.
    pub(super) fn finish(self, harmless: &[&str]) -> Result<(), Error> {
        let unknown = self.values.keys().find(|key| !harmless.contains(&key.as_str()));
        match unknown {
            None => Ok(()),
            Some(key) => Err(refused(
                &self.path,
                format!(
                    "`{}{}` is a key that is not known here; what it changes in the autoencoder cannot be told",
                    self.within,
                    shown(key)
                ),
            )),
        }
    }
}

/// A JSON object in which no key stands twice.
struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut values = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{}` stands twice", shown(&key))));
            }
            values.insert(key, value);
        }
        Ok(Object(values))
    }
}
