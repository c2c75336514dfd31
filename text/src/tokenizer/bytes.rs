//! Bytes that have no token in a byte-level vocabulary: the library leaves them out of a text without a word.

use serde_json::Value;
use tokenizers::models::ModelWrapper;

/// The bytes that have no token.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    bytes: Vec<u8>,
}

impl Missing {
    /// Those of a byte-level BPE without a token for unknown characters; none of any other kind of tokenizer.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let ModelWrapper::BPE(bpe) = tokenizer.get_model() else {
            return Self::default();
        };
        let takes_unknown = bpe.byte_fallback
            || bpe
                .unk_token
                .as_deref()
                .is_some_and(|unknown| tokenizer.token_to_id(unknown).is_some());
        if takes_unknown || !is_byte_level(tokenizer) {
            return Self::default();
        }
        let lacks = |&byte: &u8| tokenizer.token_to_id(&symbol(byte).to_string()).is_none();
        Self {
            bytes: (0..=u8::MAX).filter(lacks).collect(),
        }
    }

    /// The bytes, ascending.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of characters of `text` with a byte that has no token.
    pub(super) fn characters_in(&self, text: &str) -> usize {
        // Most vocabularies lack only bytes that no text has.
        if !text.bytes().any(|byte| self.holds(byte)) {
            return 0;
        }
        let mut bytes = [0; 4];
        let lost = |c: &char| c.encode_utf8(&mut bytes).bytes().any(|byte| self.holds(byte));
        text.chars().filter(lost).count()
    }

    fn holds(&self, byte: u8) -> bool {
        self.bytes.binary_search(&byte).is_ok()
    }
}

/// Whether texts are spelled in bytes before the model sees them.
fn is_byte_level(tokenizer: &tokenizers::Tokenizer) -> bool {
    let steps = [
        serde_json::to_value(tokenizer.get_pre_tokenizer()),
        serde_json::to_value(tokenizer.get_normalizer()),
    ];
    steps.iter().flatten().any(names_byte_level)
}

fn names_byte_level(step: &Value) -> bool {
    let inner = ["pretokenizers", "normalizers"]
        .into_iter()
        .filter_map(|key| step[key].as_array());
    step["type"] == "ByteLevel" || inner.flatten().any(names_byte_level)
}

/// The character that GPT-2's byte-level spelling writes for a byte: itself where it is printed, else the next from U+0100 on.
fn symbol(byte: u8) -> char {
    let is_printed = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match is_printed(byte) {
        true => char::from(byte),
        false => {
            let before = (0..byte).filter(|&byte| !is_printed(byte)).count();
            char::from_u32(256 + before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    use super::*;

    #[test]
    fn symbols_are_those_of_the_library() {
        let ours: BTreeSet<char> = (0..=u8::MAX).map(symbol).collect();
        assert_eq!(ours, ByteLevel::alphabet().into_iter().collect());
        assert_eq!(symbol(b' '), 'Ġ');
        assert_eq!(symbol(b'\n'), 'Ċ');
        assert_eq!((symbol(0), symbol(127), symbol(173)), ('Ā', 'ġ', 'Ń'));
    }

    #[test]
    fn a_character_counts_once_however_many_of_its_bytes_are_missing() {
        let missing = Missing {
            bytes: vec![4, 0x82, 0xAC, 0xC3],
        };
        assert_eq!(missing.characters_in("ab\u{4}c\u{4}"), 2);
        assert_eq!(missing.characters_in("é, €, 🙁"), 2); // C3 A9, E2 82 AC, F0 9F 99 81
        assert_eq!(missing.characters_in("abc"), 0);
    }
}
