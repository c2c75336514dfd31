//! What the generator knows about each token of a document: the ground truth that real text never gives.

use serde::{Deserialize, Serialize};

use super::behaviours::Behaviour;
use super::lexicon;
use crate::gender::Gender;
use crate::lists;

/// The grammatical number of a noun or of a verb's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Number {
    /// One.
    Singular,
    /// More than one.
    Plural,
}

/// Something the world speaks about, by its index in the list of its category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entity {
    /// A person; first all men, then all women.
    Person(usize),
    /// An object that is given.
    Object(usize),
    /// A place.
    Place(usize),
    /// A profession.
    Profession(usize),
    /// A country.
    Country(usize),
    /// The capital of the country with this index.
    Capital(usize),
    /// A kind of things.
    Kind(usize),
    /// A thing; its kind is its index divided by 8.
    Thing(usize),
    /// A noun, in either number.
    Noun(usize),
    /// A verb, in either number.
    Verb(usize),
    /// An event with a beginning and an end.
    Event(usize),
    /// The first two digits of a year.
    Century(usize),
    /// The last two digits of a year, 0 to 99.
    Year(usize),
}

impl Entity {
    /// The word for this entity, without a space.
    pub fn word(self, number: Number) -> String {
        let of_number = |(singular, plural): (&'static str, &'static str)| match number {
            Number::Singular => singular,
            Number::Plural => plural,
        };
        let word = match self {
            Self::Person(i) if i < lists::MALE_NAMES.len() => lists::MALE_NAMES[i],
            Self::Person(i) => lists::FEMALE_NAMES[i - lists::MALE_NAMES.len()],
            Self::Object(i) => lists::OBJECTS[i],
            Self::Place(i) => lists::PLACES[i],
            Self::Profession(i) => lexicon::PROFESSIONS[i],
            Self::Country(i) => lexicon::CAPITALS[i].0,
            Self::Capital(i) => lexicon::CAPITALS[i].1,
            Self::Kind(i) => lexicon::KINDS[i].0,
            Self::Thing(i) => lexicon::KINDS[i / lexicon::THINGS_PER_KIND].1[i % lexicon::THINGS_PER_KIND],
            Self::Noun(i) => of_number(lexicon::NOUNS[i]),
            Self::Verb(i) => of_number(lexicon::VERBS[i]),
            Self::Event(i) => lexicon::EVENTS[i],
            Self::Century(i) => lexicon::CENTURIES[i],
            Self::Year(i) => return format!("{i:02}"),
        };
        word.to_owned()
    }

    /// The token for this entity: the last digits of a year follow the first without a space, all else has one.
    pub(crate) fn piece(self, number: Number) -> String {
        match self {
            Self::Year(_) => self.word(number),
            _ => format!(" {}", self.word(number)),
        }
    }

    /// The gender of a person.
    pub fn gender(self) -> Option<Gender> {
        match self {
            Self::Person(i) if i < lists::MALE_NAMES.len() => Some(Gender::Male),
            Self::Person(_) => Some(Gender::Female),
            _ => None,
        }
    }

    /// The kind of a thing, or the kind itself.
    pub fn kind(self) -> Option<usize> {
        match self {
            Self::Thing(i) => Some(i / lexicon::THINGS_PER_KIND),
            Self::Kind(i) => Some(i),
            _ => None,
        }
    }

    /// The country of a capital, or the country itself.
    pub fn country(self) -> Option<usize> {
        match self {
            Self::Country(i) | Self::Capital(i) => Some(i),
            _ => None,
        }
    }
}

/// The role of a token in its sentence frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenRole {
    /// The word that opens a document or a sentence ("Then").
    Opener,
    /// A fixed word of the frame.
    FrameWord,
    /// A comma or a full stop.
    Punctuation,
    /// The person who will receive, where the two people are introduced.
    IndirectObject,
    /// The person who will give, where the two people are introduced.
    Subject,
    /// The person who gives, named again.
    RepeatedSubject,
    /// The person who receives: the answer to an indirect-object prompt.
    Recipient,
    /// A person in another frame.
    Person,
    /// A second person in another frame.
    OtherPerson,
    /// A pronoun for the person of the sentence.
    Pronoun,
    /// A place.
    Place,
    /// An object.
    Object,
    /// A profession.
    Profession,
    /// A country.
    Country,
    /// A capital.
    Capital,
    /// A thing that belongs to a kind.
    Thing,
    /// The kind of a thing.
    Kind,
    /// A noun that governs the verb.
    Noun,
    /// A noun between the governing noun and the verb.
    Attractor,
    /// A verb that agrees with its noun.
    Verb,
    /// An event.
    Event,
    /// The first two digits of a year.
    Century,
    /// The last two digits of the year in which an event begins.
    StartYear,
    /// The last two digits of the year in which an event ends.
    EndYear,
}

/// Every label of one token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The token's role in its frame.
    pub role: TokenRole,
    /// What the token stands for; a pronoun stands for its person.
    pub entity: Option<Entity>,
    /// The gender of the person.
    pub gender: Option<Gender>,
    /// The number of a noun or verb.
    pub number: Option<Number>,
    /// The kind that a thing belongs to.
    pub kind: Option<usize>,
    /// The country that a country's or capital's name belongs to.
    pub country: Option<usize>,
    /// The behaviour that the sentence teaches.
    pub behaviour: Option<Behaviour>,
    /// Index of the sentence frame; none for an opener and its comma.
    pub frame: Option<usize>,
    /// Index of the sentence in its document.
    pub sentence: usize,
    /// Whether the entity occurred before in the document.
    pub mentioned_before: bool,
}

/// A token of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The token's text, with the space before it.
    pub text: String,
    /// What is known about it.
    pub label: Label,
}

/// A document of the world, token by token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// The tokens, without a beginning-of-text token.
    pub pieces: Vec<Piece>,
}

impl Document {
    /// The document as text.
    pub fn text(&self) -> String {
        self.pieces.iter().map(|piece| piece.text.as_str()).collect()
    }
}
