//! Planted predicates: activations of tokens of the written world whose reason is known exactly. The first rung of the ladder from
//! functions with a known truth to latents without one.

use std::collections::HashMap;
use std::sync::Arc;

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;

use crate::Error;
use crate::black_box::{BlackBox, Input, Output};
use crate::explanation::{Claim, Explanation, Status};
use crate::latents::{Conjunction, Example, Examples, Literal, Predicate, Search, Vocabulary, order_by_experiment};
use crate::planted_text::{Planted, PlantedText, TokenAnswers, slices};
use crate::problem::{Answers, Problem};

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
        answers: Answers::Tokens(TokenAnswers {
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
    use crate::planted_text::strength;
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
            let Answers::Tokens(answers) = &problem.answers else {
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
