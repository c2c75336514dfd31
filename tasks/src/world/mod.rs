//! A small written world: text for training a language model, with everything known about every token.
//!
//! Documents of 3 to 12 sentences tell of people who come up again and again, of capitals, kinds of things, years and
//! nouns with their verbs. One combination in five never occurs in them, and [`World::behaviour_prompts`] asks for
//! exactly those.

mod batches;
mod behaviours;
mod frame;
mod frames;
mod held_out;
mod label;
mod lexicon;
mod measure;
mod order;
mod story;

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use batches::token_batch;
pub use behaviours::{Behaviour, BehaviourPrompt};
pub use label::{Document, Entity, Label, Number, Piece, TokenRole};
pub use measure::{BehaviourScore, measure};
pub use order::order_pairs;

use crate::gender::Gender;
use crate::lists;
use frame::{Frame, Part};
use story::{Story, capitalised};

/// The number of words of a category, and the entity of each.
type Category = (usize, fn(usize) -> Entity);

/// The generator. Documents use the random streams from 0 on, prompts and pairs of prompts those from the end.
#[derive(Debug, Clone)]
pub struct World {
    frames: Vec<Frame>,
}

impl World {
    /// The one world there is; what it says depends on the seeds of its documents only.
    pub fn new() -> Self {
        Self { frames: frames::all() }
    }

    /// The document with this index, the same whatever other documents are asked for.
    pub fn document(&self, seed: u64, index: u64) -> Document {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        Story::write(self, &mut rng)
    }

    /// Draws prompts whose combinations never occur in a document, whatever its seed.
    pub fn behaviour_prompts(&self, behaviour: Behaviour, n: usize, seed: u64) -> Vec<BehaviourPrompt> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::MAX - behaviour as u64);
        (0..n).map(|_| behaviours::prompt(self, behaviour, &mut rng)).collect()
    }

    /// The whole vocabulary, sorted and without special tokens.
    ///
    /// A word carries the space before it, but for the opener of a document; marks and the last two digits of a year
    /// have none.
    pub fn pieces(&self) -> Vec<String> {
        let mut pieces = BTreeSet::from([",".to_owned(), ".".to_owned()]);
        pieces.extend(
            lexicon::OPENERS
                .iter()
                .flat_map(|opener| [(*opener).to_owned(), format!(" {opener}")]),
        );
        pieces.extend(Gender::ALL.map(|gender| format!(" {}", gender.pronoun())));
        for entity in self.entities() {
            pieces.extend([Number::Singular, Number::Plural].map(|number| entity.piece(number)));
        }
        for frame in &self.frames {
            if let Some(Part::Word(word)) = frame.parts.first() {
                pieces.insert(format!(" {}", capitalised(word)));
            }
            for part in &frame.parts {
                if let Part::Word(word) = part {
                    pieces.insert(format!(" {word}"));
                }
            }
        }
        pieces.into_iter().collect()
    }

    /// Everything the world speaks about.
    pub fn entities(&self) -> Vec<Entity> {
        let lists: [Category; 13] = [
            (Self::n_people(), Entity::Person),
            (lists::OBJECTS.len(), Entity::Object),
            (lists::PLACES.len(), Entity::Place),
            (lexicon::PROFESSIONS.len(), Entity::Profession),
            (lexicon::CAPITALS.len(), Entity::Country),
            (lexicon::CAPITALS.len(), Entity::Capital),
            (lexicon::KINDS.len(), Entity::Kind),
            (lexicon::KINDS.len() * lexicon::THINGS_PER_KIND, Entity::Thing),
            (lexicon::NOUNS.len(), Entity::Noun),
            (lexicon::VERBS.len(), Entity::Verb),
            (lexicon::EVENTS.len(), Entity::Event),
            (lexicon::CENTURIES.len(), Entity::Century),
            (lexicon::YEARS, Entity::Year),
        ];
        lists.into_iter().flat_map(|(n, entity)| (0..n).map(entity)).collect()
    }

    /// Number of sentence frames; [`Label::frame`] is below it.
    pub fn n_frames(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
    }

    pub(crate) fn n_people() -> usize {
        lists::MALE_NAMES.len() + lists::FEMALE_NAMES.len()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
