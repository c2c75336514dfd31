//! Writes documents: an opener, then sentences about a small cast of people who come up again and again.

use std::collections::BTreeSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::behaviours::Behaviour;
use super::frame::{Bindings, Filled, Frame, Part, Slot, Topic};
use super::label::{Document, Entity, Label, Number, Piece, TokenRole};
use super::{World, held_out, lexicon};
use crate::template::TEMPLATES;

/// Share of openers that are "Then", with which every indirect-object prompt begins.
const THEN_SHARE: f64 = 0.5;
/// Share of later sentences that have an opener.
const LATER_OPENER_SHARE: f64 = 0.25;
/// Share of documents that begin with an indirect-object frame, besides those that do by the weights below.
const INDIRECT_OBJECT_START_SHARE: f64 = 0.3;
/// Share of indirect-object frames that are templates of the indirect-object task.
const TEMPLATE_SHARE: f64 = 0.5;
/// Share of documents with 3 to 5 sentences; the others have 3 to 12.
const SHORT_SHARE: f64 = 0.4;
/// How often a frame is about what, in percent.
const TOPIC_WEIGHTS: [(Topic, u32); 8] = [
    (Topic::Behaviour(Behaviour::IndirectObject), 21),
    (Topic::Behaviour(Behaviour::Capital), 12),
    (Topic::Behaviour(Behaviour::Hypernym), 17),
    (Topic::Behaviour(Behaviour::Pronoun), 12),
    (Topic::Behaviour(Behaviour::GreaterThan), 13),
    (Topic::Behaviour(Behaviour::Agreement), 14),
    (Topic::List, 2),
    (Topic::Story, 9),
];

/// A document in the making.
pub(crate) struct Story<'w> {
    world: &'w World,
    cast: Vec<usize>,
    pieces: Vec<Piece>,
    mentioned: BTreeSet<Entity>,
    sentence: usize,
    /// Whether the next word is the first of its sentence and no opener precedes it.
    capitalise: bool,
}

impl<'w> Story<'w> {
    /// An empty document about `cast`.
    pub(crate) fn new(world: &'w World, cast: Vec<usize>) -> Self {
        Self {
            world,
            cast,
            pieces: Vec::new(),
            mentioned: BTreeSet::new(),
            sentence: 0,
            capitalise: true,
        }
    }

    /// Draws `n` different people of whom no two are held out.
    pub(crate) fn draw_cast(n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut cast: Vec<usize> = Vec::with_capacity(n);
        while cast.len() < n {
            let person = rng.random_range(0..World::n_people());
            if cast
                .iter()
                .all(|&other| other != person && !held_out::people(other, person))
            {
                cast.push(person);
            }
        }
        cast
    }

    /// A whole document.
    pub(crate) fn write(world: &'w World, rng: &mut ChaCha8Rng) -> Document {
        let n_people = [2, 2, 2, 3, 3, 4][rng.random_range(0..6)];
        let mut story = Self::new(world, Self::draw_cast(n_people, rng));
        let longest = if rng.random_bool(SHORT_SHARE) { 5 } else { 12 };
        let n_sentences = rng.random_range(3..=longest);
        story.open(rng);
        while story.sentence < n_sentences {
            if story.sentence > 0 {
                story.maybe_open(rng);
            }
            let (frame, bindings) = story.draw_sentence(n_sentences - story.sentence, rng);
            story.tell(frame, &bindings, None);
        }
        story.into_document()
    }

    pub(crate) fn into_document(self) -> Document {
        Document { pieces: self.pieces }
    }

    /// Writes a random opener and its comma.
    pub(crate) fn open(&mut self, rng: &mut ChaCha8Rng) {
        let opener = if rng.random_bool(THEN_SHARE) {
            0
        } else {
            rng.random_range(1..lexicon::OPENERS.len())
        };
        self.open_with(opener);
    }

    /// Writes an opener before some sentences.
    pub(crate) fn maybe_open(&mut self, rng: &mut ChaCha8Rng) {
        if rng.random_bool(LATER_OPENER_SHARE) {
            self.open(rng);
        }
    }

    /// Writes the opener with this index and its comma. Only the first word of a document has no space.
    pub(crate) fn open_with(&mut self, opener: usize) {
        let space = if self.pieces.is_empty() { "" } else { " " };
        self.push(format!("{space}{}", lexicon::OPENERS[opener]), TokenRole::Opener, None);
        self.push(",".to_owned(), TokenRole::Punctuation, None);
        self.capitalise = false;
    }

    /// Writes one sentence that teaches nothing.
    pub(crate) fn tell_lead(&mut self, rng: &mut ChaCha8Rng) {
        let (frame, bindings) = self.draw_of_topic(Topic::Story, 1, rng);
        self.tell(frame, &bindings, None);
    }

    /// Writes a frame, up to its slot `until` if there is one.
    pub(crate) fn tell(&mut self, frame: &Frame, bindings: &Bindings, until: Option<Slot>) {
        for part in &frame.parts {
            match part {
                Part::Slot(slot) if Some(*slot) == until => return,
                Part::Slot(slot) => self.push_filled(bindings.fill(*slot), frame),
                Part::Word(word) => {
                    let text = if self.capitalise {
                        capitalised(word)
                    } else {
                        word.clone()
                    };
                    self.push(format!(" {text}"), TokenRole::FrameWord, Some(frame));
                }
                Part::Mark(mark) => self.push(mark.to_string(), TokenRole::Punctuation, Some(frame)),
            }
            self.capitalise = *part == Part::Mark('.');
            self.sentence += usize::from(self.capitalise);
        }
    }

    /// Draws a frame of at most `room` sentences and fills it with something that is not held out.
    fn draw_sentence(&self, room: usize, rng: &mut ChaCha8Rng) -> (&'w Frame, Bindings) {
        loop {
            let starts_with_pair = self.sentence == 0 && rng.random_bool(INDIRECT_OBJECT_START_SHARE);
            let topic = if starts_with_pair {
                Topic::Behaviour(Behaviour::IndirectObject)
            } else {
                draw_topic(rng)
            };
            if topic != Topic::List || room > 1 {
                return self.draw_of_topic(topic, room, rng);
            }
        }
    }

    fn draw_of_topic(&self, topic: Topic, room: usize, rng: &mut ChaCha8Rng) -> (&'w Frame, Bindings) {
        let world = self.world;
        let fits = |frame: &&Frame| {
            frame.topic == topic
                && frame.sentences() <= room
                && (!frame.relies_on_document() || self.leaves_one_person())
        };
        let frames: Vec<&'w Frame> = world.frames().iter().filter(fits).collect();
        let n_templates = frames.iter().filter(|frame| frame.id < TEMPLATES.len()).count();
        loop {
            let from_template = n_templates > 0 && rng.random_bool(TEMPLATE_SHARE);
            let frame = frames[rng.random_range(if from_template {
                0..n_templates
            } else {
                n_templates..frames.len()
            })];
            let bindings = Bindings::draw(&self.cast, rng);
            if !held_out::sentence(frame, &bindings) {
                return (frame, bindings);
            }
        }
    }

    /// Whether the document so far is about two people, so that one of them determines the other.
    fn leaves_one_person(&self) -> bool {
        self.cast.len() == 2
            && self
                .cast
                .iter()
                .all(|&person| self.mentioned.contains(&Entity::Person(person)))
    }

    /// Writes a fixed word or mark.
    fn push(&mut self, text: String, role: TokenRole, frame: Option<&Frame>) {
        let label = self.label(role, None, None, frame);
        self.pieces.push(Piece { text, label });
    }

    /// Writes a filled slot.
    fn push_filled(&mut self, filled: Filled, frame: &Frame) {
        let label = self.label(filled.role, Some(filled.entity), filled.number, Some(frame));
        self.pieces.push(Piece {
            text: filled.text,
            label,
        });
        self.mentioned.insert(filled.entity);
    }

    fn label(&self, role: TokenRole, entity: Option<Entity>, number: Option<Number>, frame: Option<&Frame>) -> Label {
        Label {
            role,
            entity,
            gender: entity.and_then(Entity::gender),
            number,
            kind: entity.and_then(Entity::kind),
            country: entity.and_then(Entity::country),
            behaviour: frame.and_then(Frame::behaviour),
            frame: frame.map(|frame| frame.id),
            sentence: self.sentence,
            mentioned_before: entity.is_some_and(|entity| self.mentioned.contains(&entity)),
        }
    }
}

fn draw_topic(rng: &mut ChaCha8Rng) -> Topic {
    let total: u32 = TOPIC_WEIGHTS.iter().map(|&(_, weight)| weight).sum();
    let mut left = rng.random_range(0..total);
    for (topic, weight) in TOPIC_WEIGHTS {
        if left < weight {
            return topic;
        }
        left -= weight;
    }
    Topic::Story
}

/// The word with a capital first letter.
pub(crate) fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
