//! The judge that executes what an explanation claims.
//!
//! A unit test is decided by the claim: the choice whose output the claim gives for its input; of several, or of none, the credit
//! is shared, so that a claim that says nothing comes to a third. Where no output is met, the choice whose output is nearest by
//! normalised edit distance is taken. An explanation without a claim cannot be judged this way; it comes to chance, and is counted.

use kernels::random::rng;
use strsim::normalized_levenshtein;

use crate::explanation::Claim;
use crate::problem::{Choice, UnitTest};

/// What a judge that knows nothing comes to.
pub const CHANCE: f64 = 1.0 / 3.0;

/// The share of the credit that the right choice gets, from 0 to 1.
pub fn decide(claim: Option<&Claim>, test: &UnitTest) -> f64 {
    let Some(claim) = claim else { return CHANCE };
    let exact = test.choices.each_ref().map(|choice| match_of(claim, choice));
    let nearest = match exact.iter().any(|value| *value >= 1.0) {
        true => exact.map(|value| f64::from(u8::from(value >= 1.0))),
        false => exact,
    };
    let best = nearest.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let tied = nearest.iter().filter(|value| **value == best).count();
    match nearest.get(test.correct) {
        Some(value) if *value == best => 1.0 / tied as f64,
        _ => 0.0,
    }
}

/// How well a choice fits the claim, 0 to 1; 1 where it fits exactly.
fn match_of(claim: &Claim, choice: &Choice) -> f64 {
    match (output(claim, &choice.input), &choice.output) {
        (Some(found), Some(wanted)) if found == *wanted => 1.0,
        // Never as much as an exact match.
        (Some(found), Some(wanted)) => 0.99 * normalized_levenshtein(&found, wanted),
        (None, None) => match claim {
            Claim::Concepts(concepts) => f64::from(u8::from(concepts.hold(&choice.input))),
            _ => 0.0,
        },
        _ => 0.0,
    }
}

/// What a claim gives for a text; none for claims that are not of texts.
pub fn output(claim: &Claim, input: &str) -> Option<String> {
    match claim {
        // The programs of explanations draw nothing that matters: those of random atoms are never scored.
        Claim::Program(program) => Some(program.apply(input, &mut rng(0, "judge"))),
        Claim::Relation(relation) => Some(relation.at(input.trim()).to_owned()),
        Claim::Expression(_) | Claim::Concepts(_) | Claim::Tokens(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Concepts;

    fn test(choices: [(&str, Option<&str>); 3], correct: usize) -> UnitTest {
        let choice = |(input, output): (&str, Option<&str>)| Choice {
            input: input.to_owned(),
            output: output.map(str::to_owned),
        };
        UnitTest {
            choices: choices.map(choice),
            correct,
        }
    }

    #[test]
    fn exact_outputs_win_then_the_nearest_and_ties_are_shared() {
        let reverse = Claim::Program("reverse".parse().unwrap());
        let of = |second: &str| test([("abc", Some("abc")), ("xyz", Some("zyx")), ("pq", Some(second))], 1);
        assert_eq!(decide(Some(&reverse), &of("pq")), 1.0);
        assert_eq!(decide(Some(&reverse), &of("qp")), 0.5);
        let near = test(
            [("abcdef", Some("fedcbaX")), ("xyz", Some("aaa")), ("pq", Some("99999"))],
            0,
        );
        assert_eq!(decide(Some(&reverse), &near), 1.0);
        assert_eq!(decide(None, &near), CHANCE);
    }

    #[test]
    fn words_are_chosen_by_their_concept() {
        let concepts = Claim::Concepts(Concepts(vec!["chess".to_owned()]));
        let of = |first: &'static str| test([(first, None), ("lava", None), ("pawn", None)], 2);
        assert_eq!(decide(Some(&concepts), &of("yeast")), 1.0);
        assert_eq!(decide(Some(&concepts), &of("rook")), 0.5);
        let nothing = Claim::Concepts(Concepts(Vec::new()));
        assert!((decide(Some(&nothing), &of("yeast")) - CHANCE).abs() < 1e-12);
    }
}
