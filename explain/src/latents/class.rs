//! Classes of tokens, by their text.

use serde::{Deserialize, Serialize};

/// A class of tokens, by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::VariantArray)]
pub enum Class {
    /// Digits only.
    #[strum(serialize = "a number")]
    Digit,
    /// Marks only.
    #[strum(serialize = "a mark")]
    Punctuation,
    /// Large letters only, at least two.
    #[strum(serialize = "in capitals")]
    Upper,
    /// A large letter and then none.
    #[strum(serialize = "capitalised")]
    Capitalised,
    /// Holds a new line.
    #[strum(serialize = "a new line")]
    Newline,
    /// Begins with a space.
    #[strum(serialize = "at the beginning of a word")]
    SpaceLed,
}

impl Class {
    /// Whether a token's text is of the class.
    pub fn holds(self, text: &str) -> bool {
        let word = text.trim();
        let every = |holds: fn(char) -> bool| !word.is_empty() && word.chars().all(holds);
        match self {
            Self::Digit => every(|c| c.is_ascii_digit()),
            Self::Punctuation => every(|c| c.is_ascii_punctuation()),
            Self::Upper => word.chars().count() > 1 && every(char::is_uppercase),
            Self::Capitalised => {
                let mut characters = word.chars();
                characters.next().is_some_and(char::is_uppercase) && !characters.any(char::is_uppercase)
            }
            Self::Newline => text.contains('\n'),
            Self::SpaceLed => text.starts_with(' '),
        }
    }
}
