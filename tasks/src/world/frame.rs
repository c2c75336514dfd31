//! Sentence frames: fixed words with slots, and what fills the slots.

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::behaviours::Behaviour;
use super::label::{Entity, Number, TokenRole};
use super::lexicon;
use crate::lists;
use crate::template::{Segment, segments};

/// Years of a century in which an event may begin; it ends in a later year of the same century.
const START_YEARS: std::ops::RangeInclusive<usize> = 2..=97;

/// What a sentence is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// One of the six measured behaviours.
    Behaviour(Behaviour),
    /// Three objects, named twice in the same order.
    List,
    /// The rest: people at places, professions, verbs.
    Story,
}

/// An open place of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    First,
    Second,
    RepeatedSubject,
    Recipient,
    Person,
    OtherPerson,
    Pronoun,
    Place,
    Object(usize),
    Profession,
    Country,
    Capital,
    Thing,
    Kind,
    Noun,
    Attractor,
    Verb,
    Event,
    Century,
    StartYear,
    EndYear,
}

impl Slot {
    /// The slot that a template's `{name}` stands for.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "a" => Self::First,
            "b" => Self::Second,
            "s" => Self::RepeatedSubject,
            "io" => Self::Recipient,
            "p" => Self::Person,
            "q" => Self::OtherPerson,
            "he" => Self::Pronoun,
            "place" => Self::Place,
            "object" => Self::Object(0),
            "object2" => Self::Object(1),
            "object3" => Self::Object(2),
            "profession" => Self::Profession,
            "country" => Self::Country,
            "capital" => Self::Capital,
            "thing" => Self::Thing,
            "kind" => Self::Kind,
            "noun" => Self::Noun,
            "attractor" => Self::Attractor,
            "verb" => Self::Verb,
            "event" => Self::Event,
            "century" => Self::Century,
            "start" => Self::StartYear,
            "end" => Self::EndYear,
            _ => return None,
        })
    }
}

/// A token of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// A fixed word, without its space.
    Word(String),
    /// A comma or a full stop.
    Mark(char),
    /// A slot.
    Slot(Slot),
}

/// A sentence frame; some have two sentences.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Index in the world's list of frames.
    pub(crate) id: usize,
    pub(crate) topic: Topic,
    pub(crate) parts: Vec<Part>,
}

impl Frame {
    pub(crate) fn parse(id: usize, topic: Topic, template: &str) -> Self {
        let mut parts = Vec::new();
        for segment in segments(template) {
            match segment {
                Segment::Slot(name) => match Slot::named(name) {
                    Some(slot) => parts.push(Part::Slot(slot)),
                    None => parts.push(Part::Word(format!("{{{name}}}"))),
                },
                Segment::Text(text) => {
                    for word in text.split_whitespace() {
                        let bare = word.trim_end_matches([',', '.']);
                        if !bare.is_empty() {
                            parts.push(Part::Word(bare.to_owned()));
                        }
                        parts.extend(word[bare.len()..].chars().map(Part::Mark));
                    }
                }
            }
        }
        Self { id, topic, parts }
    }

    /// Number of sentences.
    pub(crate) fn sentences(&self) -> usize {
        self.parts.iter().filter(|&part| *part == Part::Mark('.')).count()
    }

    /// Whether the recipient is not named before: the document so far must leave one person only.
    pub(crate) fn relies_on_document(&self) -> bool {
        self.has(Slot::Recipient) && !self.has(Slot::First)
    }

    fn has(&self, slot: Slot) -> bool {
        self.parts.contains(&Part::Slot(slot))
    }

    /// The behaviour that the frame teaches.
    pub(crate) fn behaviour(&self) -> Option<Behaviour> {
        match self.topic {
            Topic::Behaviour(behaviour) => Some(behaviour),
            Topic::List | Topic::Story => None,
        }
    }
}

/// What a frame's slots are filled with. All are drawn, used or not.
#[derive(Debug, Clone)]
pub(crate) struct Bindings {
    /// The person who acts.
    pub(crate) subject: usize,
    /// The other person: the indirect object.
    pub(crate) other: usize,
    /// Whether the subject is the first of the two who are named.
    pub(crate) subject_first: bool,
    place: usize,
    pub(crate) objects: [usize; 3],
    profession: usize,
    pub(crate) country: usize,
    pub(crate) thing: usize,
    pub(crate) noun: usize,
    pub(crate) noun_number: Number,
    pub(crate) attractor: usize,
    attractor_number: Number,
    verb: usize,
    pub(crate) event: usize,
    century: usize,
    pub(crate) start_year: usize,
    end_year: usize,
}

/// A slot filled.
pub(crate) struct Filled {
    pub(crate) role: TokenRole,
    pub(crate) entity: Entity,
    pub(crate) number: Option<Number>,
    pub(crate) text: String,
}

impl Bindings {
    /// Draws everything; the two people are a random pair of `cast`, which has at least two.
    pub(crate) fn draw(cast: &[usize], rng: &mut ChaCha8Rng) -> Self {
        let number = |rng: &mut ChaCha8Rng| {
            if rng.random_bool(0.5) {
                Number::Singular
            } else {
                Number::Plural
            }
        };
        let (subject, other) = distinct_pair(cast.len(), rng);
        let (noun, attractor) = distinct_pair(lexicon::NOUNS.len(), rng);
        let mut objects: Vec<usize> = (0..lists::OBJECTS.len()).collect();
        let (objects, _) = objects.partial_shuffle(rng, 3);
        let start_year = rng.random_range(START_YEARS);
        Self {
            subject: cast[subject],
            other: cast[other],
            subject_first: rng.random_bool(0.5),
            place: rng.random_range(0..lists::PLACES.len()),
            objects: [objects[0], objects[1], objects[2]],
            profession: rng.random_range(0..lexicon::PROFESSIONS.len()),
            country: rng.random_range(0..lexicon::CAPITALS.len()),
            thing: rng.random_range(0..lexicon::KINDS.len() * lexicon::THINGS_PER_KIND),
            noun,
            noun_number: number(rng),
            attractor,
            attractor_number: number(rng),
            verb: rng.random_range(0..lexicon::VERBS.len()),
            event: rng.random_range(0..lexicon::EVENTS.len()),
            century: rng.random_range(0..lexicon::CENTURIES.len()),
            start_year,
            end_year: rng.random_range(start_year + 1..lexicon::YEARS),
        }
    }

    /// The token for a slot.
    pub(crate) fn fill(&self, slot: Slot) -> Filled {
        let (role, entity) = match slot {
            Slot::First | Slot::Second if (slot == Slot::First) == self.subject_first => {
                (TokenRole::Subject, Entity::Person(self.subject))
            }
            Slot::First | Slot::Second => (TokenRole::IndirectObject, Entity::Person(self.other)),
            Slot::RepeatedSubject => (TokenRole::RepeatedSubject, Entity::Person(self.subject)),
            Slot::Recipient => (TokenRole::Recipient, Entity::Person(self.other)),
            Slot::Person => (TokenRole::Person, Entity::Person(self.subject)),
            Slot::OtherPerson => (TokenRole::OtherPerson, Entity::Person(self.other)),
            Slot::Pronoun => (TokenRole::Pronoun, Entity::Person(self.subject)),
            Slot::Place => (TokenRole::Place, Entity::Place(self.place)),
            Slot::Object(which) => (TokenRole::Object, Entity::Object(self.objects[which])),
            Slot::Profession => (TokenRole::Profession, Entity::Profession(self.profession)),
            Slot::Country => (TokenRole::Country, Entity::Country(self.country)),
            Slot::Capital => (TokenRole::Capital, Entity::Capital(self.country)),
            Slot::Thing => (TokenRole::Thing, Entity::Thing(self.thing)),
            Slot::Kind => (TokenRole::Kind, Entity::Kind(self.thing / lexicon::THINGS_PER_KIND)),
            Slot::Noun => (TokenRole::Noun, Entity::Noun(self.noun)),
            Slot::Attractor => (TokenRole::Attractor, Entity::Noun(self.attractor)),
            Slot::Verb => (TokenRole::Verb, Entity::Verb(self.verb)),
            Slot::Event => (TokenRole::Event, Entity::Event(self.event)),
            Slot::Century => (TokenRole::Century, Entity::Century(self.century)),
            Slot::StartYear => (TokenRole::StartYear, Entity::Year(self.start_year)),
            Slot::EndYear => (TokenRole::EndYear, Entity::Year(self.end_year)),
        };
        let number = match slot {
            Slot::Noun | Slot::Verb => Some(self.noun_number),
            Slot::Attractor => Some(self.attractor_number),
            _ => None,
        };
        let text = match (slot, entity.gender()) {
            (Slot::Pronoun, Some(gender)) => format!(" {}", gender.pronoun()),
            _ => entity.piece(number.unwrap_or(Number::Singular)),
        };
        Filled {
            role,
            entity,
            number,
            text,
        }
    }
}

/// Two different numbers below `n`, which is at least 2.
fn distinct_pair(n: usize, rng: &mut ChaCha8Rng) -> (usize, usize) {
    let first = rng.random_range(0..n);
    let second = rng.random_range(0..n - 1);
    (first, if second < first { second } else { second + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_marks_and_slots_are_told_apart() {
        let frame = Frame::parse(0, Topic::Story, "{p} slept. Then, {p} was {century}{start}.");
        let word = |text: &str| Part::Word(text.to_owned());
        assert_eq!(
            frame.parts,
            [
                Part::Slot(Slot::Person),
                word("slept"),
                Part::Mark('.'),
                word("Then"),
                Part::Mark(','),
                Part::Slot(Slot::Person),
                word("was"),
                Part::Slot(Slot::Century),
                Part::Slot(Slot::StartYear),
                Part::Mark('.'),
            ]
        );
        assert_eq!(frame.sentences(), 2);
    }
}
