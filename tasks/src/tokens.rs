//! What a tokenizer makes of the word lists and of the templates.

use crate::error::Error;
use crate::template::{PREFIX, Segment, segments};

/// A word of a list that the tokenizer encodes as one token.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) token: u32,
}

/// A template in tokens.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Fixed text.
    Tokens(Vec<u32>),
    /// The name in slot A.
    First,
    /// The name in slot B.
    Second,
    /// The repeated name, in slot C.
    Subject,
    /// An object.
    Object,
    /// A place.
    Place,
}

/// The words that are one token after a space.
pub(crate) fn surviving(
    tokenizer: &lm::Tokenizer,
    list: &'static str,
    words: &[&'static str],
    needed: usize,
) -> Result<Vec<Word>, Error> {
    let words: Vec<Word> = words
        .iter()
        .filter_map(|text| tokenizer.token(&format!(" {text}")).map(|token| Word { text, token }))
        .collect();
    if words.len() < needed {
        return Err(Error::TooFewWords {
            list,
            found: words.len(),
            needed,
        });
    }
    Ok(words)
}

/// Encodes a template behind the prefix, slots left open.
pub(crate) fn parts(tokenizer: &lm::Tokenizer, template: &str) -> Result<Vec<Part>, Error> {
    let mut parts = vec![Part::Tokens(encode(tokenizer, PREFIX)?)];
    for segment in segments(template) {
        parts.push(match segment {
            Segment::Slot("a") => Part::First,
            Segment::Slot("b") => Part::Second,
            Segment::Slot("s") => Part::Subject,
            Segment::Slot("object") => Part::Object,
            Segment::Slot("place") => Part::Place,
            Segment::Slot(text) | Segment::Text(text) => Part::Tokens(encode(tokenizer, text)?),
        });
    }
    Ok(parts)
}

/// Encodes text whose words must all be known.
pub(crate) fn encode(tokenizer: &lm::Tokenizer, text: &str) -> Result<Vec<u32>, Error> {
    let failed = |source| Error::Encode {
        text: text.to_owned(),
        source,
    };
    let ids = tokenizer.encode(text).map_err(failed)?;
    let found = tokenizer.decode(&ids).map_err(failed)?;
    if found != text {
        return Err(Error::UnknownText {
            text: text.to_owned(),
            found,
        });
    }
    Ok(ids)
}
