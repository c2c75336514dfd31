//! A user's own task: a file that says what its prompts are labelled with, and a file of JSON lines with the prompts.
//!
//! `docs/tasks.md` describes both files; `configs/agreement` is an example. Nothing is generated here: prompts,
//! counterfactuals, labels, positions and answers are what the lines say, and every mistake is refused by file and line.

mod description;
mod line;
mod lines;
mod statement;

use std::collections::BTreeMap;
use std::path::Path;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use self::description::Description;
pub use self::description::STORE_COLUMNS;
use crate::by_attribute::Labels;
use crate::error::Error;
use crate::family::Family;
use crate::names::{Attribute, Role};
use crate::prompt::{Origin, Prompt};
use crate::sample::Sample;
use crate::schema::Schema;
use crate::task::Task;

/// A prompt with the counterfactual prompts of each edited attribute.
#[derive(Debug, Clone)]
struct Example {
    prompt: Prompt,
    counterfactuals: BTreeMap<Attribute, Prompt>,
}

/// A task that is read from files.
#[derive(Debug, Clone)]
pub struct FileTask {
    schema: Schema,
    /// The values of each attribute in words.
    values: BTreeMap<Attribute, Vec<String>>,
    binary: Option<Attribute>,
    told: BTreeMap<Role, Vec<Attribute>>,
    examples: Vec<Example>,
    /// Indices of the examples of each sample, in the order of [`Sample::ALL`].
    samples: [Vec<usize>; Sample::ALL.len()],
}

/// The attributes and roles that a task file describes.
///
/// # Errors
///
/// A file that cannot be read, or whose parts do not fit together.
pub(crate) fn schema(path: &Path) -> Result<Schema, Error> {
    Ok(Description::read(path)?.schema(path))
}

impl FileTask {
    /// Reads the task file at `path` and the prompts that it names, in the tokens of one model.
    ///
    /// # Errors
    ///
    /// Those of [`TaskSource::schema`](crate::TaskSource::schema); [`Error::TaskLine`] for whatever is wrong with a prompt.
    pub fn open(path: &Path, tokenizer: &text::Tokenizer) -> Result<Self, Error> {
        let description = Description::read(path)?;
        let read = lines::read(path, &description, tokenizer)?;
        let binary = description.binary(path, &read.values)?;
        Ok(Self {
            schema: description.schema(path),
            values: read.values,
            binary,
            told: description.told,
            examples: read.examples,
            samples: read.samples,
        })
    }
}

impl Task for FileTask {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn n_values(&self, attribute: Attribute) -> usize {
        self.values.get(&attribute).map_or(0, Vec::len)
    }

    fn value_name(&self, attribute: Attribute, value: usize) -> &str {
        &self.values[&attribute][value]
    }

    fn binary_attribute(&self) -> Option<Attribute> {
        self.binary
    }

    fn told_by_token(&self, role: Role) -> &[Attribute] {
        self.told.get(&role).map_or(&[], Vec::as_slice)
    }

    /// One family for each attribute: its values.
    fn families(&self) -> Vec<Family> {
        let family = |attribute: Attribute| {
            Family::new(attribute.as_str(), self.n_values(attribute), move |labels: &Labels| {
                [labels.get(attribute), None]
            })
        };
        self.schema.attributes().map(family).collect()
    }

    fn available(&self, sample: Sample) -> Option<usize> {
        Some(self.samples[sample as usize].len())
    }

    /// Draws without replacement: fewer than `n` where the file has fewer.
    fn sample(&self, sample: Sample, n: usize, seed: u64) -> Vec<Prompt> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(sample as u64);
        let mut drawn = self.samples[sample as usize].clone();
        drawn.shuffle(&mut rng);
        drawn.truncate(n);
        drawn
            .into_iter()
            .map(|index| self.examples[index].prompt.clone())
            .collect()
    }

    /// Those that the prompts' lines give.
    fn counterfactuals(&self, prompts: &[Prompt], attribute: Attribute, _seed: u64) -> Vec<Prompt> {
        let counterfactual = |prompt: &Prompt| {
            let example = match prompt.origin {
                Origin::Example(index) => self.examples.get(index),
                Origin::Scene(_) => None,
            };
            let found = example.and_then(|example| example.counterfactuals.get(&attribute));
            found.unwrap_or(prompt).clone()
        };
        prompts.iter().map(counterfactual).collect()
    }
}
