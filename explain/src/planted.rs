//! Planted predicates: activations of tokens of the written world whose reason is known exactly. The first rung of the ladder from
//! functions with a known truth to latents without one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use kernels::random::{ChaCha8Rng, normal, rng};
use rand::RngExt;
use tasks::world::World;

use crate::Error;
use crate::black_box::{BlackBox, Function, Input, Kind, Output};
use crate::explanation::{Claim, Explanation, Status};
use crate::latents::{
    Conjunction, Example, Examples, Literal, Predicate, SLICE, Says, Search, Slice, Vocabulary, agreement, detection,
    order_by_experiment, simulation,
};
use crate::problem::Problem;

/// Tokens that are read at once.
const CONTEXT: usize = 64;
/// Documents that an explainer may look at; those of tests come behind them.
const SEEN: u64 = 60;
/// Documents of tests.
const TESTED: u64 = 60;
/// Seed of the documents of this family, none that a model was trained on.
const DOCUMENTS: u64 = 9;
/// Strength of an activation.
const STRENGTH: f32 = 5.0;

/// The written world's words, and windows of its text.
#[derive(Debug)]
pub(crate) struct PlantedText {
    pub(crate) vocabulary: Vocabulary,
    seen: Vec<Arc<[u32]>>,
    tested: Vec<Arc<[u32]>>,
}

static TEXT: LazyLock<PlantedText> = LazyLock::new(|| {
    let world = World::new();
    let pieces = world.pieces();
    let ids: HashMap<&str, u32> = pieces.iter().map(String::as_str).zip(0..).collect();
    let windows = |documents: std::ops::Range<u64>| {
        let document = |index| world.document(DOCUMENTS, index).pieces;
        let windows = documents.flat_map(|index| {
            let tokens: Vec<u32> = document(index)
                .iter()
                .filter_map(|piece| ids.get(piece.text.as_str()).copied())
                .collect();
            tokens.chunks(CONTEXT).map(Arc::from).collect::<Vec<_>>()
        });
        windows.collect()
    };
    let (seen, tested) = (windows(0..SEEN), windows(SEEN..SEEN + TESTED));
    PlantedText {
        vocabulary: Vocabulary::new(pieces),
        seen,
        tested,
    }
});

impl PlantedText {
    pub(crate) fn get() -> &'static Self {
        &TEXT
    }
}

/// A predicate that makes tokens active.
#[derive(Debug, Clone)]
struct Planted(Predicate);

impl Function for Planted {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn respond(&self, inputs: &[Input], rng: &mut ChaCha8Rng) -> Vec<Output> {
        let vocabulary = &PlantedText::get().vocabulary;
        let mut answer = |input: &Input| match input {
            Input::Tokens(ids) => {
                let noise = normal(rng, ids.len(), 0.2);
                let value = |at: usize| {
                    let strength = strength(&self.0, ids, at, vocabulary);
                    if strength > 0.0 {
                        (strength * (1.0 + noise[at])).max(0.05)
                    } else {
                        0.0
                    }
                };
                Output::Activations((0..ids.len()).map(value).collect())
            }
            Input::Number(_) | Input::Text(_) => Output::Error("not tokens".to_owned()),
        };
        inputs.iter().map(&mut answer).collect()
    }
}

/// What an explanation of a planted predicate is held against, on documents that no explainer saw.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenAnswers {
    truth: Predicate,
}

impl TokenAnswers {
    /// `detection`: balanced accuracy over slices; `agree`: Matthews' correlation over tokens; `simulation`: correlation with the
    /// activations; `exception`: share of the tokens told right at which only the exception keeps the predicate from holding.
    pub fn score(&self, explanation: &Explanation) -> BTreeMap<String, f64> {
        let text = PlantedText::get();
        let says = match &explanation.claim {
            Some(Claim::Tokens(predicate)) => Says::Predicate(predicate, &text.vocabulary),
            _ => Says::Nothing,
        };
        let truth = Says::Predicate(&self.truth, &text.vocabulary);
        let value = |ids: &Arc<[u32]>, at: usize| f32::from(self.truth.grade(ids, at, &text.vocabulary));
        let all: Vec<Example> = slices(&text.tested, value);
        let (active, random): (Vec<Example>, Vec<Example>) = all.iter().cloned().partition(Example::is_active);
        let examples = Examples {
            active,
            random,
            ..Examples::default()
        };
        let mut scores = BTreeMap::from([("simulation".to_owned(), simulation(&says, &examples))]);
        scores.extend(detection(&says, &examples).map(|found| ("detection".to_owned(), found.balanced_accuracy)));
        scores.extend(agreement(&says, &truth, &all).map(|mcc| ("agree".to_owned(), mcc)));
        let without = Predicate {
            any: self
                .truth
                .any
                .iter()
                .map(|conjunction| Conjunction {
                    literals: conjunction
                        .literals
                        .iter()
                        .filter(|(_, negated)| !negated)
                        .cloned()
                        .collect(),
                    grade: conjunction.grade,
                })
                .collect(),
        };
        let (mut right, mut n) = (0.0, 0.0);
        for example in &all {
            for at in &example.positions {
                let kept = without.grade(&example.ids, *at, &text.vocabulary) > 0;
                if kept && truth.grade(example, *at) == 0 {
                    n += 1.0;
                    right += f64::from(u8::from(says.grade(example, *at) == 0));
                }
            }
        }
        if n > 0.0 {
            scores.insert("exception".to_owned(), right / n);
        }
        scores
    }
}

/// Windows cut into slices, with a value for each token.
fn slices(windows: &[Arc<[u32]>], value: impl Fn(&Arc<[u32]>, usize) -> f32) -> Vec<Example> {
    let mut all = Vec::new();
    for (window, ids) in (0..).zip(windows) {
        for (index, first) in (0..).zip((0..ids.len()).step_by(SLICE)) {
            let positions: Vec<usize> = (first..(first + SLICE).min(ids.len())).collect();
            all.push(Example {
                slice: Slice { window, index },
                ids: ids.clone(),
                values: positions.iter().map(|at| value(ids, *at)).collect(),
                positions,
            });
        }
    }
    all
}

/// The predicates of the first `n` problems of a seed, in the token ids of another vocabulary; `None` where it lacks a word of the world.
pub fn predicates(n: usize, seed: u64, vocabulary: &Vocabulary) -> Option<Vec<Predicate>> {
    let ids: HashMap<&str, u32> = (0..vocabulary.len() as u32)
        .map(|id| (vocabulary.text(id), id))
        .collect();
    let of_world = &PlantedText::get().vocabulary;
    let renamed = |token: u32| ids.get(of_world.text(token)).copied();
    let drawn = (0..n).map(|index| problem(String::new(), seed, index).truth.claim);
    drawn
        .map(|claim| match claim {
            Some(Claim::Tokens(predicate)) => predicate.renamed(&renamed),
            _ => None,
        })
        .collect()
}

/// How strongly a planted predicate is active on a token of what is read, without noise.
pub fn strength(predicate: &Predicate, ids: &[u32], at: usize, vocabulary: &Vocabulary) -> f32 {
    STRENGTH * f32::from(predicate.grade(ids, at, vocabulary)) / 10.0
}

/// The problem with this number: in turn a set of tokens, either of two, tokens behind others, and a set with an exception.
pub(crate) fn problem(id: String, seed: u64, index: usize) -> Problem {
    let mut rng = rng(seed, &format!("find/text/{index}"));
    let (variant, predicate) = loop {
        let found = draw(index, &mut rng);
        let scores = TokenAnswers { truth: found.1.clone() }
            .score(&Explanation::claiming(String::new(), Claim::Tokens(found.1.clone())));
        let examples = slices(&PlantedText::get().seen, |ids, at| {
            f32::from(found.1.grade(ids, at, &PlantedText::get().vocabulary))
        });
        let active = examples.iter().filter(|example| example.is_active()).count();
        // It must hold in some slices of either part, and not in all; an exception must occur.
        let has_exception = !found.0.contains("exception") || scores.contains_key("exception");
        if active >= 12 && 2 * active <= examples.len() && scores.contains_key("agree") && has_exception {
            break found;
        }
    };
    let text = predicate.sentence(&PlantedText::get().vocabulary);
    let truth = Explanation::claiming(text, Claim::Tokens(predicate.clone()));
    Problem {
        answers: crate::problem::Answers::Tokens(TokenAnswers {
            truth: predicate.clone(),
        }),
        ..Problem::new(id, variant, Box::new(Planted(predicate)), truth)
    }
}

fn draw(index: usize, rng: &mut ChaCha8Rng) -> (&'static str, Predicate) {
    let windows = &PlantedText::get().seen;
    let token = |rng: &mut ChaCha8Rng| {
        let window = &windows[rng.random_range(0..windows.len())];
        window[rng.random_range(0..window.len())]
    };
    let set = |rng: &mut ChaCha8Rng, n: usize| {
        let mut tokens: Vec<u32> = (0..n).map(|_| token(rng)).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    };
    // A token with the one before it.
    let pair = |rng: &mut ChaCha8Rng, back: usize| {
        let window = &windows[rng.random_range(0..windows.len())];
        let at = rng.random_range(back.min(window.len() - 1)..window.len());
        (window[at], window[at.saturating_sub(back)])
    };
    let of = |literals: Vec<(Literal, bool)>, grade: u8| Conjunction { literals, grade };
    match index % 4 {
        0 => {
            let n = rng.random_range(1..=6);
            let literal = Literal::Token(set(rng, n));
            (
                "tokens",
                Predicate {
                    any: vec![of(vec![(literal, false)], 10)],
                },
            )
        }
        1 => {
            let (one, other) = (Literal::Token(set(rng, 2)), Literal::Token(set(rng, 2)));
            let any = vec![of(vec![(one, false)], 10), of(vec![(other, false)], 5)];
            ("or", Predicate { any })
        }
        2 => {
            let back = rng.random_range(1..=3);
            let (token, before) = pair(rng, back);
            let (first, second) = (
                Literal::Token(vec![token]),
                Literal::Previous {
                    back,
                    tokens: vec![before],
                },
            );
            (
                "behind another",
                Predicate {
                    any: vec![of(vec![(first, false), (second, false)], 10)],
                },
            )
        }
        _ => {
            let mut tokens = set(rng, 3);
            let (token, before) = pair(rng, 1);
            tokens.push(token);
            tokens.sort_unstable();
            tokens.dedup();
            let exception = Literal::Previous {
                back: 1,
                tokens: vec![before],
            };
            let literals = vec![(Literal::Token(tokens), false), (exception, true)];
            (
                "exception",
                Predicate {
                    any: vec![of(literals, 10)],
                },
            )
        }
    }
}

/// The offline explainer of tokens: it reads documents with their activations, and experiments.
///
/// # Errors
///
/// A black box that answers fewer inputs than there are windows to look at.
pub(crate) fn explain(of: &mut BlackBox<'_>, seed: u64) -> Result<Explanation, Error> {
    let text = PlantedText::get();
    let inputs: Vec<Input> = text.seen.iter().map(|ids| Input::Tokens(ids.to_vec())).collect();
    let outputs = of.call(&inputs)?;
    let values: Vec<Vec<f32>> = outputs
        .into_iter()
        .map(|output| match output {
            Output::Activations(values) => values,
            Output::Number(_) | Output::Text(_) | Output::Error(_) => Vec::new(),
        })
        .collect();
    let by_window: HashMap<*const u32, &Vec<f32>> = text.seen.iter().map(|ids| ids.as_ptr()).zip(&values).collect();
    let value = |ids: &Arc<[u32]>, at: usize| {
        by_window
            .get(&ids.as_ptr())
            .and_then(|values| values.get(at))
            .copied()
            .unwrap_or(0.0)
    };
    let (active, random): (Vec<Example>, Vec<Example>) =
        slices(&text.seen, value).into_iter().partition(Example::is_active);
    if active.is_empty() {
        return Ok(Explanation::without(Status::NotFound));
    }
    let share = active.len() as f64 / (active.len() + random.len()) as f64;
    let examples = Examples {
        active,
        random,
        share,
        ..Examples::default()
    };
    let search = Search::new(&examples, &text.vocabulary);
    let pool: Vec<u32> = (0..text.vocabulary.len() as u32).collect();
    let mut rng = rng(seed, &format!("find/text/experiments/{}", of.id()));
    let ordered = order_by_experiment(
        search.candidates(),
        &examples.active,
        &pool,
        &text.vocabulary,
        of,
        &mut rng,
    )?;
    let predicate = search.select(&ordered);
    Ok(Explanation::claiming(
        predicate.sentence(&text.vocabulary),
        Claim::Tokens(predicate),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    /// A vocabulary in another order gives the same activations of the same words.
    #[test]
    fn predicates_are_the_same_in_another_vocabulary() {
        let text = PlantedText::get();
        let n = text.vocabulary.len() as u32;
        let reversed = Vocabulary::new((0..n).rev().map(|id| text.vocabulary.text(id).to_owned()).collect());
        let same = predicates(8, 3, &text.vocabulary).unwrap();
        let other = predicates(8, 3, &reversed).unwrap();
        let mut active = 0;
        for (same, other) in same.iter().zip(&other) {
            for ids in &text.tested {
                let renamed: Vec<u32> = ids.iter().map(|id| n - 1 - id).collect();
                for at in 0..ids.len() {
                    let of = strength(same, ids, at, &text.vocabulary);
                    active += usize::from(of > 0.0);
                    assert_eq!(of, strength(other, &renamed, at, &reversed));
                }
            }
        }
        assert!(active > 100, "{active}");
        assert_eq!(predicates(8, 3, &Vocabulary::new(vec!["a".to_owned()])), None);
    }

    #[test]
    fn planted_predicates_are_found() {
        let mut agreed = Vec::new();
        for index in 0..12 {
            let problem = problem(format!("text-{index}"), 5, index);
            let crate::problem::Answers::Tokens(answers) = &problem.answers else {
                unreachable!()
            };
            let truth = answers.score(&problem.truth);
            assert!(truth["agree"] > 0.999 && truth["detection"] > 0.999, "{truth:?}");
            let nothing = answers.score(&Explanation::null());
            assert!(nothing["agree"] == 0.0 && nothing["detection"] == 0.5 && nothing["simulation"] == 0.0);
            let mut of = problem.black_box(400, 5);
            agreed.push(answers.score(&explain(&mut of, 5).unwrap())["agree"]);
        }
        let mean = agreed.iter().sum::<f64>() / agreed.len() as f64;
        assert!(mean > 0.85, "mean agreement {mean}: {agreed:?}");
    }
}
