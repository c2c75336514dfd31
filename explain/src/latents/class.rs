//! Classes of tokens, by their text.

use serde::{Deserialize, Serialize};

/// A class of tokens, by their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Digits only.
    Digit,
    /// Marks only.
    Punctuation,
    /// Large letters only, at least two.
    Upper,
    /// A large letter and then none.
    Capitalised,
    /// Holds a new line.
    Newline,
    /// Begins with a space.
    SpaceLed,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Digit,
        Self::Punctuation,
        Self::Upper,
        Self::Capitalised,
        Self::Newline,
        Self::SpaceLed,
    ];

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

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Digit => "a number",
            Self::Punctuation => "a mark",
            Self::Upper => "in capitals",
            Self::Capitalised => "capitalised",
            Self::Newline => "a new line",
            Self::SpaceLed => "at the beginning of a word",
        }
    }
}
