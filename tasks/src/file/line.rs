//! One line of a prompts file as it is written.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::sample::Sample;

/// A prompt and what is said of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// Its text; the tokenizer's beginning-of-text token goes before it where there is one.
    pub(super) prompt: Option<String>,
    /// Or its token ids, to which nothing is added.
    pub(super) ids: Option<Vec<u32>>,
    /// Value of each attribute.
    #[serde(default)]
    pub(super) labels: Table<Label>,
    /// Token of each role.
    #[serde(default)]
    pub(super) positions: Table<Place>,
    /// The token that completes the prompt.
    pub(super) right: Answer,
    /// The token that the right one is compared with.
    pub(super) wrong: Answer,
    /// By edited attribute, the prompt in which it has another value.
    #[serde(default)]
    pub(super) counterfactuals: Table<Line>,
    /// The sample.
    pub(super) split: Option<Sample>,
}

/// A value of an attribute: text, a whole number, or true or false.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label(pub(super) String);

/// Where a role stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Number of the token from 0; a beginning-of-text token that is added is not counted.
    Index(usize),
    /// The last token of a piece of the text, which occurs once or is counted from 1.
    Text { text: String, occurrence: Option<usize> },
}

/// A token: its text as it follows the prompt, or its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Text(String),
    Id(u32),
}

/// A JSON object, each of whose keys stands once.
#[derive(Debug, Clone)]
pub(super) struct Table<T>(pub(super) BTreeMap<String, T>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Table<T>, M::Error> {
                let mut table = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    let value = map.next_value()?;
                    if table.contains_key(&key) {
                        return Err(M::Error::custom(format!("duplicate key `{key}`")));
                    }
                    table.insert(key, value);
                }
                Ok(Table(table))
            }
        }

        deserializer.deserialize_map(Entries(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Bool(value) => Ok(Self(value.to_string())),
            Value::Number(number) if number.is_i64() || number.is_u64() => Ok(Self(number.to_string())),
            _ => Err(D::Error::custom("a label is text, a whole number, true or false")),
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// The form of a place in the text.
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Piece {
            text: String,
            occurrence: Option<usize>,
        }
        let wrong = "a position is the number of a token from 0, or {\"text\": ..., \"occurrence\": ...}";
        let value = Value::deserialize(deserializer)?;
        let index = value.as_u64().and_then(|index| usize::try_from(index).ok());
        match (index, value) {
            (Some(index), _) => Ok(Self::Index(index)),
            (None, value @ Value::Object(_)) => {
                let Piece { text, occurrence } = serde_json::from_value(value).map_err(|_| D::Error::custom(wrong))?;
                Ok(Self::Text { text, occurrence })
            }
            _ => Err(D::Error::custom(wrong)),
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = "an answer is one token: its text as it follows the prompt, such as \" are\", or its id";
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Number(number) => {
                let id = number.as_u64().and_then(|id| u32::try_from(id).ok());
                id.map(Self::Id).ok_or_else(|| D::Error::custom(wrong))
            }
            _ => Err(D::Error::custom(wrong)),
        }
    }
}
