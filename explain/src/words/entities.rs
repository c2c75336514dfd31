//! Words of one concept, or of either of two.
//!
//! FIND serves these with a language model whose answer is the probability of "related". Here it is 0.97 for the ten words of the
//! concept and 0.03 for others, with a little noise that depends on the word alone.
//!
//! To avoid a circle, the explainer knows the first five words of each concept and the tests are made of the others.

use std::collections::BTreeSet;

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::lexicon::Lexicon;
use crate::Error;
use crate::black_box::{BlackBox, Function, Input, Kind, Output};
use crate::explanation::{Claim, Explanation, Status};

/// Share of functions of one concept in FIND.
const ONE: f64 = 0.7;
/// Words of a concept that an explainer knows; the others are for tests.
const KNOWN: usize = 5;

/// One concept or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Concepts(pub Vec<String>);

impl Concepts {
    /// Whether a word belongs to one of them.
    pub fn hold(&self, word: &str) -> bool {
        let words = self.0.iter().filter_map(|concept| Lexicon::get().words(concept));
        words.flatten().any(|known| *known == word)
    }
}

/// Which half of a concept's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// The half that explainers know.
    Explainer,
    /// The half that tests are made of.
    Tests,
}

impl Knowledge {
    /// The words of a concept that are of this half.
    pub fn of(self, concept: &str) -> &'static [&'static str] {
        let words = Lexicon::get().words(concept).unwrap_or_default();
        match self {
            Self::Explainer => &words[..words.len().min(KNOWN)],
            Self::Tests => &words[words.len().min(KNOWN)..],
        }
    }
}

/// A function of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entities(pub Concepts);

impl Entities {
    /// How much a word belongs to it, from 0 to 1 with four decimals.
    pub fn at(&self, word: &str) -> f64 {
        let middle = if self.0.hold(word) { 0.97 } else { 0.03 };
        let noise: f64 = rng(0, &format!("find/entities/word/{word}")).random_range(-0.02..0.02);
        ((middle + noise) * 1e4).round() / 1e4
    }
}

impl Function for Entities {
    fn kind(&self) -> Kind {
        Kind::Entities
    }

    fn respond(&self, inputs: &[Input], _rng: &mut ChaCha8Rng) -> Vec<Output> {
        let answer = |input: &Input| match input {
            Input::Text(word) => Output::Number(self.at(word.trim())),
            Input::Number(_) | Input::Tokens(_) => Output::Error("not a word".to_owned()),
        };
        inputs.iter().map(answer).collect()
    }
}

/// The function with this number.
pub fn sample_entities(seed: u64, index: usize) -> Entities {
    let mut rng = rng(seed, &format!("find/entities/{index}"));
    let names: Vec<&str> = Lexicon::get().concepts().map(|(name, _)| name).collect();
    let one = rng.random_range(0..names.len());
    let mut concepts = vec![names[one].to_owned()];
    if rng.random::<f64>() >= ONE {
        let other = rng.random_range(0..names.len() - 1);
        concepts.push(names[if other < one { other } else { other + 1 }].to_owned());
    }
    Entities(Concepts(concepts))
}

/// Ten words to begin with: two of the concept, or one of each of two, and the others of none; of the half that explainers know.
pub fn exemplars(of: &Entities, seed: u64, id: &str) -> Vec<String> {
    let mut rng = rng(seed, &format!("find/entities/exemplars/{id}"));
    let known = |concept: &String| Knowledge::Explainer.of(concept).to_vec();
    let mut words: Vec<&str> = Vec::new();
    let each = 2 / of.0.0.len().clamp(1, 2);
    for concept in &of.0.0 {
        let mut candidates = known(concept);
        for _ in 0..each.min(candidates.len()) {
            words.push(candidates.swap_remove(rng.random_range(0..candidates.len())));
        }
    }
    let others: Vec<&str> = Lexicon::get()
        .concepts()
        .flat_map(|(name, _)| Knowledge::Explainer.of(name))
        .copied()
        .collect();
    while words.len() < 10 {
        let word = others[rng.random_range(0..others.len())];
        if !of.0.hold(word) && !words.contains(&word) {
            words.insert(rng.random_range(0..=words.len()), word);
        }
    }
    words.into_iter().map(str::to_owned).collect()
}

/// The concepts whose known words the function answers to. With `given`, only those words are asked; without, every word that
/// explainers know, as far as the budget goes.
///
/// # Errors
///
/// A black box that answers fewer inputs than words were given.
pub fn explain_entities(of: &mut BlackBox<'_>, given: Option<&[String]>) -> Result<Explanation, Error> {
    let lexicon = Lexicon::get();
    let words: Vec<String> = match given {
        Some(given) => given.to_vec(),
        None => {
            let known: BTreeSet<&str> = lexicon
                .concepts()
                .flat_map(|(name, _)| Knowledge::Explainer.of(name))
                .copied()
                .collect();
            known.into_iter().take(of.remaining()).map(str::to_owned).collect()
        }
    };
    let inputs: Vec<Input> = words.iter().cloned().map(Input::Text).collect();
    let outputs = of.call(&inputs)?;
    let is_high = |output: &Output| matches!(output, Output::Number(value) if *value > 0.5);
    let high: Vec<bool> = outputs.iter().map(is_high).collect();
    let positives = high.iter().filter(|high| **high).count();
    if positives == 0 {
        return Ok(Explanation::without(Status::NotFound));
    }
    // Right answers less wrong ones, of one concept or of two; fewer concepts win where they say as much.
    let names: Vec<&str> = lexicon.concepts().map(|(name, _)| name).collect();
    let score = |concepts: &[&str]| {
        let holds = |word: &String| {
            concepts
                .iter()
                .any(|name| Knowledge::Explainer.of(name).contains(&word.as_str()))
        };
        let said = words.iter().zip(&high).filter(|(word, _)| holds(word));
        said.map(|(_, high)| if *high { 1 } else { -3_i32 }).sum::<i32>()
    };
    let mut best: (i32, Vec<&str>) = (i32::MIN, Vec::new());
    for (i, one) in names.iter().enumerate() {
        let mut consider = |concepts: Vec<&'static str>| {
            let found = score(&concepts);
            if found > best.0 || (found == best.0 && concepts.len() < best.1.len()) {
                best = (found, concepts);
            }
        };
        consider(vec![*one]);
        names[i + 1..].iter().for_each(|other| consider(vec![*one, *other]));
    }
    let concepts: Vec<String> = best.1.iter().map(|name| (*name).to_owned()).collect();
    let text = format!("words that have to do with {}", concepts.join(" or with "));
    Ok(Explanation::claiming(text, Claim::Concepts(Concepts(concepts))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concepts_are_found_by_asking_and_from_exemplars() {
        let (mut asked, mut given) = (0, 0);
        for index in 0..30 {
            let function = sample_entities(3, index);
            let claim = |explanation: Explanation| match explanation.claim {
                Some(Claim::Concepts(Concepts(mut concepts))) => {
                    concepts.sort();
                    concepts
                }
                other => panic!("{other:?}"),
            };
            let mut truth = function.0.0.clone();
            truth.sort();
            let mut of = BlackBox::new(&function, "f", 400, 0);
            asked += usize::from(claim(explain_entities(&mut of, None).unwrap()) == truth);
            let words = exemplars(&function, 3, "f");
            assert_eq!(words.len(), 10);
            let of_concept = words.iter().filter(|word| function.0.hold(word)).count();
            assert!((2..=4).contains(&of_concept), "{words:?}");
            let mut of = BlackBox::new(&function, "f", 10, 0);
            given += usize::from(claim(explain_entities(&mut of, Some(&words)).unwrap()) == truth);
        }
        assert_eq!(asked, 30);
        assert!(given >= 24, "{given} of 30 from exemplars");
    }

    #[test]
    fn explainers_and_tests_know_different_words() {
        for (name, words) in Lexicon::get().concepts() {
            let (one, other) = (Knowledge::Explainer.of(name), Knowledge::Tests.of(name));
            assert_eq!([one, other].concat(), words);
        }
    }
}
