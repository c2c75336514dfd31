//! The indirect-object task: two people, one of whom is named again; the other one completes the sentence.
//!
//! Templates and patterns are those of "Towards principled evaluations of sparse autoencoders"
//! (<https://arxiv.org/abs/2405.08366>). Samples never share a prompt: a stable hash of what a prompt says deals every
//! possible prompt to exactly one [`Sample`].

use std::ops::Range;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::by_attribute::Labels;
use crate::error::Error;
use crate::family::Family;
use crate::names::{Attribute, Role, TaskName};
use crate::prompt::{Origin, Prompt, Scene};
use crate::sample::Sample;
use crate::schema::Schema;
use crate::source::TaskSource;
use crate::task::Task;
use crate::template::TEMPLATES;
use crate::wording::{Mention, Person, Plan, Wording};
use crate::words::WordList;

/// The domain of the hash that deals prompts to samples.
const SAMPLE_DOMAIN: u64 = 0x101;
/// Counterfactual targets use the random streams from here on, samples those before.
const FIRST_COUNTERFACTUAL_STREAM: u64 = 16;

/// The indirect-object task, in the tokens of one model.
///
/// `IO` and `S` are indices into the names, `Pos` is 0 for `ABB` (the indirect object comes first) and 1 for `BAB`.
#[derive(Debug, Clone)]
pub struct IoiTask {
    schema: Schema,
    wording: Wording,
}

/// The attributes and roles of the indirect-object task.
pub(crate) fn schema() -> Schema {
    Schema {
        source: TaskSource::Ioi,
        name: TaskName::IOI,
        edited: vec![Attribute::IO, Attribute::S, Attribute::POS],
        labelled: Vec::new(),
        roles: vec![Role::IO, Role::S1, Role::S1_PLUS_1, Role::S2, Role::END],
    }
}

/// The two people of a scene: `[indirect object, subject]`.
fn casting(person: Person, scene: &Scene) -> Mention {
    let [io, s] = scene.people;
    let is_object = match person {
        Person::First => scene.order == 0,
        Person::Second => scene.order == 1,
        Person::Repeated => {
            return Mention {
                name: s,
                role: Role::S2,
                next: None,
            };
        }
    };
    match is_object {
        true => Mention {
            name: io,
            role: Role::IO,
            next: None,
        },
        false => Mention {
            name: s,
            role: Role::S1,
            next: Some(Role::S1_PLUS_1),
        },
    }
}

impl IoiTask {
    /// The task in the tokens of one model.
    ///
    /// # Errors
    ///
    /// When too few words survive, or when the tokenizer does not know the templates' words or splits prompts of
    /// different templates into different numbers of tokens.
    pub fn new(tokenizer: &text::Tokenizer) -> Result<Self, Error> {
        Ok(Self {
            schema: schema(),
            wording: Wording::new(
                tokenizer,
                Plan {
                    templates: &TEMPLATES,
                    casting,
                    names_follow: true,
                    domain: SAMPLE_DOMAIN,
                },
            )?,
        })
    }

    fn assemble(&self, scene: Scene) -> Prompt {
        let (ids, positions) = self.wording.tokens(&scene);
        let [io, s] = scene.people;
        Prompt {
            ids,
            labels: Labels::ioi([io, s, scene.order]),
            origin: Origin::Scene(scene),
            right_token: self.wording.names()[io].token,
            wrong_token: self.wording.names()[s].token,
            positions,
        }
    }
}

impl Task for IoiTask {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn n_values(&self, attribute: Attribute) -> usize {
        match attribute {
            Attribute::IO | Attribute::S => self.wording.names().len(),
            Attribute::POS => 2,
            _ => 0,
        }
    }

    /// A name, or `ABB` or `BAB`.
    fn value_name(&self, attribute: Attribute, value: usize) -> &str {
        match attribute {
            Attribute::POS => ["ABB", "BAB"][value],
            _ => self.wording.names()[value].text,
        }
    }

    fn binary_attribute(&self) -> Option<Attribute> {
        Some(Attribute::POS)
    }

    fn told_by_token(&self, role: Role) -> &[Attribute] {
        match role {
            Role::IO => &[Attribute::IO, Attribute::POS],
            Role::S1 => &[Attribute::S, Attribute::POS],
            Role::S1_PLUS_1 => &[Attribute::POS],
            Role::S2 => &[Attribute::S],
            _ => &[],
        }
    }

    /// Section 4.3 and appendix of the paper: the pattern; a name as indirect object or subject, at whatever place, first or
    /// second; a name in the sentence, first or second; the genders.
    fn families(&self) -> Vec<Family> {
        let n = self.wording.names().len();
        let genders: Vec<usize> = self
            .wording
            .genders()
            .into_iter()
            .map(|gender| gender as usize)
            .collect();
        let gender_of = move |name: usize| genders.get(name).copied();
        let family = |name: &str, n, holds: fn([usize; 3]) -> [Option<usize>; 2]| {
            Family::new(name, n, move |labels| labels.as_ioi().map_or([None; 2], holds))
        };
        let gender = |name: &str, whose: fn([usize; 3]) -> usize| {
            let gender_of = gender_of.clone();
            Family::new(name, 2, move |labels| {
                [labels.as_ioi().and_then(|ioi| gender_of(whose(ioi))), None]
            })
        };
        vec![
            family("Pos", 2, |[_, _, pos]| [Some(pos), None]),
            family("IO", n, |[io, ..]| [Some(io), None]),
            family("IO first", n, |[io, _, pos]| [(pos == 0).then_some(io), None]),
            family("IO second", n, |[io, _, pos]| [(pos == 1).then_some(io), None]),
            family("S", n, |[_, s, _]| [Some(s), None]),
            family("S first", n, |[_, s, pos]| [(pos == 1).then_some(s), None]),
            family("S second", n, |[_, s, pos]| [(pos == 0).then_some(s), None]),
            family("name", n, |[io, s, _]| [Some(io), Some(s)]),
            family("first name", n, |[io, s, pos]| {
                [Some(if pos == 0 { io } else { s }), None]
            }),
            family("second name", n, |[io, s, pos]| {
                [Some(if pos == 0 { s } else { io }), None]
            }),
            gender("IO gender", |[io, ..]| io),
            gender("S gender", |[_, s, _]| s),
        ]
    }

    fn word_lists(&self) -> Vec<WordList> {
        self.wording.word_lists()
    }

    /// Half of the prompts (rounded up) are of pattern ABB, the others of BAB, in random order: whoever holds out the last
    /// rows, or every other one, holds out both.
    fn sample(&self, sample: Sample, n: usize, seed: u64) -> Vec<Prompt> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(sample as u64);
        let mut orders: Vec<usize> = (0..n).map(|row| usize::from(row >= n.div_ceil(2))).collect();
        orders.shuffle(&mut rng);
        orders
            .into_iter()
            .map(|order| self.assemble(self.wording.draw(sample, order, &mut rng)))
            .collect()
    }

    /// New indirect objects come from the third quarter of the names, new subjects from the last. `Pos` swaps the first two
    /// names.
    fn counterfactuals(&self, prompts: &[Prompt], attribute: Attribute, seed: u64) -> Vec<Prompt> {
        let Some(place) = self.schema.edited.iter().position(|edited| *edited == attribute) else {
            return prompts.to_vec();
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(FIRST_COUNTERFACTUAL_STREAM + place as u64);
        let n = self.wording.names().len();
        let (half, quarter) = (n / 2, n - n / 4);
        let changed = |prompt: &Prompt| {
            let Origin::Scene(mut scene) = prompt.origin else {
                return prompt.clone();
            };
            let mut other_name = |targets: Range<usize>| loop {
                let name = rng.random_range(targets.clone());
                if !scene.people.contains(&name) {
                    return name;
                }
            };
            match attribute {
                Attribute::IO => scene.people[0] = other_name(half..quarter),
                Attribute::S => scene.people[1] = other_name(quarter..n),
                _ => scene.order = 1 - scene.order,
            }
            self.assemble(scene)
        };
        prompts.iter().map(changed).collect()
    }
}
