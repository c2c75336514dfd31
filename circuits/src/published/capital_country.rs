//! The country of a capital.

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use text::Tokenizer;

use super::Row;
use crate::Error;

/// A capital as it stands in a prompt, how many tokens that has, and the first token of its country.
struct Capital {
    text: String,
    tokens: usize,
    country: u32,
}

pub(super) fn rows(tokenizer: &Tokenizer, rng: &mut ChaCha8Rng) -> Result<Vec<Row>, Error> {
    let mut capitals = Vec::new();
    for line in include_str!("words/capitals.txt").lines() {
        if let Some((country, capital)) = line.split_once('=') {
            let text = format!(" {capital}, the capital of");
            capitals.push(Capital {
                tokens: tokenizer.encode(&text)?.len(),
                country: tokenizer.encode(&format!(" {country}"))?.first().copied().unwrap_or(0),
                text,
            });
        }
    }
    let row = |of: &Capital| {
        let others: Vec<&Capital> = capitals
            .iter()
            .filter(|other| other.tokens == of.tokens && other.country != of.country)
            .collect();
        others.choose(rng).map(|other| Row {
            clean: of.text.clone(),
            corrupted: other.text.clone(),
            right: vec![of.country],
            wrong: vec![other.country],
        })
    };
    Ok(capitals.iter().filter_map(row).collect())
}
