//! The six tasks of "Have Faith in Faithfulness" (arXiv 2403.17806), for models whose tokenizers have their words.
//!
//! The word lists and sentence frames are those of the paper's data; prompts are drawn anew, and what a tokenizer cannot say (answers
//! that are not one token, pairs of unequal length) is left out.

mod capital_country;
mod gender_bias;
mod greater_than;
mod hypernymy;
mod ioi;
mod subject_verb;

use std::collections::BTreeSet;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use text::Tokenizer;

use crate::{Error, Pair};

/// One of the six tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Published {
    /// Of two people the one who is named once; corrupted: a third name in the place of the second mention.
    Ioi,
    /// A later year than the one that a thing began in; corrupted: it began in the century's first year.
    GreaterThan,
    /// "he" or "she" as the stereotype of a profession has it; corrupted: a man or a woman of the other stereotype.
    GenderBias,
    /// The country of a capital; corrupted: another capital.
    CapitalCountry,
    /// A verb of the subject's number; corrupted: the other number.
    SubjectVerb,
    /// The kind of a thing; corrupted: a thing of another kind.
    Hypernymy,
}

/// Which half of a task's rows: they have none in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// For scoring edges.
    #[default]
    Discovery,
    /// For checking circuits.
    Evaluation,
}

/// Rows that are drawn where the lists make more than can be counted.
const DRAWN: usize = 4000;

/// A clean and a corrupted prompt with what is right and wrong for the clean one, as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    clean: String,
    corrupted: String,
    right: Vec<u32>,
    wrong: Vec<u32>,
}

/// Up to `n` pairs of one half of a task's rows, in an order that `seed` decides; fewer where the tokenizer has no more.
///
/// # Errors
///
/// A tokenizer that has no pair of the task.
pub fn published_pairs(
    tokenizer: &Tokenizer,
    task: Published,
    half: Half,
    n: usize,
    seed: u64,
) -> Result<Vec<Pair>, Error> {
    let mut rng = kernels::random::rng(seed, &format!("published {task}"));
    let rows = match task {
        Published::Ioi => ioi::rows(tokenizer, &mut rng),
        Published::GreaterThan => greater_than::rows(tokenizer, &mut rng),
        Published::GenderBias => gender_bias::rows(tokenizer),
        Published::CapitalCountry => capital_country::rows(tokenizer, &mut rng)?,
        Published::SubjectVerb => subject_verb::rows(tokenizer),
        Published::Hypernymy => hypernymy::rows(tokenizer, &mut rng),
    };
    // Each clean prompt once, so that the halves share none.
    let mut seen = BTreeSet::new();
    let mut pairs = Vec::new();
    for row in rows {
        let [clean, corrupted] = [prompt(tokenizer, &row.clean)?, prompt(tokenizer, &row.corrupted)?];
        let is_usable = clean.len() == corrupted.len()
            && clean != corrupted
            && !row.right.is_empty()
            && !row.wrong.is_empty()
            && !row.right.iter().any(|token| row.wrong.contains(token));
        if is_usable && seen.insert(clean.clone()) {
            pairs.push(Pair {
                clean,
                corrupted,
                answer: row.right,
                wrong: row.wrong,
                positions: None,
            });
        }
    }
    pairs.shuffle(&mut rng);
    let parity = match half {
        Half::Discovery => 0,
        Half::Evaluation => 1,
    };
    let of_half = pairs.into_iter().enumerate().filter(|(place, _)| place % 2 == parity);
    let found: Vec<Pair> = of_half.map(|(_, pair)| pair).take(n).collect();
    match found.is_empty() {
        true => Err(Error::Setting(format!(
            "this model's tokenizer has no pair of {task}: its words are several tokens each"
        ))),
        false => Ok(found),
    }
}

/// A prompt in tokens, behind the token that texts begin with.
fn prompt(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, Error> {
    let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
    ids.extend(tokenizer.encode(text)?);
    Ok(ids)
}

/// The words of a list that stands in lines, separated by commas.
fn words(list: &'static str) -> Vec<&'static str> {
    let words = list.split([',', '\n']).map(str::trim);
    words.filter(|word| !word.is_empty()).collect()
}

/// Of words those that are one token behind a space, as tokens.
fn tokens(tokenizer: &Tokenizer, words: &[&str]) -> Vec<u32> {
    words
        .iter()
        .filter_map(|word| tokenizer.token(&format!(" {word}")))
        .collect()
}

/// One of a list that is not empty.
fn one_of<T: Copy>(list: &[T], rng: &mut ChaCha8Rng) -> T {
    use rand::RngExt;
    list[rng.random_range(0..list.len())]
}
