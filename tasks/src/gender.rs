//! The gender of a first name.

use serde::{Deserialize, Serialize};

/// The gender of a first name in the project's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
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
