//! Hypernymy: the kind of a thing, as "dogs, cats and other animals" names it.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use text::Tokenizer;

use super::{Row, tokens, words};

/// A thing as it stands in a prompt, the tokens of that, and the words for its kind.
struct Thing {
    text: String,
    len: usize,
    kinds: Vec<u32>,
}

pub(super) fn rows(tokenizer: &Tokenizer, rng: &mut ChaCha8Rng) -> Vec<Row> {
    let mut things = Vec::new();
    for line in include_str!("words/hypernyms.txt").lines() {
        let Some((kinds, nouns)) = line.split_once('|') else {
            continue;
        };
        let kinds = tokens(tokenizer, &words(kinds));
        for noun in words(nouns) {
            let text = format!(", {noun} and other");
            things.push(Thing {
                len: tokenizer.encode(&text).map_or(0, |ids| ids.len()),
                kinds: kinds.clone(),
                text,
            });
        }
    }
    let row = |of: &Thing| {
        let is_other = |other: &&Thing| {
            other.len == of.len && !other.kinds.is_empty() && !other.kinds.iter().any(|kind| of.kinds.contains(kind))
        };
        let others: Vec<&Thing> = things.iter().filter(is_other).collect();
        others.choose(rng).map(|other| Row {
            clean: of.text.clone(),
            corrupted: other.text.clone(),
            right: of.kinds.clone(),
            wrong: other.kinds.clone(),
        })
    };
    things.iter().filter_map(row).collect()
}
