//! What a tokenizer makes of the word lists and of a task's templates, and prompts put together from them.

use rand::RngExt;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::Error;
use crate::gender::Gender;
use crate::lists;
use crate::names::Role;
use crate::partition::stable_hash;
use crate::prompt::Scene;
use crate::task::Sample;
use crate::template::{PREFIX, Segment, segments};

/// Fewest words of each list that a tokenizer must know.
const NEEDED_NAMES: usize = 40;
const NEEDED_OBJECTS: usize = 8;
const NEEDED_PLACES: usize = 5;
/// Mixes the genders in the order of the names; the same for every model.
const NAME_ORDER_SEED: u64 = 0;

/// A word of a list that the tokenizer encodes as one token.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) text: &'static str,
    pub(crate) token: u32,
}

/// A person in a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Person {
    /// The first one named, `{a}`.
    First,
    /// The second one named, `{b}`.
    Second,
    /// The one of them who is named again, `{s}`.
    Repeated,
}

/// A mention of a person: the index of the name, its role, and that of the token after it.
pub(crate) struct Mention {
    pub(crate) name: usize,
    pub(crate) role: Role,
    pub(crate) next: Option<Role>,
}

/// A template in tokens.
#[derive(Debug, Clone)]
enum Part {
    Tokens(Vec<u32>),
    Person(Person),
    Object,
    Place,
}

/// Who is meant by a person of a template.
pub(crate) type Casting = fn(Person, &Scene) -> Mention;

/// The words of a task, in the tokens of one model.
#[derive(Debug, Clone)]
pub(crate) struct Wording {
    bos: u32,
    names: Vec<Word>,
    objects: Vec<Word>,
    places: Vec<Word>,
    texts: &'static [&'static str],
    templates: Vec<Vec<Part>>,
    casting: Casting,
    /// The domain of the hash that deals prompts to samples.
    domain: u64,
}

impl Wording {
    /// Filters the word lists by what `tokenizer` encodes as one token, and checks that all prompts have one length.
    ///
    /// # Errors
    ///
    /// When too few words survive, or when the tokenizer does not know the templates' words or splits prompts of
    /// different templates into different numbers of tokens.
    pub(crate) fn new(
        tokenizer: &lm::Tokenizer,
        texts: &'static [&'static str],
        casting: Casting,
        domain: u64,
    ) -> Result<Self, Error> {
        let mut names: Vec<&'static str> = lists::MALE_NAMES.into_iter().chain(lists::FEMALE_NAMES).collect();
        names.shuffle(&mut ChaCha8Rng::seed_from_u64(NAME_ORDER_SEED));
        let wording = Self {
            bos: tokenizer.bos(),
            names: surviving(tokenizer, "names", &names, NEEDED_NAMES)?,
            objects: surviving(tokenizer, "objects", &lists::OBJECTS, NEEDED_OBJECTS)?,
            places: surviving(tokenizer, "places", &lists::PLACES, NEEDED_PLACES)?,
            texts,
            templates: texts
                .iter()
                .map(|text| parts(tokenizer, text))
                .collect::<Result<_, _>>()?,
            casting,
            domain,
        };
        wording.check_prompts(tokenizer)?;
        Ok(wording)
    }

    pub(crate) fn names(&self) -> &[Word] {
        &self.names
    }

    /// The gender of each name.
    pub(crate) fn genders(&self) -> Vec<Gender> {
        let gender = |name: &Word| match lists::FEMALE_NAMES.contains(&name.text) {
            true => Gender::Female,
            false => Gender::Male,
        };
        self.names.iter().map(gender).collect()
    }

    /// Draws what a prompt says, until `sample` is dealt it.
    pub(crate) fn draw(&self, sample: Sample, order: usize, rng: &mut ChaCha8Rng) -> Scene {
        let n_names = match sample.is_halved() {
            true => self.names.len() / 2,
            false => self.names.len(),
        };
        loop {
            let template = rng.random_range(0..self.templates.len());
            let first = rng.random_range(0..n_names);
            let other = rng.random_range(0..n_names - 1);
            let second = if other < first { other } else { other + 1 };
            let scene = Scene {
                template,
                people: [first, second],
                order,
                object: rng.random_range(0..self.objects.len()),
                place: rng.random_range(0..self.places.len()),
            };
            if self.sample_of(scene) == sample {
                return scene;
            }
        }
    }

    /// The sample that a prompt belongs to. Words that the template does not use have no influence.
    fn sample_of(&self, scene: Scene) -> Sample {
        let (mut object, mut place) = (0, 0);
        for part in &self.templates[scene.template] {
            match part {
                Part::Object => object = scene.object,
                Part::Place => place = scene.place,
                Part::Tokens(_) | Part::Person(_) => {}
            }
        }
        let [first, second] = scene.people;
        let ids = [scene.template, first, second, scene.order, object, place];
        Sample::ALL[(stable_hash(self.domain, &ids) % Sample::ALL.len() as u64) as usize]
    }

    /// Token ids, and the position of each role.
    pub(crate) fn tokens(&self, scene: &Scene) -> (Vec<u32>, Vec<(Role, usize)>) {
        let mut ids = vec![self.bos];
        let mut positions = Vec::new();
        for part in &self.templates[scene.template] {
            let next = ids.len();
            match part {
                Part::Tokens(tokens) => ids.extend(tokens),
                Part::Person(person) => {
                    let mention = (self.casting)(*person, scene);
                    positions.push((mention.role, next));
                    if let Some(role) = mention.next {
                        positions.push((role, next + 1));
                    }
                    ids.push(self.names[mention.name].token);
                }
                Part::Object => ids.push(self.objects[scene.object].token),
                Part::Place => ids.push(self.places[scene.place].token),
            }
        }
        positions.push((Role::END, ids.len() - 1));
        (ids, positions)
    }

    /// Checks one prompt of each template against the tokenizer's own encoding, and their lengths.
    fn check_prompts(&self, tokenizer: &lm::Tokenizer) -> Result<(), Error> {
        let scene = |template| Scene {
            template,
            people: [0, 1],
            order: 0,
            object: 0,
            place: 0,
        };
        let first_text = self.text(&scene(0));
        let first_len = self.tokens(&scene(0)).0.len();
        for template in 0..self.templates.len() {
            let text = self.text(&scene(template));
            let (ids, _) = self.tokens(&scene(template));
            if encode(tokenizer, &text)? != ids[1..] {
                return Err(Error::MergedWords { text });
            }
            if ids.len() != first_len {
                return Err(Error::UnequalLengths {
                    first: first_text,
                    first_len,
                    second: text,
                    second_len: ids.len(),
                });
            }
        }
        Ok(())
    }

    fn text(&self, scene: &Scene) -> String {
        let mut text = PREFIX.to_owned();
        for segment in segments(self.texts[scene.template]) {
            match segment {
                Segment::Slot(slot) => {
                    let word = match slot_part(slot) {
                        Some(Part::Person(person)) => self.names[(self.casting)(person, scene).name].text,
                        Some(Part::Object) => self.objects[scene.object].text,
                        Some(Part::Place) => self.places[scene.place].text,
                        Some(Part::Tokens(_)) | None => slot,
                    };
                    text.push(' ');
                    text.push_str(word);
                }
                Segment::Text(words) => text.push_str(words),
            }
        }
        text
    }
}

/// What a slot of a template stands for.
fn slot_part(slot: &str) -> Option<Part> {
    Some(match slot {
        "a" => Part::Person(Person::First),
        "b" => Part::Person(Person::Second),
        "s" => Part::Person(Person::Repeated),
        "object" => Part::Object,
        "place" => Part::Place,
        _ => return None,
    })
}

/// The words that are one token after a space.
fn surviving(
    tokenizer: &lm::Tokenizer,
    list: &'static str,
    words: &[&'static str],
    needed: usize,
) -> Result<Vec<Word>, Error> {
    let words: Vec<Word> = words
        .iter()
        .filter_map(|text| tokenizer.token(&format!(" {text}")).map(|token| Word { text, token }))
        .collect();
    if words.len() < needed {
        return Err(Error::TooFewWords {
            list,
            found: words.len(),
            needed,
        });
    }
    Ok(words)
}

/// Encodes a template behind the prefix, slots left open.
fn parts(tokenizer: &lm::Tokenizer, template: &str) -> Result<Vec<Part>, Error> {
    let mut parts = vec![Part::Tokens(encode(tokenizer, PREFIX)?)];
    for segment in segments(template) {
        parts.push(match segment {
            Segment::Slot(text) => match slot_part(text) {
                Some(part) => part,
                None => Part::Tokens(encode(tokenizer, text)?),
            },
            Segment::Text(text) => Part::Tokens(encode(tokenizer, text)?),
        });
    }
    Ok(parts)
}

/// Encodes text whose words must all be known.
fn encode(tokenizer: &lm::Tokenizer, text: &str) -> Result<Vec<u32>, Error> {
    let failed = |source| Error::Encode {
        text: text.to_owned(),
        source,
    };
    let ids = tokenizer.encode(text).map_err(failed)?;
    let found = tokenizer.decode(&ids).map_err(failed)?;
    if found != text {
        return Err(Error::UnknownText {
            text: text.to_owned(),
            found,
        });
    }
    Ok(ids)
}
