//! Names of what is labelled: attributes of an indirect-object prompt, semantic positions and the gender of a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// An attribute of an indirect-object prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Attribute {
    /// The name that is mentioned once, the right completion.
    #[serde(rename = "IO")]
    Io,
    /// The name that is mentioned twice.
    S,
    /// Whether the indirect object is mentioned before (`ABB`) or after (`BAB`) the subject.
    Pos,
}

/// The value of each attribute of one prompt, in the order of [`Attribute::ALL`].
///
/// `IO` and `S` are indices into the task's names, `Pos` is 0 for `ABB` and 1 for `BAB`.
pub type Labels = [usize; 3];

impl Attribute {
    /// All attributes, in the order of [`Labels`].
    pub const ALL: [Self; 3] = [Self::Io, Self::S, Self::Pos];

    /// The place of this attribute in [`Labels`].
    pub fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        match self {
            Self::Io => "IO",
            Self::S => "S",
            Self::Pos => "Pos",
        }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Attribute {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find_by_name(&Self::ALL, Self::name, text, "attribute")
    }
}

/// A semantic position of an indirect-object prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The only mention of the indirect object.
    #[serde(rename = "IO")]
    Io,
    /// The first mention of the subject.
    S1,
    /// The token after the first mention of the subject.
    #[serde(rename = "S1+1")]
    S1Plus1,
    /// The second mention of the subject.
    S2,
    /// The last token, where the name is predicted.
    #[serde(rename = "END")]
    End,
}

impl Role {
    /// All semantic positions.
    pub const ALL: [Self; 5] = [Self::Io, Self::S1, Self::S1Plus1, Self::S2, Self::End];

    /// The place of this role in [`Role::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        match self {
            Self::Io => "IO",
            Self::S1 => "S1",
            Self::S1Plus1 => "S1+1",
            Self::S2 => "S2",
            Self::End => "END",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        find_by_name(&Self::ALL, Self::name, text, "role")
    }
}

/// The gender of a first name in the project's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gender {
    /// A name of [`lists::MALE_NAMES`](crate::lists::MALE_NAMES).
    Male,
    /// A name of [`lists::FEMALE_NAMES`](crate::lists::FEMALE_NAMES).
    Female,
}

impl Gender {
    /// Both genders.
    pub const ALL: [Self; 2] = [Self::Male, Self::Female];

    /// The pronoun that stands for a person of this gender as a subject.
    pub fn pronoun(self) -> &'static str {
        match self {
            Self::Male => "he",
            Self::Female => "she",
        }
    }
}

impl fmt::Display for Gender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Male => "male",
            Self::Female => "female",
        })
    }
}

pub(crate) fn find_by_name<T: Copy>(
    all: &[T],
    name: fn(T) -> &'static str,
    text: &str,
    what: &'static str,
) -> Result<T, Error> {
    all.iter()
        .copied()
        .find(|&item| name(item) == text)
        .ok_or_else(|| Error::UnknownName {
            what,
            found: text.to_owned(),
            known: all.iter().map(|&item| name(item)).collect::<Vec<_>>().join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for attribute in Attribute::ALL {
            assert_eq!(attribute.to_string().parse::<Attribute>().unwrap(), attribute);
            assert_eq!(Attribute::ALL[attribute.index()], attribute);
        }
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
            assert_eq!(Role::ALL[role.index()], role);
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let message = "S3".parse::<Role>().unwrap_err().to_string();
        assert_eq!(message, "unknown role \"S3\": use one of IO, S1, S1+1, S2, END");
    }
}
