//! The indirect-object task for one tokenizer: samples of labelled prompts and their counterfactuals.
//!
//! Templates and patterns are those of "Towards principled evaluations of sparse autoencoders"
//! (<https://arxiv.org/abs/2405.08366>). Samples never share a prompt: a stable hash of what a prompt says deals every
//! possible prompt to exactly one [`Sample`].

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::attributes::{Attribute, Role};
use crate::error::Error;
use crate::lists;
use crate::partition::stable_hash;
use crate::prompt::{Prompt, Scene};
use crate::template::{PREFIX, TEMPLATES};
use crate::tokens::{Part, Word, encode, parts, surviving};

/// Fewest words of each list that a tokenizer must know.
const NEEDED_NAMES: usize = 40;
const NEEDED_OBJECTS: usize = 8;
const NEEDED_PLACES: usize = 5;
/// Mixes the genders in the order of the names; the same for every model.
const NAME_ORDER_SEED: u64 = 0;
/// The domain of the hash that deals prompts to samples.
const SAMPLE_DOMAIN: u64 = 0x101;
/// Counterfactual targets use the random streams from here on, samples those before.
const FIRST_COUNTERFACTUAL_STREAM: u64 = 16;

/// A sample of prompts, disjoint from the other three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sample {
    /// For fitting dictionaries: all names.
    Train,
    /// For measuring edits: names of the first half only, so that counterfactual names never clash.
    Evaluation,
    /// For measuring what latents respond to: all names.
    Interpretability,
    /// For finding sites: names of the first half only.
    Locate,
}

impl Sample {
    /// All samples.
    pub const ALL: [Self; 4] = [Self::Train, Self::Evaluation, Self::Interpretability, Self::Locate];
}

/// The indirect-object task, in the tokens of one model.
#[derive(Debug, Clone)]
pub struct IoiTask {
    bos: u32,
    names: Vec<Word>,
    objects: Vec<Word>,
    places: Vec<Word>,
    templates: Vec<Vec<Part>>,
}

impl IoiTask {
    /// Filters the word lists by what `tokenizer` encodes as one token, and checks that all prompts have one length.
    ///
    /// # Errors
    ///
    /// When too few words survive, or when the tokenizer does not know the templates' words or splits prompts of
    /// different templates into different numbers of tokens.
    pub fn new(tokenizer: &lm::Tokenizer) -> Result<Self, Error> {
        let mut names: Vec<&'static str> = lists::MALE_NAMES.into_iter().chain(lists::FEMALE_NAMES).collect();
        names.shuffle(&mut ChaCha8Rng::seed_from_u64(NAME_ORDER_SEED));
        let task = Self {
            bos: tokenizer.bos(),
            names: surviving(tokenizer, "names", &names, NEEDED_NAMES)?,
            objects: surviving(tokenizer, "objects", &lists::OBJECTS, NEEDED_OBJECTS)?,
            places: surviving(tokenizer, "places", &lists::PLACES, NEEDED_PLACES)?,
            templates: TEMPLATES
                .iter()
                .map(|template| parts(tokenizer, template))
                .collect::<Result<_, _>>()?,
        };
        task.check_prompts(tokenizer)?;
        Ok(task)
    }

    /// Number of values of an attribute.
    pub fn n_values(&self, attribute: Attribute) -> usize {
        match attribute {
            Attribute::Io | Attribute::S => self.names.len(),
            Attribute::Pos => 2,
        }
    }

    /// A value of an attribute in words: a name, or `ABB` or `BAB`.
    ///
    /// # Panics
    ///
    /// When `value` is not below [`IoiTask::n_values`].
    pub fn value_name(&self, attribute: Attribute, value: usize) -> &str {
        match attribute {
            Attribute::Io | Attribute::S => self.names[value].text,
            Attribute::Pos => ["ABB", "BAB"][value],
        }
    }

    /// The token of a name, by its value in the attributes `IO` and `S`.
    ///
    /// # Panics
    ///
    /// When `value` is not below the number of names.
    pub fn name_token(&self, value: usize) -> u32 {
        self.names[value].token
    }

    /// Draws `n` prompts, first those of pattern ABB (half of them, rounded up), then those of pattern BAB.
    ///
    /// Prompts are drawn with replacement within a sample; different samples have no prompt in common.
    pub fn sample(&self, sample: Sample, n: usize, seed: u64) -> Vec<Prompt> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(sample as u64);
        (0..n)
            .map(|row| self.assemble(self.draw(sample, usize::from(row >= n.div_ceil(2)), &mut rng)))
            .collect()
    }

    /// One counterfactual prompt for each of `prompts`, which differs from it in `attribute` and in nothing else.
    ///
    /// New names come from the second half of the names (indirect objects from its first quarter, subjects from its
    /// last), so they never clash with the prompts of [`Sample::Evaluation`] and [`Sample::Locate`]. `Pos` swaps the
    /// first two names.
    pub fn counterfactuals(&self, prompts: &[Prompt], attribute: Attribute, seed: u64) -> Vec<Prompt> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(FIRST_COUNTERFACTUAL_STREAM + attribute.index() as u64);
        let n = self.names.len();
        let (half, quarter) = (n / 2, n - n / 4);
        prompts
            .iter()
            .map(|prompt| {
                let mut scene = prompt.scene;
                let mut other_name = |targets: std::ops::Range<usize>| {
                    loop {
                        let name = rng.random_range(targets.clone());
                        if name != scene.io && name != scene.s {
                            return name;
                        }
                    }
                };
                match attribute {
                    Attribute::Io => scene.io = other_name(half..quarter),
                    Attribute::S => scene.s = other_name(quarter..n),
                    Attribute::Pos => scene.pos = 1 - scene.pos,
                }
                self.assemble(scene)
            })
            .collect()
    }

    /// Draws what a prompt says, until `sample` is dealt it.
    fn draw(&self, sample: Sample, pos: usize, rng: &mut ChaCha8Rng) -> Scene {
        let n_names = match sample {
            Sample::Train | Sample::Interpretability => self.names.len(),
            Sample::Evaluation | Sample::Locate => self.names.len() / 2,
        };
        loop {
            let template = rng.random_range(0..self.templates.len());
            let io = rng.random_range(0..n_names);
            let other = rng.random_range(0..n_names - 1);
            let s = if other < io { other } else { other + 1 };
            let object = rng.random_range(0..self.objects.len());
            let place = rng.random_range(0..self.places.len());
            let scene = Scene {
                template,
                io,
                s,
                pos,
                object,
                place,
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
                Part::Tokens(_) | Part::First | Part::Second | Part::Subject => {}
            }
        }
        let ids = [scene.template, scene.io, scene.s, scene.pos, object, place];
        Sample::ALL[(stable_hash(SAMPLE_DOMAIN, &ids) % Sample::ALL.len() as u64) as usize]
    }

    fn assemble(&self, scene: Scene) -> Prompt {
        let (io_token, s_token) = (self.names[scene.io].token, self.names[scene.s].token);
        let (first, second) = if scene.pos == 0 {
            (io_token, s_token)
        } else {
            (s_token, io_token)
        };
        let mut ids = vec![self.bos];
        let mut positions = [0; 5];
        for part in &self.templates[scene.template] {
            let next = ids.len();
            match part {
                Part::Tokens(tokens) => ids.extend(tokens),
                Part::First | Part::Second => {
                    let is_first = matches!(part, Part::First);
                    if is_first == (scene.pos == 0) {
                        positions[Role::Io.index()] = next;
                    } else {
                        positions[Role::S1.index()] = next;
                        positions[Role::S1Plus1.index()] = next + 1;
                    }
                    ids.push(if is_first { first } else { second });
                }
                Part::Subject => {
                    positions[Role::S2.index()] = next;
                    ids.push(s_token);
                }
                Part::Object => ids.push(self.objects[scene.object].token),
                Part::Place => ids.push(self.places[scene.place].token),
            }
        }
        positions[Role::End.index()] = ids.len() - 1;
        Prompt {
            ids,
            labels: [scene.io, scene.s, scene.pos],
            scene,
            io_token,
            s_token,
            positions,
        }
    }

    /// Checks one prompt of each template against the tokenizer's own encoding, and their lengths.
    fn check_prompts(&self, tokenizer: &lm::Tokenizer) -> Result<(), Error> {
        let scene = |template| Scene {
            template,
            io: 0,
            s: 1,
            pos: 0,
            object: 0,
            place: 0,
        };
        let first_text = self.text(scene(0));
        let first_len = self.assemble(scene(0)).ids.len();
        for template in 0..self.templates.len() {
            let text = self.text(scene(template));
            let ids = self.assemble(scene(template)).ids;
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

    fn text(&self, scene: Scene) -> String {
        let (io, s) = (self.names[scene.io].text, self.names[scene.s].text);
        let (first, second) = if scene.pos == 0 { (io, s) } else { (s, io) };
        let filled = TEMPLATES[scene.template]
            .replace("{a}", first)
            .replace("{b}", second)
            .replace("{s}", s)
            .replace("{object}", self.objects[scene.object].text)
            .replace("{place}", self.places[scene.place].text);
        format!("{PREFIX} {filled}")
    }
}
