//! Pairs for the six behaviours of the written world.

use tasks::world::{Behaviour, BehaviourPrompt, World};
use text::Tokenizer;

use crate::{Error, Pair};

/// Prompts that are drawn for each pair, among which its corrupted prompt is looked for.
const POOL: usize = 20;
/// Prompts that are drawn at least.
const SMALLEST_POOL: usize = 1000;

/// A prompt in tokens.
struct Tokens {
    ids: Vec<u32>,
    right: Vec<u32>,
    wrong: Vec<u32>,
}

/// `n` pairs of prompts of a behaviour that never occur in training.
///
/// The corrupted prompt is the one, among many drawn with the same seed, that has as many tokens and other right answers and differs
/// in the fewest tokens. Where several answers are right (years, verbs), it is one of which at least half of the right answers are wrong
/// for the clean prompt, if there is one. What is wrong is what the behaviour says, and where it says nothing, what is right for the
/// corrupted prompt.
///
/// # Errors
///
/// A tokenizer that does not keep the world's words whole; a behaviour of which no prompt has such a partner.
pub fn behaviour_pairs(tokenizer: &Tokenizer, behaviour: Behaviour, n: usize, seed: u64) -> Result<Vec<Pair>, Error> {
    let world = World::new();
    let prompts = world.behaviour_prompts(behaviour, (POOL * n).max(SMALLEST_POOL), seed);
    let pool = prompts
        .iter()
        .map(|prompt| tokens(tokenizer, prompt))
        .collect::<Result<Vec<_>, _>>()?;
    let pair = |(number, clean): (usize, &Tokens)| {
        let others = pool.iter().filter(|other| other.ids.len() == clean.ids.len());
        let partner = others
            .filter(|other| other.right != clean.right)
            .min_by_key(|other| {
                let differ = clean.ids.iter().zip(&other.ids).filter(|(a, b)| a != b).count();
                // A later year leaves most of its answers right: what the model then says would hardly be judged otherwise.
                let wrong = other.right.iter().filter(|token| clean.wrong.contains(token)).count();
                let misleads = clean.right.len() == 1 || 2 * wrong >= other.right.len();
                (!misleads, differ, other.right.len() - wrong)
            })
            .ok_or_else(|| Error::Pair {
                number: number + 1,
                reason: format!(
                    "no other prompt of {behaviour} has as many tokens and another answer: ask for more pairs"
                ),
            })?;
        let wrong: Vec<u32> = match clean.wrong.is_empty() {
            true => partner
                .right
                .iter()
                .copied()
                .filter(|token| !clean.right.contains(token))
                .collect(),
            false => clean.wrong.clone(),
        };
        Ok(Pair {
            clean: clean.ids.clone(),
            corrupted: partner.ids.clone(),
            answer: clean.right.clone(),
            wrong,
            positions: None,
        })
    };
    pool.iter().take(n).enumerate().map(pair).collect()
}

fn tokens(tokenizer: &Tokenizer, prompt: &BehaviourPrompt) -> Result<Tokens, Error> {
    let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
    ids.extend(tokenizer.encode(&prompt.text)?);
    let of = |pieces: &[String]| -> Result<Vec<u32>, Error> {
        let token = |piece: &String| {
            let reason =
                || format!("the world's word \"{piece}\" is not one token: use a model that `saelab pretrain` made");
            tokenizer.token(piece).ok_or_else(|| Error::Setting(reason()))
        };
        pieces.iter().map(token).collect()
    };
    Ok(Tokens {
        ids,
        right: of(&prompt.right)?,
        wrong: of(&prompt.wrong)?,
    })
}
