//! Names that tasks give: to their attributes, their semantic positions, and themselves.
//!
//! A name is a small copyable value over text that lives as long as the program. What exists is said by each task
//! ([`Schema`](crate::Schema)); this module only knows what a name may look like, and the names that code of this project
//! speaks of.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::{PoisonError, RwLock};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;

/// Most characters of a name: it stands in file names, column names and headings of tables.
const LONGEST: usize = 40;
/// Most different names in one process. Text of names is never freed, so foreign files must not make it grow without end.
const MOST: usize = 4096;

/// Every name that was read so far.
static READ: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());

/// The lasting text of a name.
fn interned(text: &str, what: &'static str) -> Result<&'static str, Error> {
    let refused = |reason: String| Error::Name {
        what,
        found: text.escape_debug().take(LONGEST).collect(),
        reason,
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-');
    if text.is_empty() || text.len() > LONGEST || !text.chars().all(is_allowed) {
        let reason = format!("use 1 to {LONGEST} letters, digits, `_`, `+` or `-`");
        return Err(refused(reason));
    }
    // A panic elsewhere leaves the set as it was before or after an insertion, so a poisoned lock is none.
    if let Some(known) = READ.read().unwrap_or_else(PoisonError::into_inner).get(text) {
        return Ok(known);
    }
    let mut names = READ.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(text) {
        return Ok(known);
    }
    if names.len() >= MOST {
        return Err(refused(format!("there are more than {MOST} different names already")));
    }
    let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
    names.insert(kept);
    Ok(kept)
}

/// The order of names: those of the built-in tasks as these tasks list them, then all others by their text.
fn compare(known: &[&str], left: &str, right: &str) -> Ordering {
    let rank = |name: &str| known.iter().position(|known| *known == name).unwrap_or(known.len());
    rank(left).cmp(&rank(right)).then_with(|| left.cmp(right))
}

/// Defines a type of names, with constants for those that code speaks of.
macro_rules! names {
    ($(#[$about:meta])* $type:ident is $what:literal { $($(#[$doc:meta])* $constant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type(&'static str);

        impl $type {
            $($(#[$doc])* pub const $constant: Self = Self($text);)*

            /// The names that have a constant.
            const KNOWN: &'static [&'static str] = &[$($text),*];

            /// The name as text.
            pub fn as_str(self) -> &'static str {
                self.0
            }
        }

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                compare(Self::KNOWN, self.0, other.0)
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.0)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match Self::KNOWN.iter().find(|known| **known == text) {
                    Some(known) => Ok(Self(known)),
                    None => interned(text, $what).map(Self),
                }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

names! {
    /// What a prompt is labelled with. The attributes of a task are said by its [`Schema`](crate::Schema).
    Attribute is "attribute" {
        /// Indirect object: the name that is mentioned once, the right completion.
        IO = "IO",
        /// Indirect object: the name that is mentioned twice.
        S = "S",
        /// Indirect object: whether it is mentioned before (`ABB`) or after (`BAB`) the subject.
        POS = "Pos",
        /// Pronoun: the gender of the person that it stands for.
        GENDER = "Gender",
        /// Pronoun: the gender of the person who is only mentioned.
        OTHER_GENDER = "OtherGender",
        /// Pronoun: the name of the person that it stands for. Labelled, since it explains latents, but never edited: it tells
        /// the gender.
        NAME = "Name",
    }
}

names! {
    /// A semantic position of a prompt. The roles of a task are said by its [`Schema`](crate::Schema).
    Role is "role" {
        /// Indirect object: its only mention.
        IO = "IO",
        /// Indirect object: the first mention of the subject.
        S1 = "S1",
        /// Indirect object: the token after the first mention of the subject.
        S1_PLUS_1 = "S1+1",
        /// Indirect object: the second mention of the subject.
        S2 = "S2",
        /// Pronoun: the person who is only mentioned.
        OTHER = "Other",
        /// Pronoun: the person that it stands for.
        NAME = "Name",
        /// Pronoun: the token after that person's name.
        NAME_PLUS_1 = "Name+1",
        /// All tasks: the last token, where the answer is predicted.
        END = "END",
    }
}

names! {
    /// The name of a task, in reports.
    TaskName is "task" {
        /// The indirect-object task, [`IoiTask`](crate::IoiTask).
        IOI = "ioi",
        /// The gendered-pronoun task, [`PronounTask`](crate::PronounTask).
        PRONOUN = "pronoun",
    }
}

impl Attribute {
    /// The attribute of a built-in task whose name this is but for the case of its letters.
    pub fn built_in_ignoring_case(text: &str) -> Option<Self> {
        let known = Self::KNOWN.iter().find(|known| known.eq_ignore_ascii_case(text));
        known.map(|known| Self(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_whoever_gave_them() {
        for text in ["IO", "Number", "a-b_c+1"] {
            let name: Attribute = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name), (text, text.parse().unwrap()));
            let json = serde_json::to_string(&name).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Attribute>(&json).unwrap(), name);
        }
        assert_eq!("IO".parse::<Attribute>().unwrap(), Attribute::IO);
        // The text of a name is kept once.
        let [one, two] = ["Kept", "Kept"].map(|text| text.parse::<Role>().unwrap().as_str());
        assert!(std::ptr::eq(one, two));
    }

    #[test]
    fn what_is_no_name_is_refused_in_one_line() {
        for text in ["", "a b", "a/b", "a\nb", "ä", "..", &"a".repeat(41)] {
            let message = text.parse::<Role>().unwrap_err().to_string();
            assert!(message.contains("role") && !message.contains('\n'), "{message}");
        }
        assert!("a".repeat(40).parse::<Role>().is_ok());
    }

    #[test]
    fn built_in_names_keep_the_order_of_their_tasks_and_come_first() {
        let mut names: Vec<Attribute> = ["Zebra", "Gender", "Abc", "Pos", "S", "IO"]
            .map(|text| text.parse().unwrap())
            .into();
        names.sort();
        let names: Vec<&str> = names.into_iter().map(Attribute::as_str).collect();
        assert_eq!(names, ["IO", "S", "Pos", "Gender", "Abc", "Zebra"]);
    }
}
