//! How well a language model shows a behaviour, on prompts that never occurred in its training.

use kernels::to_vec;
use lm::{Logits, Model, Passes, Request, Schedule};
use serde::Serialize;
use text::Tokenizer;

use super::{Behaviour, BehaviourPrompt, World};
use crate::Error;

/// What was measured of one behaviour; probabilities are over the whole vocabulary, at the last token of a prompt.
#[derive(Debug, Clone, Serialize)]
pub struct BehaviourScore {
    /// The behaviour.
    pub behaviour: Behaviour,
    /// Number of prompts.
    pub n: usize,
    /// Share of prompts whose most probable token is a right one.
    pub accuracy: f64,
    /// Mean of the best right logit minus the best wrong one; none where nothing is wrong by name.
    pub logit_diff: Option<f64>,
    /// Mean of the probability of the right tokens minus that of the wrong ones.
    pub mass_difference: f64,
    /// Share of prompts that give the right tokens more than half of the probability.
    pub majority: f64,
}

impl BehaviourScore {
    /// The figure by which the behaviour is judged, its name, and the bar: 0.97 for the indirect object, 0.9 for
    /// capital, hypernym and pronoun (argmax over the vocabulary), 0.8 for the mass on later minus other years, and 0.9
    /// for the share of prompts whose verbs of the right number get more than half of the probability.
    pub fn gate(&self) -> (&'static str, f64, f64) {
        match self.behaviour {
            Behaviour::IndirectObject => ("accuracy", self.accuracy, 0.97),
            Behaviour::Capital | Behaviour::Hypernym | Behaviour::Pronoun => ("accuracy", self.accuracy, 0.9),
            Behaviour::GreaterThan => ("mass difference", self.mass_difference, 0.8),
            Behaviour::Agreement => ("majority", self.majority, 0.9),
        }
    }

    /// Whether it meets its gate; the indirect object also needs a mean logit difference above 3.
    pub fn passes(&self) -> bool {
        let (_, value, bar) = self.gate();
        let separated = self.behaviour != Behaviour::IndirectObject || self.logit_diff.is_some_and(|diff| diff > 3.0);
        value >= bar && separated
    }
}

/// Measures `behaviour` on `n` held-out prompts.
pub fn measure(
    model: &Model,
    tokenizer: &Tokenizer,
    world: &World,
    behaviour: Behaviour,
    n: usize,
    seed: u64,
) -> Result<BehaviourScore, Error> {
    let prompts = world.behaviour_prompts(behaviour, n, seed);
    let mut score = BehaviourScore {
        behaviour,
        n: prompts.len(),
        accuracy: 0.0,
        logit_diff: None,
        mass_difference: 0.0,
        majority: 0.0,
    };
    let mut logit_diffs = Vec::new();
    for (prompt, logits) in prompts.iter().zip(last_logits(model, tokenizer, &prompts)?) {
        let (right, wrong) = (ids(tokenizer, &prompt.right)?, ids(tokenizer, &prompt.wrong)?);
        let best = |ids: &[usize]| {
            ids.iter()
                .map(|&id| f64::from(logits[id]))
                .fold(f64::NEG_INFINITY, f64::max)
        };
        let top = logits.iter().map(|&x| f64::from(x)).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|&x| (f64::from(x) - top).exp()).sum();
        let mass = |ids: &[usize]| {
            ids.iter()
                .map(|&id| (f64::from(logits[id]) - top).exp() / total)
                .sum::<f64>()
        };
        score.accuracy += f64::from(u8::from(best(&right) == top));
        score.mass_difference += mass(&right) - mass(&wrong);
        score.majority += f64::from(u8::from(mass(&right) > 0.5));
        if !wrong.is_empty() {
            logit_diffs.push(best(&right) - best(&wrong));
        }
    }
    let count = prompts.len().max(1) as f64;
    score.accuracy /= count;
    score.mass_difference /= count;
    score.majority /= count;
    score.logit_diff = (!logit_diffs.is_empty()).then(|| logit_diffs.iter().sum::<f64>() / logit_diffs.len() as f64);
    Ok(score)
}

/// Logits behind the last token of each prompt, `[V]` each.
fn last_logits(model: &Model, tokenizer: &Tokenizer, prompts: &[BehaviourPrompt]) -> Result<Vec<Vec<f32>>, Error> {
    let mut rows = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
        ids.extend(tokenizer.encode(&prompt.text)?);
        rows.push(ids);
    }
    // Prompt by prompt, so that no figure depends on what else is measured.
    let passes = Passes::new(model, 1).scheduled(Schedule::SideBySide);
    passes.run(
        &rows,
        |pass| {
            Ok(Request {
                logits: Logits::At(vec![pass.tokens.len() - 1]),
                ..Request::default()
            })
        },
        |_, trace| Ok(to_vec(trace.logits_at()?)),
    )
}

fn ids(tokenizer: &Tokenizer, pieces: &[String]) -> Result<Vec<usize>, Error> {
    let id = |piece: &String| {
        let unknown = || Error::UnknownText {
            text: piece.clone(),
            found: "several tokens".to_owned(),
        };
        tokenizer.token(piece).map(|id| id as usize).ok_or_else(unknown)
    };
    pieces.iter().map(id).collect()
}
