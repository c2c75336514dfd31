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
use crate::sample::Sample;
use crate::template::{PREFIX, Segment, segments};
use crate::words::{InPlace, Word, WordList, in_place};

/// Mixes the genders in the order of the names; the same for every model.
const NAME_ORDER_SEED: u64 = 0;

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

/// What a slot of a template stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Person(Person),
    Object,
    Place,
}

/// The lists that slots are filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
enum List {
    Names,
    Objects,
    Places,
}

/// A template in tokens.
#[derive(Debug, Clone)]
struct Template {
    /// The tokens of the text, with some word in each slot.
    ids: Vec<u32>,
    /// The slots and their positions in `ids`, in order.
    slots: Vec<(usize, Slot)>,
}

/// Who is meant by a person of a template.
pub(crate) type Casting = fn(Person, &Scene) -> Mention;

/// What a task's prompts are made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Texts with slots.
    pub(crate) templates: &'static [&'static str],
    pub(crate) casting: Casting,
    /// Whether the prompts are completed by names.
    pub(crate) names_follow: bool,
    /// The domain of the hash that deals prompts to samples.
    pub(crate) domain: u64,
}

/// The words of a task, in the tokens of one model.
#[derive(Debug, Clone)]
pub(crate) struct Wording {
    plan: Plan,
    /// Begins every prompt, where the model has such a token.
    bos: Option<u32>,
    names: Vec<Word>,
    objects: Vec<Word>,
    places: Vec<Word>,
    templates: Vec<Template>,
}

impl List {
    const ALL: [Self; 3] = [Self::Names, Self::Objects, Self::Places];

    /// Fewest words that a tokenizer must keep whole.
    fn needed(self) -> usize {
        match self {
            Self::Names => 40,
            Self::Objects => 8,
            Self::Places => 5,
        }
    }

    /// The words, in the order in which values are numbered.
    fn words(self) -> Vec<&'static str> {
        match self {
            Self::Names => {
                let mut names: Vec<&'static str> = lists::MALE_NAMES.into_iter().chain(lists::FEMALE_NAMES).collect();
                names.shuffle(&mut ChaCha8Rng::seed_from_u64(NAME_ORDER_SEED));
                names
            }
            Self::Objects => lists::OBJECTS.to_vec(),
            Self::Places => lists::PLACES.to_vec(),
        }
    }
}

/// What is looked at: a tokenizer, and the words that stand in all slots but one.
struct Survey<'a> {
    tokenizer: &'a text::Tokenizer,
    plan: Plan,
    /// Two names, an object and a place.
    fillers: [&'static str; 4],
}

impl Survey<'_> {
    /// The words of a template from segment to segment, the slots filled.
    fn pieces(&self, template: &str) -> Vec<(String, Option<Slot>)> {
        let mut pieces = vec![(PREFIX.to_owned(), None)];
        pieces.extend(segments(template).into_iter().map(|segment| match segment {
            Segment::Text(text) => (text.to_owned(), None),
            Segment::Slot(name) => match slot_of(name) {
                Some(slot) => (format!(" {}", self.filler(slot)), Some(slot)),
                None => (format!(" {name}"), None),
            },
        }));
        pieces
    }

    fn filler(&self, slot: Slot) -> &'static str {
        let [first, second, object, place] = self.fillers;
        match slot {
            Slot::Person(Person::First) => first,
            Slot::Person(Person::Second | Person::Repeated) => second,
            Slot::Object => object,
            Slot::Place => place,
        }
    }

    /// The words of a list that are one token, the same, in all slots of the list and, of names that complete prompts, behind
    /// the prompts.
    fn surviving(&self, list: List, words: &[&'static str]) -> Vec<Word> {
        let mut places = Vec::new();
        for template in self.plan.templates {
            let pieces = self.pieces(template);
            for (place, (_, slot)) in pieces.iter().enumerate() {
                if slot.is_some_and(|slot| list_of(slot) == list) {
                    let (before, after) = (joined(&pieces[..place]), joined(&pieces[place + 1..]));
                    places.push(in_place(self.tokenizer, words, &before, &after));
                }
            }
            if list == List::Names && self.plan.names_follow {
                places.push(in_place(self.tokenizer, words, &joined(&pieces), ""));
            }
        }
        let words_of = |place: &Option<InPlace>| place.as_ref().map_or(Vec::new(), |place| place.words.clone());
        let mut kept = places.first().map_or(Vec::new(), words_of);
        for place in &places {
            let here = words_of(place);
            kept.retain(|word| here.contains(word));
        }
        kept
    }

    /// A template in tokens.
    fn template(&self, text: &str, words: [&[Word]; 3]) -> Result<Template, Error> {
        let pieces = self.pieces(text);
        let whole = joined(&pieces);
        let mut slots = Vec::new();
        for (place, (_, slot)) in pieces.iter().enumerate() {
            let Some(slot) = *slot else { continue };
            let of_list = words[list_of(slot) as usize].iter().map(|word| word.text);
            let (before, after) = (joined(&pieces[..place]), joined(&pieces[place + 1..]));
            let here = in_place(self.tokenizer, &of_list.collect::<Vec<_>>(), &before, &after);
            let here = here.ok_or_else(|| Error::MergedWords { text: whole.clone() })?;
            slots.push((here.position, slot));
        }
        Ok(Template {
            ids: encode(self.tokenizer, &whole)?,
            slots,
        })
    }
}

/// The text of some pieces of a template.
fn joined(pieces: &[(String, Option<Slot>)]) -> String {
    pieces.iter().map(|piece| piece.0.as_str()).collect()
}

impl Wording {
    /// Filters the word lists by what `tokenizer` keeps whole in the prompts, and checks that all prompts have one length.
    ///
    /// # Errors
    ///
    /// When too few words survive, or when the tokenizer does not know the templates' words or splits prompts of
    /// different templates into different numbers of tokens.
    pub(crate) fn new(tokenizer: &text::Tokenizer, plan: Plan) -> Result<Self, Error> {
        let lists = List::ALL.map(List::words);
        let [names, objects, places] = lists.each_ref();
        let fillers = |words: &[&'static str], n: usize| -> Vec<&'static str> {
            let is_whole = |word: &&&'static str| tokenizer.token(&format!(" {word}")).is_some();
            words.iter().filter(is_whole).chain(words).take(n).copied().collect()
        };
        let (people, things, spots) = (fillers(names, 2), fillers(objects, 1), fillers(places, 1));
        let mut survey = Survey {
            tokenizer,
            plan,
            fillers: [people[0], people[1], things[0], spots[0]],
        };
        for template in plan.templates {
            encode(tokenizer, &joined(&survey.pieces(template)))?;
        }
        let [mut names, mut objects, mut places] = [Vec::new(), Vec::new(), Vec::new()];
        for (list, (words, kept)) in
            List::ALL
                .into_iter()
                .zip(lists.iter().zip([&mut names, &mut objects, &mut places]))
        {
            *kept = survey.surviving(list, words);
            if kept.len() < list.needed() {
                return Err(Error::TooFewWords {
                    list: list.into(),
                    found: kept.len(),
                    of: words.len(),
                    needed: list.needed(),
                });
            }
        }
        survey.fillers = [names[0].text, names[1].text, objects[0].text, places[0].text];
        let templates = plan.templates.iter();
        let wording = Self {
            plan,
            bos: tokenizer.bos(),
            templates: templates
                .map(|text| survey.template(text, [&names, &objects, &places]))
                .collect::<Result<_, _>>()?,
            names,
            objects,
            places,
        };
        wording.check_prompts(tokenizer)?;
        Ok(wording)
    }

    /// How many words of each list are left.
    pub(crate) fn word_lists(&self) -> Vec<WordList> {
        let kept = [self.names.len(), self.objects.len(), self.places.len()];
        let lists = List::ALL.into_iter().zip(kept);
        lists
            .map(|(list, kept)| WordList {
                list: list.into(),
                kept,
                of: list.words().len(),
            })
            .collect()
    }

    /// The tokens of words that follow every prompt; none where they are not one token each, the same after all prompts.
    pub(crate) fn following<const N: usize>(
        &self,
        tokenizer: &text::Tokenizer,
        words: [&'static str; N],
    ) -> Option<[u32; N]> {
        let mut tokens = None;
        for template in 0..self.templates.len() {
            let here = in_place(tokenizer, &words, &self.text(&self.scene(template, 0)), "")?;
            let of = |word| {
                here.words
                    .iter()
                    .find(|known| known.text == word)
                    .map(|known| known.token)
            };
            let found: Vec<u32> = words.iter().filter_map(|word| of(*word)).collect();
            let found: [u32; N] = found.try_into().ok()?;
            if tokens.is_some_and(|known| known != found) {
                return None;
            }
            tokens = Some(found);
        }
        tokens
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
        let slots = &self.templates[scene.template].slots;
        let has = |slot| slots.iter().any(|(_, other)| *other == slot);
        let object = if has(Slot::Object) { scene.object } else { 0 };
        let place = if has(Slot::Place) { scene.place } else { 0 };
        let [first, second] = scene.people;
        let ids = [scene.template, first, second, scene.order, object, place];
        Sample::ALL[(stable_hash(self.plan.domain, &ids) % Sample::ALL.len() as u64) as usize]
    }

    /// Token ids, and the position of each role.
    pub(crate) fn tokens(&self, scene: &Scene) -> (Vec<u32>, Vec<(Role, usize)>) {
        let template = &self.templates[scene.template];
        let mut ids: Vec<u32> = self.bos.into_iter().chain(template.ids.iter().copied()).collect();
        let added = ids.len() - template.ids.len();
        let mut positions = Vec::new();
        for (position, slot) in &template.slots {
            let position = added + position;
            ids[position] = match slot {
                Slot::Person(person) => {
                    let mention = (self.plan.casting)(*person, scene);
                    positions.push((mention.role, position));
                    positions.extend(mention.next.map(|role| (role, position + 1)));
                    self.names[mention.name].token
                }
                Slot::Object => self.objects[scene.object].token,
                Slot::Place => self.places[scene.place].token,
            };
        }
        positions.push((Role::END, ids.len() - 1));
        (ids, positions)
    }

    /// A scene with the words of that number, counted from the beginning and, of the second person, from the end.
    fn scene(&self, template: usize, word: usize) -> Scene {
        Scene {
            template,
            people: [word, self.names.len() - 1 - word],
            order: word % 2,
            object: word,
            place: word,
        }
    }

    /// Checks some prompts of each template against the tokenizer's own encoding, and their lengths.
    fn check_prompts(&self, tokenizer: &text::Tokenizer) -> Result<(), Error> {
        let first = self.scene(0, 0);
        let first_len = self.tokens(&first).0.len();
        let fewest = self.objects.len().min(self.places.len()).min(self.names.len() / 2);
        for (template, word) in (0..self.templates.len()).flat_map(|t| [0, 1, fewest - 1].map(|word| (t, word))) {
            let scene = self.scene(template, word);
            let (text, ids) = (self.text(&scene), self.tokens(&scene).0);
            if encode(tokenizer, &text)? != ids[usize::from(self.bos.is_some())..] {
                return Err(Error::MergedWords { text });
            }
            if ids.len() != first_len {
                return Err(Error::UnequalLengths {
                    first: self.text(&first),
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
        for segment in segments(self.plan.templates[scene.template]) {
            match segment {
                Segment::Slot(slot) => {
                    let word = match slot_of(slot) {
                        Some(Slot::Person(person)) => self.names[(self.plan.casting)(person, scene).name].text,
                        Some(Slot::Object) => self.objects[scene.object].text,
                        Some(Slot::Place) => self.places[scene.place].text,
                        None => slot,
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
fn slot_of(name: &str) -> Option<Slot> {
    Some(match name {
        "a" => Slot::Person(Person::First),
        "b" => Slot::Person(Person::Second),
        "s" => Slot::Person(Person::Repeated),
        "object" => Slot::Object,
        "place" => Slot::Place,
        _ => return None,
    })
}

/// The list that a slot is filled from.
fn list_of(slot: Slot) -> List {
    match slot {
        Slot::Person(_) => List::Names,
        Slot::Object => List::Objects,
        Slot::Place => List::Places,
    }
}

/// Encodes text whose words must all be known.
fn encode(tokenizer: &text::Tokenizer, text: &str) -> Result<Vec<u32>, Error> {
    let failed = |source| Error::Encode {
        text: text.to_owned(),
        source,
    };
    let ids = tokenizer.encode(text).map_err(failed)?;
    let found = tokenizer.decode(&ids).map_err(failed)?;
    // Some tokenizers put a space before a text.
    if found.trim_start() != text {
        return Err(Error::UnknownText {
            text: text.to_owned(),
            found,
        });
    }
    Ok(ids)
}
