//! The offline explainer of latents: a search for a predicate of tokens in their contexts.
//!
//! Deterministic, in steps: literals that tell active tokens from others (`literals`); a beam over conjunctions of up to three of them
//! or of their negations; experiments on the best ones (`experiment`), where the latent can be asked; the one of highest F1 on
//! examples set aside, less 0.01 a literal and 0.001 a token that it names; and up to two more conjunctions, each where it raises that F1 by at least 0.02.

use super::example::{Example, Examples};
use super::literals::candidates;
use super::points::{Bits, Points};
use super::predicate::{Conjunction, Literal, MOST, Predicate};
use super::vocabulary::Vocabulary;

/// Conjunctions that are carried from one length to the next.
const BEAM: usize = 12;
/// Conjunctions that are handed on to experiments.
const HANDED_ON: usize = 10;
/// What a literal costs, in F1.
const LITERAL: f64 = 0.01;
/// What each token that is named costs besides: a set of all that came up beside the right token is no better than that token.
const TOKEN: f64 = 0.001;
/// By how much a further conjunction must raise F1.
const RISE: f64 = 0.02;

/// Literals of a conjunction, by their number, and whether each is negated.
type Parts = Vec<(usize, bool)>;

/// A conjunction with its score on examples set aside.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The conjunction; its grade is not decided yet.
    pub conjunction: Conjunction,
    /// F1 on what was set aside, less what its literals cost.
    pub score: f64,
}

/// Examples to learn from, and examples set aside. All are of the half of the documents that explanations may see.
#[derive(Debug)]
pub struct Search<'a> {
    learnt: Points<'a>,
    held: Points<'a>,
    literals: Vec<(Literal, Bits)>,
    vocabulary: &'a Vocabulary,
}

impl<'a> Search<'a> {
    /// Every third example is set aside, and half of the spare ones.
    pub fn new(examples: &'a Examples, vocabulary: &'a Vocabulary) -> Self {
        let numbered = || examples.active.iter().chain(&examples.spare).enumerate();
        let part = |held: bool| -> Vec<&Example> {
            numbered()
                .filter(|(i, _)| (i % 3 == 2) == held)
                .map(|(_, example)| example)
                .collect()
        };
        let learnt = Points::new(&part(false), examples, |i| i % 3 != 2);
        let held = Points::new(&part(true), examples, |i| i % 3 == 2);
        let literals = candidates(&learnt, vocabulary);
        Self {
            learnt,
            held,
            literals,
            vocabulary,
        }
    }

    /// The best conjunctions, best first.
    pub fn candidates(&self) -> Vec<Candidate> {
        let nothing = vec![0; self.learnt.all.len().div_ceil(64)];
        let held = vec![0; self.held.all.len().div_ceil(64)];
        self.beam(&nothing, &held)
    }

    /// The best conjunctions beside what is covered already.
    fn beam(&self, covered: &Bits, held_covered: &Bits) -> Vec<Candidate> {
        let all = vec![u64::MAX; covered.len()];
        let mut beam: Vec<(Parts, Bits)> = vec![(Parts::new(), all)];
        let mut found: Vec<Candidate> = Vec::new();
        for length in 1..=MOST {
            let mut grown: Vec<(f64, Parts, Bits)> = Vec::new();
            for (parts, bits) in &beam {
                // In increasing order, so that no conjunction is met twice.
                let first = parts.last().map_or(0, |(last, _)| last + 1);
                for (i, (_, of_literal)) in self.literals.iter().enumerate().skip(first) {
                    for negated in [false, true] {
                        if negated && length == 1 {
                            continue;
                        }
                        let joined: Bits = bits
                            .iter()
                            .zip(of_literal)
                            .map(|(bits, of)| bits & if negated { !of } else { *of })
                            .collect();
                        let with: Bits = joined.iter().zip(covered).map(|(a, b)| a | b).collect();
                        let parts: Parts = parts.iter().copied().chain([(i, negated)]).collect();
                        let tokens: usize = parts.iter().map(|(i, _)| self.literals[*i].0.tokens()).sum();
                        let score = self.learnt.f1(&with) - LITERAL * length as f64 - TOKEN * tokens as f64;
                        grown.push((score, parts, joined));
                    }
                }
            }
            grown.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
            grown.truncate(BEAM);
            found.extend(grown.iter().map(|(_, parts, _)| self.candidate(parts, held_covered)));
            beam = grown.into_iter().map(|(_, parts, bits)| (parts, bits)).collect();
        }
        let simpler = |a: &Conjunction, b: &Conjunction| a.tokens().cmp(&b.tokens()).then_with(|| a.cmp(b));
        found.sort_by(|a, b| {
            let order = b.score.total_cmp(&a.score);
            order.then_with(|| simpler(&a.conjunction, &b.conjunction))
        });
        found.truncate(HANDED_ON);
        found
    }

    fn candidate(&self, parts: &[(usize, bool)], held_covered: &Bits) -> Candidate {
        let literals = parts
            .iter()
            .map(|(i, negated)| (self.literals[*i].0.clone(), *negated))
            .collect();
        let conjunction = Conjunction { literals, grade: 1 };
        let bits = self.held.of_conjunction(&conjunction, self.vocabulary);
        let with: Bits = bits.iter().zip(held_covered).map(|(a, b)| a | b).collect();
        let cost = LITERAL * parts.len() as f64 + TOKEN * conjunction.tokens() as f64;
        let score = self.held.f1(&with) - cost;
        Candidate { conjunction, score }
    }

    /// The predicate that begins with the first of `candidates`, which are in order of preference; empty without any.
    pub fn select(&self, candidates: &[Candidate]) -> Predicate {
        let Some(first) = candidates.first() else {
            return Predicate::default();
        };
        let mut any = vec![first.conjunction.clone()];
        let mut covered = self.learnt.of_conjunction(&first.conjunction, self.vocabulary);
        let mut held = self.held.of_conjunction(&first.conjunction, self.vocabulary);
        let mut best = self.held.f1(&held);
        while any.len() < MOST {
            let Some(next) = self.beam(&covered, &held).into_iter().next() else {
                break;
            };
            let more = self.held.of_conjunction(&next.conjunction, self.vocabulary);
            let with: Bits = more.iter().zip(&held).map(|(a, b)| a | b).collect();
            let f1 = self.held.f1(&with);
            if f1 < best + RISE {
                break;
            }
            let more = self.learnt.of_conjunction(&next.conjunction, self.vocabulary);
            covered = covered.iter().zip(&more).map(|(a, b)| a | b).collect();
            (held, best) = (with, f1);
            any.push(next.conjunction);
        }
        for conjunction in &mut any {
            conjunction.grade = self
                .learnt
                .grade(&self.learnt.of_conjunction(conjunction, self.vocabulary));
        }
        Predicate { any }
    }

    /// The best single token: what a quick look at the strongest examples gives.
    pub fn single_token(&self) -> Predicate {
        let single = self
            .literals
            .iter()
            .find(|(literal, _)| matches!(literal, Literal::Token(tokens) if tokens.len() == 1));
        let Some((literal, bits)) = single else {
            return Predicate::default();
        };
        Predicate {
            any: vec![Conjunction {
                literals: vec![(literal.clone(), false)],
                grade: self.learnt.grade(bits),
            }],
        }
    }
}
