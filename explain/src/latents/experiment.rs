//! Experiments: a conjunction that explains a latent also says what it takes to silence it.
//!
//! In examples in which a conjunction holds at the strongest token, each of its literals is made false by changing as few tokens as
//! that takes, and the latent is asked again. The flip happens where its activation falls below half. Conjunctions of which fewer than
//! half of the flips happen are put behind the others.

use kernels::random::ChaCha8Rng;
use rand::RngExt;

use super::example::Example;
use super::predicate::{Conjunction, Literal};
use super::search::Candidate;
use super::vocabulary::Vocabulary;
use crate::Error;
use crate::black_box::{BlackBox, Input, Output};

/// Examples that each conjunction is tried on.
const EXAMPLES: usize = 3;
/// Inputs that all experiments on a latent take at most.
pub const QUERIES: usize = 200;
/// Tokens that are drawn to find one that makes a literal false.
const DRAWS: usize = 50;

/// A changed example.
struct Edit {
    candidate: usize,
    ids: Vec<u32>,
    at: usize,
    before: f32,
}

/// Candidates in order: those whose predicted flips happen first, within each group as they were.
///
/// # Errors
///
/// A black box that answers fewer than [`QUERIES`] inputs.
pub fn order_by_experiment(
    candidates: Vec<Candidate>,
    active: &[Example],
    pool: &[u32],
    vocabulary: &Vocabulary,
    of: &mut BlackBox<'_>,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Candidate>, Error> {
    let mut edits = Vec::new();
    for (number, candidate) in candidates.iter().enumerate() {
        let holds = |example: &&Example| {
            let at = example.positions[example.peak()];
            candidate.conjunction.holds(&example.ids, at, vocabulary)
        };
        for example in active.iter().filter(holds).take(EXAMPLES) {
            for which in 0..candidate.conjunction.literals.len() {
                if let Some(ids) = falsified(&candidate.conjunction, which, example, pool, vocabulary, rng) {
                    edits.push(Edit {
                        candidate: number,
                        ids,
                        at: example.positions[example.peak()],
                        before: example.maximum(),
                    });
                }
            }
        }
    }
    edits.truncate(QUERIES.min(of.remaining()));
    if edits.is_empty() {
        return Ok(candidates);
    }
    let inputs: Vec<Input> = edits.iter().map(|edit| Input::Tokens(edit.ids.clone())).collect();
    let outputs = of.call(&inputs)?;
    let mut flips = vec![(0, 0); candidates.len()];
    for (edit, output) in edits.iter().zip(outputs) {
        if let Output::Activations(values) = output {
            let after = values.get(edit.at).copied().unwrap_or(0.0);
            let (happened, all) = &mut flips[edit.candidate];
            *happened += usize::from(after < edit.before / 2.0);
            *all += 1;
        }
    }
    let (mut kept, mut put_back) = (Vec::new(), Vec::new());
    for (candidate, (happened, all)) in candidates.into_iter().zip(flips) {
        match 2 * happened >= all {
            true => kept.push(candidate),
            false => put_back.push(candidate),
        }
    }
    kept.extend(put_back);
    Ok(kept)
}

/// The example with one literal of a conjunction made false; `None` where no change of some tokens does that.
fn falsified(
    conjunction: &Conjunction,
    which: usize,
    example: &Example,
    pool: &[u32],
    vocabulary: &Vocabulary,
    rng: &mut ChaCha8Rng,
) -> Option<Vec<u32>> {
    let (literal, negated) = &conjunction.literals[which];
    if *negated || pool.is_empty() {
        return None;
    }
    let at = example.positions[example.peak()];
    let ids = &example.ids;
    let token = ids[at];
    let places: Vec<usize> = match literal {
        Literal::Token(_) | Literal::Suffix(_) | Literal::Class(_) => vec![at],
        Literal::Previous { back, .. } => vec![at.checked_sub(*back)?],
        Literal::Within { back, tokens } => (at.saturating_sub(*back)..at)
            .filter(|i| tokens.contains(&ids[*i]))
            .collect(),
        Literal::Seen { token, .. } => (0..at).filter(|i| ids[*i] == *token).collect(),
        Literal::Repeat => (0..at).filter(|i| ids[*i] == token).collect(),
        Literal::Position(_) => return None,
    };
    if places.is_empty() {
        return None;
    }
    for _ in 0..DRAWS {
        let mut changed = ids.to_vec();
        for place in &places {
            changed[*place] = pool[rng.random_range(0..pool.len())];
        }
        if !literal.holds(&changed, at, vocabulary) {
            return Some(changed);
        }
    }
    None
}
