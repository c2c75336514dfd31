//! The six behaviours that a model of the world must show, and prompts for them that never occur in training.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use strum::VariantNames;

use super::frame::{Bindings, Frame, Slot, Topic};
use super::label::{Entity, Number};
use super::story::Story;
use super::{World, held_out, lexicon};
use crate::Error;
use crate::gender::Gender;
use crate::template::TEMPLATES;

/// Share of indirect-object prompts that are made from the templates of the indirect-object task.
const TEMPLATE_SHARE: f64 = 0.5;
/// Share of the other behaviours' prompts that follow a sentence about something else.
const LEAD_SHARE: f64 = 0.5;

/// Something that the world's text teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::Display, strum::EnumString, strum::VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Behaviour {
    /// Of two people, the one who is not named again receives.
    IndirectObject,
    /// A country has a capital.
    Capital,
    /// A thing is of a kind.
    Hypernym,
    /// A person is "he" or "she".
    Pronoun,
    /// What begins in a year ends in a later one.
    GreaterThan,
    /// A verb agrees with its noun, whatever noun stands between them.
    Agreement,
}

impl Behaviour {
    /// The slot that a prompt leaves to the model.
    fn answer(self) -> Slot {
        match self {
            Self::IndirectObject => Slot::Recipient,
            Self::Capital => Slot::Capital,
            Self::Hypernym => Slot::Kind,
            Self::Pronoun => Slot::Pronoun,
            Self::GreaterThan => Slot::EndYear,
            Self::Agreement => Slot::Verb,
        }
    }

    /// The tokens that are right after a prompt, and those they are compared with.
    fn judged(self, bindings: &Bindings) -> (Vec<String>, Vec<String>) {
        let filled = |slot: Slot| vec![bindings.fill(slot).text];
        let years = |range: std::ops::Range<usize>| -> Vec<String> {
            range.map(|year| Entity::Year(year).piece(Number::Singular)).collect()
        };
        let verbs = |number: Number| -> Vec<String> {
            (0..lexicon::VERBS.len())
                .map(|verb| Entity::Verb(verb).piece(number))
                .collect()
        };
        match self {
            Self::IndirectObject => (filled(Slot::Recipient), filled(Slot::RepeatedSubject)),
            Self::Capital | Self::Hypernym => (filled(self.answer()), Vec::new()),
            Self::Pronoun => {
                let right = filled(Slot::Pronoun);
                let all = Gender::ALL.map(|gender| format!(" {}", gender.pronoun()));
                let wrong = all.into_iter().filter(|pronoun| !right.contains(pronoun)).collect();
                (right, wrong)
            }
            Self::GreaterThan => (
                years(bindings.start_year + 1..lexicon::YEARS),
                years(0..bindings.start_year + 1),
            ),
            Self::Agreement => match bindings.noun_number {
                Number::Singular => (verbs(Number::Singular), verbs(Number::Plural)),
                Number::Plural => (verbs(Number::Plural), verbs(Number::Singular)),
            },
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownName {
        what: "behaviour",
        found: name.to_owned(),
        known: Behaviour::VARIANTS.join(", "),
    }
}

/// A prompt whose combination never occurs in training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BehaviourPrompt {
    /// The beginning of a document, up to the answer.
    pub text: String,
    /// The tokens that are right.
    pub right: Vec<String>,
    /// The tokens to compare with: the subject, the other pronoun, the years that are not later, the verbs of the other
    /// number; empty for capitals and kinds, which are judged against the whole vocabulary.
    pub wrong: Vec<String>,
}

/// Draws one prompt.
pub(crate) fn prompt(world: &World, behaviour: Behaviour, rng: &mut ChaCha8Rng) -> BehaviourPrompt {
    let of_behaviour = |frame: &&Frame| frame.topic == Topic::Behaviour(behaviour) && !frame.relies_on_document();
    let mut frames: Vec<&Frame> = world.frames().iter().filter(of_behaviour).collect();
    let is_pair = behaviour == Behaviour::IndirectObject;
    let from_template = is_pair && rng.random_bool(TEMPLATE_SHARE);
    if from_template {
        frames.truncate(TEMPLATES.len());
    }
    let (frame, cast, bindings) = loop {
        let frame = frames[rng.random_range(0..frames.len())];
        let cast = if is_pair {
            held_out_pair(rng)
        } else {
            Story::draw_cast(2, rng)
        };
        let bindings = Bindings::draw(&cast, rng);
        if held_out::sentence(frame, &bindings) {
            break (frame, cast, bindings);
        }
    };
    let mut story = Story::new(world, cast);
    if from_template {
        story.open_with(0);
    } else {
        story.open(rng);
    }
    if !is_pair && rng.random_bool(LEAD_SHARE) {
        story.tell_lead(rng);
        story.maybe_open(rng);
    }
    story.tell(frame, &bindings, Some(behaviour.answer()));
    let (right, wrong) = behaviour.judged(&bindings);
    BehaviourPrompt {
        text: story.into_document().text(),
        right,
        wrong,
    }
}

/// Two people who never occur in one document of the training text.
fn held_out_pair(rng: &mut ChaCha8Rng) -> Vec<usize> {
    let n = World::n_people();
    loop {
        let (first, second) = (rng.random_range(0..n), rng.random_range(0..n));
        if first != second && held_out::people(first, second) {
            return vec![first, second];
        }
    }
}
