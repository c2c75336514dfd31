//! Concepts and ten words of each. The list is our own; FIND's is not licensed. Some words belong to more than one concept, as there.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Concepts with their words.
#[derive(Debug)]
pub struct Lexicon {
    concepts: Vec<(&'static str, Vec<&'static str>)>,
}

#[expect(clippy::expect_used, reason = "the list is compiled in, and a test reads all of it")]
static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let concept = |line: &'static str| {
        let (name, words) = line
            .split_once(": ")
            .expect("each line of lexicon.txt is a concept and its words");
        (name, words.split(", ").collect())
    };
    Lexicon {
        concepts: include_str!("lexicon.txt").lines().map(concept).collect(),
    }
});

impl Lexicon {
    /// The one there is.
    pub fn get() -> &'static Self {
        &LEXICON
    }

    /// Names and words of all concepts.
    pub fn concepts(&self) -> impl Iterator<Item = (&'static str, &[&'static str])> {
        self.concepts.iter().map(|(name, words)| (*name, words.as_slice()))
    }

    /// The words of a concept.
    pub fn words(&self, concept: &str) -> Option<&[&'static str]> {
        self.concepts()
            .find(|(name, _)| *name == concept)
            .map(|(_, words)| words)
    }

    /// Every word, each once, in alphabetical order.
    pub fn all(&self) -> Vec<&'static str> {
        let all: BTreeSet<&str> = self.concepts().flat_map(|(_, words)| words.iter().copied()).collect();
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_concept_has_ten_words_of_its_own() {
        let lexicon = Lexicon::get();
        assert_eq!(lexicon.concepts().count(), 60);
        for (name, words) in lexicon.concepts() {
            let distinct: BTreeSet<&&str> = words.iter().collect();
            assert_eq!(distinct.len(), 10, "{name}");
        }
        let names: BTreeSet<&str> = lexicon.concepts().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 60);
    }
}
