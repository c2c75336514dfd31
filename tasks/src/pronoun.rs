//! The gendered-pronoun task: somebody else is mentioned, then a person does something, and "he" or "she" follows.
//!
//! The behaviour is that of Mathwin, Corlouer, Kran, Barez, Nanda, "Identifying a preliminary circuit for predicting
//! gendered pronouns in GPT-2 small" (2023); the bystander is added, so that there is something that an edit must leave
//! alone. The sentences are of the kind that the shipped model has read, and no template says who the bystander is to the
//! person, so that the answer depends on the person's gender only.

use std::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::by_attribute::Labels;
use crate::error::Error;
use crate::family::Family;
use crate::gender::Gender;
use crate::names::{Attribute, Role, TaskName};
use crate::prompt::{Origin, Prompt, Scene};
use crate::sample::Sample;
use crate::schema::Schema;
use crate::source::TaskSource;
use crate::task::Task;
use crate::wording::{Mention, Person, Plan, Wording};
use crate::words::WordList;

/// The prompts, all of one length with any tokenizer that keeps these words whole.
const TEMPLATES: [&str; 3] = [
    "{a} stayed at home. {b} bought a {object} because",
    "{a} stayed at home. {b} left the {place} when",
    "{a} stayed at home. {b} kept the {object} until",
];
/// The domain of the hash that deals prompts to samples.
const SAMPLE_DOMAIN: u64 = 0x102;
/// Fewest names of each gender in the quarters that counterfactual names come from: one may be taken.
const NEEDED_IN_QUARTER: usize = 2;
/// The random streams of new persons and new bystanders; samples use those before 16, the indirect object the three between.
const COUNTERFACTUAL_STREAMS: [u64; 2] = [19, 20];

/// The gendered-pronoun task, in the tokens of one model.
///
/// `Gender` and `OtherGender` are 0 for male and 1 for female; `Name` is an index into the names.
#[derive(Debug, Clone)]
pub struct PronounTask {
    schema: Schema,
    wording: Wording,
    /// Of each name.
    genders: Vec<Gender>,
    /// Tokens of "he" and "she".
    pronouns: [u32; 2],
}

/// The attributes and roles of the gendered-pronoun task.
pub(crate) fn schema() -> Schema {
    Schema {
        source: TaskSource::Pronoun,
        name: TaskName::PRONOUN,
        edited: vec![Attribute::GENDER, Attribute::OTHER_GENDER],
        labelled: vec![Attribute::NAME],
        roles: vec![Role::OTHER, Role::NAME, Role::NAME_PLUS_1, Role::END],
    }
}

/// The two people of a scene: `[the person, the other]`.
fn casting(person: Person, scene: &Scene) -> Mention {
    let [name, other] = scene.people;
    match person {
        Person::First => Mention {
            name: other,
            role: Role::OTHER,
            next: None,
        },
        Person::Second | Person::Repeated => Mention {
            name,
            role: Role::NAME,
            next: Some(Role::NAME_PLUS_1),
        },
    }
}

impl PronounTask {
    /// The task in the tokens of one model.
    ///
    /// # Errors
    ///
    /// When too few words survive, when a pronoun is not one token, or when the tokenizer does not know the templates' words
    /// or splits prompts of different templates into different numbers of tokens.
    pub fn new(tokenizer: &text::Tokenizer) -> Result<Self, Error> {
        let plan = Plan {
            templates: &TEMPLATES,
            casting,
            names_follow: false,
            domain: SAMPLE_DOMAIN,
        };
        let wording = Wording::new(tokenizer, plan)?;
        let words = [Gender::Male, Gender::Female].map(Gender::pronoun);
        let pronouns = wording.following(tokenizer, words).ok_or_else(|| Error::UnknownText {
            text: words.join(", "),
            found: "several tokens".to_owned(),
        })?;
        let genders = wording.genders();
        let n = genders.len();
        for (gender, quarter) in Gender::ALL
            .into_iter()
            .flat_map(|gender| [(gender, n / 2..n - n / 4), (gender, n - n / 4..n)])
        {
            let found = genders[quarter].iter().filter(|known| **known == gender).count();
            if found < NEEDED_IN_QUARTER {
                return Err(Error::TooFewWords {
                    list: "names (of one gender in a quarter)",
                    found,
                    of: n / 4,
                    needed: NEEDED_IN_QUARTER,
                });
            }
        }
        Ok(Self {
            schema: schema(),
            genders,
            pronouns,
            wording,
        })
    }

    fn assemble(&self, scene: Scene) -> Prompt {
        let (ids, positions) = self.wording.tokens(&scene);
        let [gender, other] = scene.people.map(|name| self.genders[name] as usize);
        Prompt {
            ids,
            labels: Labels::from_iter([
                (Attribute::GENDER, gender),
                (Attribute::OTHER_GENDER, other),
                (Attribute::NAME, scene.people[0]),
            ]),
            origin: Origin::Scene(scene),
            right_token: self.pronouns[gender],
            wrong_token: self.pronouns[1 - gender],
            positions,
        }
    }
}

impl Task for PronounTask {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn n_values(&self, attribute: Attribute) -> usize {
        match attribute {
            Attribute::GENDER | Attribute::OTHER_GENDER => Gender::ALL.len(),
            Attribute::NAME => self.genders.len(),
            _ => 0,
        }
    }

    /// `male` or `female`, or a name.
    fn value_name(&self, attribute: Attribute, value: usize) -> &str {
        match attribute {
            Attribute::NAME => self.wording.names()[value].text,
            _ => ["male", "female"][value],
        }
    }

    fn binary_attribute(&self) -> Option<Attribute> {
        Some(Attribute::GENDER)
    }

    fn told_by_token(&self, role: Role) -> &[Attribute] {
        match role {
            Role::NAME => &[Attribute::GENDER],
            Role::OTHER => &[Attribute::OTHER_GENDER],
            _ => &[],
        }
    }

    /// Each gender, whether the two are the same, and the name.
    fn families(&self) -> Vec<Family> {
        let [person, other] = [Attribute::GENDER, Attribute::OTHER_GENDER];
        vec![
            Family::new("name", self.genders.len(), |labels| [labels.get(Attribute::NAME), None]),
            Family::new("Gender", 2, move |labels| [labels.get(person), None]),
            Family::new("other gender", 2, move |labels| [labels.get(other), None]),
            Family::new("same gender", 2, move |labels| {
                let same = labels.get(person) == labels.get(other);
                [Some(usize::from(same)), None]
            }),
        ]
    }

    fn word_lists(&self) -> Vec<WordList> {
        self.wording.word_lists()
    }

    fn sample(&self, sample: Sample, n: usize, seed: u64) -> Vec<Prompt> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(sample as u64);
        (0..n)
            .map(|_| self.assemble(self.wording.draw(sample, 0, &mut rng)))
            .collect()
    }

    /// The person gets a name of the other gender from the third quarter of the names, the bystander one from the last.
    fn counterfactuals(&self, prompts: &[Prompt], attribute: Attribute, seed: u64) -> Vec<Prompt> {
        let n = self.genders.len();
        let of_gender = |names: Range<usize>, gender: Gender| -> Vec<usize> {
            names.filter(|&name| self.genders[name] == gender).collect()
        };
        let by_gender = |names: Range<usize>| Gender::ALL.map(|gender| of_gender(names.clone(), gender));
        let (half, quarter) = (n / 2, n - n / 4);
        let (place, targets) = match attribute {
            Attribute::GENDER => (0, by_gender(half..quarter)),
            Attribute::OTHER_GENDER => (1, by_gender(quarter..n)),
            _ => return prompts.to_vec(),
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(COUNTERFACTUAL_STREAMS[place]);
        let changed = |prompt: &Prompt| {
            let Origin::Scene(mut scene) = prompt.origin else {
                return prompt.clone();
            };
            let names = &targets[1 - self.genders[scene.people[place]] as usize];
            // One of the two people may have taken one of these names.
            scene.people[place] = loop {
                let name = names[rng.random_range(0..names.len())];
                if !scene.people.contains(&name) {
                    break name;
                }
            };
            self.assemble(scene)
        };
        prompts.iter().map(changed).collect()
    }
}
