//! The text of each token of a tokenizer.

use strum::VariantArray;
use text::Tokenizer;

use super::class::Class;
use crate::Error;

/// Texts by token id, and the classes that each is of.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    texts: Vec<String>,
    /// A bit for each [`Class`].
    classes: Vec<u8>,
}

impl Vocabulary {
    /// A vocabulary of these texts, by id.
    pub fn new(texts: Vec<String>) -> Self {
        let bits = |text: &String| {
            let holds = Class::VARIANTS
                .iter()
                .enumerate()
                .filter(|(_, class)| class.holds(text));
            holds.fold(0, |bits, (i, _)| bits | 1 << i)
        };
        let classes = texts.iter().map(bits).collect();
        Self { texts, classes }
    }

    /// That of a tokenizer. A token that is part of a character is shown as the tokenizer decodes it alone.
    ///
    /// # Errors
    ///
    /// A token that the tokenizer cannot decode.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let texts: Result<Vec<String>, text::Error> =
            (0..=tokenizer.largest_id()).map(|id| tokenizer.decode(&[id])).collect();
        Ok(Self::new(texts?))
    }

    /// The text of a token; empty for an id that is none.
    pub fn text(&self, id: u32) -> &str {
        self.texts.get(id as usize).map_or("", String::as_str)
    }

    /// Whether a token is of a class.
    pub fn is(&self, id: u32, class: Class) -> bool {
        self.classes
            .get(id as usize)
            .is_some_and(|bits| bits & (1 << class as u8) != 0)
    }

    /// Tokens.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Tokens as one text.
    pub fn join(&self, ids: &[u32]) -> String {
        ids.iter().map(|id| self.text(*id)).collect()
    }
}
