//! Generation: text that should make the latent active.
//!
//! Inactive slices of the scoring half are changed in as few tokens as it takes for the explanation to hold at one of them, and the model
//! reads them. The score is the share in which the latent is then active.

use kernels::random::ChaCha8Rng;
use rand::RngExt;

use super::example::Example;
use super::predicate::{Conjunction, Literal, Predicate};
use super::vocabulary::Vocabulary;

/// Texts that are made for each latent.
pub const TEXTS: usize = 10;
/// Attempts to make an explanation hold in a slice.
const ATTEMPTS: usize = 30;

/// A text with the place at which the explanation holds in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// The tokens, from the beginning of the window.
    pub ids: Vec<u32>,
    /// Places that have a vector.
    pub positions: Vec<usize>,
}

/// Texts in which an explanation holds; fewer than [`TEXTS`] where few of the slices can be made to.
pub fn generate(
    predicate: &Predicate,
    inactive: &[Example],
    pool: &[u32],
    vocabulary: &Vocabulary,
    rng: &mut ChaCha8Rng,
) -> Vec<Generated> {
    let mut made = Vec::new();
    if predicate.any.is_empty() || pool.is_empty() {
        return made;
    }
    for example in inactive
        .iter()
        .filter(|example| !example.positions.is_empty())
        .take(2 * TEXTS)
    {
        if made.len() == TEXTS {
            break;
        }
        for attempt in 0..ATTEMPTS {
            let at = example.positions[rng.random_range(0..example.positions.len())];
            let mut ids = example.ids.to_vec();
            make_hold(
                &predicate.any[attempt % predicate.any.len()],
                &mut ids,
                at,
                pool,
                vocabulary,
                rng,
            );
            if predicate.grade(&ids, at, vocabulary) > 0 {
                let positions = example.positions.clone();
                made.push(Generated { ids, positions });
                break;
            }
        }
    }
    made
}

/// Changes tokens so that the literals of a conjunction hold, as far as one after the other can be made to.
fn make_hold(
    conjunction: &Conjunction,
    ids: &mut [u32],
    at: usize,
    pool: &[u32],
    vocabulary: &Vocabulary,
    rng: &mut ChaCha8Rng,
) {
    for (literal, negated) in &conjunction.literals {
        if literal.holds(ids, at, vocabulary) != *negated {
            continue;
        }
        let any = |tokens: &[u32], rng: &mut ChaCha8Rng| tokens[rng.random_range(0..tokens.len())];
        let fitting = |wanted: &dyn Fn(u32) -> bool, rng: &mut ChaCha8Rng| {
            let fit: Vec<u32> = pool
                .iter()
                .copied()
                .filter(|token| wanted(*token) != *negated)
                .collect();
            (!fit.is_empty()).then(|| fit[rng.random_range(0..fit.len())])
        };
        // What comes before the token, but not the first one, which may be the beginning of text.
        let earlier = |rng: &mut ChaCha8Rng, back: usize| {
            let first = at.saturating_sub(back).max(1);
            (first < at).then(|| rng.random_range(first..at))
        };
        match literal {
            Literal::Token(tokens) if *negated => {
                ids[at] = fitting(&|token| tokens.contains(&token), rng).unwrap_or(ids[at]);
            }
            Literal::Token(tokens) => ids[at] = any(tokens, rng),
            Literal::Suffix(suffix) => {
                ids[at] = fitting(&|token| vocabulary.text(token).ends_with(suffix.as_str()), rng).unwrap_or(ids[at]);
            }
            Literal::Class(class) => ids[at] = fitting(&|token| vocabulary.is(token, *class), rng).unwrap_or(ids[at]),
            Literal::Previous { back, tokens } => {
                if let Some(place) = at.checked_sub(*back).filter(|place| *place > 0) {
                    ids[place] = match negated {
                        true => any(pool, rng),
                        false => any(tokens, rng),
                    };
                }
            }
            Literal::Within { back, tokens } => match negated {
                true => {
                    let places = (at.saturating_sub(*back)..at).filter(|place| tokens.contains(&ids[*place]));
                    places
                        .collect::<Vec<_>>()
                        .into_iter()
                        .for_each(|place| ids[place] = any(pool, rng));
                }
                false => {
                    if let Some(place) = earlier(rng, *back) {
                        ids[place] = any(tokens, rng);
                    }
                }
            },
            Literal::Seen { token, times } => {
                for _ in 0..*times {
                    if let Some(place) = earlier(rng, at) {
                        ids[place] = *token;
                    }
                }
            }
            Literal::Repeat if *negated => ids[at] = any(pool, rng),
            Literal::Repeat => {
                if let Some(place) = earlier(rng, at) {
                    ids[place] = ids[at];
                }
            }
            Literal::Position(_) => {}
        }
    }
}
