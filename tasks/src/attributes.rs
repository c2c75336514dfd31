//! Names of what is labelled: attributes of prompts, semantic positions and the gender of a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a prompt is labelled with. The attributes that a task edits are [`Task::attributes`](crate::Task::attributes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Attribute {
    /// Indirect object: the name that is mentioned once, the right completion.
    #[serde(rename = "IO")]
    Io,
    /// Indirect object: the name that is mentioned twice.
    S,
    /// Indirect object: whether it is mentioned before (`ABB`) or after (`BAB`) the subject.
    Pos,
    /// Pronoun: the gender of the person that it stands for.
    Gender,
    /// Pronoun: the gender of the person who is only mentioned.
    OtherGender,
    /// Pronoun: the name of the person that it stands for. Labelled, since it explains latents, but never edited: it tells the
    /// gender.
    Name,
}

impl Attribute {
    /// The attributes of all tasks.
    pub const ALL: [Self; 6] = [
        Self::Io,
        Self::S,
        Self::Pos,
        Self::Gender,
        Self::OtherGender,
        Self::Name,
    ];

    /// The place of this attribute in [`Attribute::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        match self {
            Self::Io => "IO",
            Self::S => "S",
            Self::Pos => "Pos",
            Self::Gender => "Gender",
            Self::OtherGender => "OtherGender",
            Self::Name => "Name",
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

/// A semantic position of a prompt. Those of one task are [`TaskName::roles`](crate::TaskName::roles).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Indirect object: its only mention.
    #[serde(rename = "IO")]
    Io,
    /// Indirect object: the first mention of the subject.
    S1,
    /// Indirect object: the token after the first mention of the subject.
    #[serde(rename = "S1+1")]
    S1Plus1,
    /// Indirect object: the second mention of the subject.
    S2,
    /// Pronoun: the person who is only mentioned.
    Other,
    /// Pronoun: the person that it stands for.
    Name,
    /// Pronoun: the token after that person's name.
    #[serde(rename = "Name+1")]
    NamePlus1,
    /// All tasks: the last token, where the answer is predicted.
    #[serde(rename = "END")]
    End,
}

impl Role {
    /// The semantic positions of all tasks.
    pub const ALL: [Self; 8] = [
        Self::Io,
        Self::S1,
        Self::S1Plus1,
        Self::S2,
        Self::Other,
        Self::Name,
        Self::NamePlus1,
        Self::End,
    ];

    /// The place of this role in [`Role::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        match self {
            Self::Io => "IO",
            Self::S1 => "S1",
            Self::S1Plus1 => "S1+1",
            Self::S2 => "S2",
            Self::Other => "Other",
            Self::Name => "Name",
            Self::NamePlus1 => "Name+1",
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
        assert_eq!(
            message,
            "unknown role \"S3\": use one of IO, S1, S1+1, S2, Other, Name, Name+1, END"
        );
    }
}
