//! The token that begins a text, where a tokenizer has one.

use lm::Tokenizer;

/// The beginning-of-text token that goes before every prompt; none where the tokenizer has none.
pub(crate) fn bos(tokenizer: &Tokenizer) -> Option<u32> {
    Some(tokenizer.bos())
}
