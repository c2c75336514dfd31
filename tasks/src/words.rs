//! Which words of a list are one token where a text needs them.
//!
//! Whether a word is one token depends on what stands around it: some tokenizers put a space before whatever they are given,
//! and some join a word with the text behind it. So a word is looked at in its place: it is one token if the text comes to
//! `head + [token] + tail`, with a head and a tail that are the same for all words.

use std::collections::BTreeMap;

use text::Tokenizer;

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The usual names of the indirect object that are one token of SmolLM2, and those that are not, as Python's `tokenizers` found.
    const WHOLE: &str = "Michael Christopher Jessica Matthew Ashley Jennifer Joshua Amanda Daniel David James Robert John \
         Joseph Andrew Ryan Jason Justin Sarah William Jonathan Stephanie Brian Nicole Nicholas Anthony \
         Heather Eric Elizabeth Adam Melissa Kevin Steven Thomas Timothy Christina Rachel Laura Lauren \
         Richard Jeffrey Amy Crystal Michelle Jeremy Benjamin Mark Emily Aaron Charles Rebecca Jacob Stephen \
         Patrick Sean Erin Jamie Kelly Samantha Nathan Sara Paul Angela Tyler Scott Katherine Andrea Gregory \
         Mary Lisa Kenneth Bryan Jose Alexander Jesse Katie Shannon Christine Allison Bradley Samuel";
    const SPLIT: &str = "Brandon Megan Kyle Amber Brittany Danielle Kimberly Tiffany Dustin Erica Travis Lindsey Kristen \
         Lindsay Vanessa Courtney Alicia Cody";

    #[test]
    fn smollm2_keeps_81_of_the_99_usual_names() {
        let Some(path) = std::env::var_os("SAELAB_SMOLLM2_GGUF") else {
            return; // `make smollm2` fetches the file
        };
        let tokenizer = Tokenizer::open(Path::new(&path)).unwrap();
        let names: Vec<&str> = SPLIT.split(' ').chain(WHOLE.split(' ')).collect();
        assert_eq!(names.len(), 99);
        let expected: BTreeSet<&str> = WHOLE.split(' ').collect();
        for (before, after) in [
            (
                "Then,",
                " and John were working at the school. John decided to give a book to",
            ),
            (
                "Then, Mary and John were working at the school. John decided to give a book to",
                "",
            ),
        ] {
            let found = in_place(&tokenizer, &names, before, after).unwrap();
            let texts: BTreeSet<&str> = found.words.iter().map(|word| word.text).collect();
            assert_eq!(texts, expected);
        }
    }

    #[test]
    fn a_list_of_which_no_two_words_are_whole_has_no_place() {
        let tokenizer = Tokenizer::word_level(&[" a", " b", " c"].map(str::to_owned)).unwrap();
        let found = in_place(&tokenizer, &["b", "c", "d"], " a", " a").unwrap();
        assert_eq!((found.position, found.words.len()), (1, 2));
        assert!(in_place(&tokenizer, &["b", "d"], " a", "").is_none());
        assert!(in_place(&tokenizer, &["b", "c"], " x", "").is_none());
    }
}
