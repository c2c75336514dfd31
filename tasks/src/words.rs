//! Which words of a list are one token where a text needs them.
//!
//! Whether a word is one token depends on what stands around it: some tokenizers put a space before whatever they are given,
//! and some join a word with the text behind it. So a word is looked at in its place: it is one token if the text comes to
//! `head + [token] + tail`, with a head and a tail that are the same for all words.

use std::collections::BTreeMap;

use lm::Tokenizer;

/// How many words of a list are one token of a tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordList {
    /// The list: `names`, `objects` or `places`.
    pub list: &'static str,
    /// The words that are one token wherever prompts have them.
    pub kept: usize,
    /// All words of the list.
    pub of: usize,
}

/// A word that is one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) token: u32,
}

/// The words of a list at one place of a text.
#[derive(Debug, Clone)]
pub(crate) struct InPlace {
    /// Position of the word's token.
    pub(crate) position: usize,
    /// The words that are one token there.
    pub(crate) words: Vec<Word>,
}

/// Looks at each of `words`, after a space, between `before` and `after`. None where not even two of them are one token.
pub(crate) fn in_place(tokenizer: &Tokenizer, words: &[&'static str], before: &str, after: &str) -> Option<InPlace> {
    // Words that differ from each other in one token stand together: by its position, and by all other tokens.
    let mut alike: BTreeMap<(usize, Vec<u32>), Vec<Word>> = BTreeMap::new();
    for text in words {
        // Words outside of a word-level vocabulary are errors here, and no tokens.
        let Ok(ids) = tokenizer.encode(&format!("{before} {text}{after}")) else {
            continue;
        };
        for (position, &token) in ids.iter().enumerate() {
            let mut others = ids.clone();
            others.remove(position);
            alike.entry((position, others)).or_default().push(Word { text, token });
        }
    }
    let most = alike.values().map(Vec::len).max().filter(|most| *most > 1)?;
    let ((position, _), mut words) = alike.into_iter().find(|(_, words)| words.len() == most)?;
    // Two words of one token cannot be told apart, as the words that are not known.
    let tokens: Vec<u32> = words.iter().map(|word| word.token).collect();
    let is_shared = |token| tokens.iter().filter(|other| **other == token).count() > 1;
    words.retain(|word| !is_shared(word.token) && Some(word.token) != tokenizer.unknown());
    Some(InPlace { position, words })
}
