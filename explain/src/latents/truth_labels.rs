//! What is known of the tokens of a store: the labels of the written world's tokens, or the attributes of labelled prompts.

use std::collections::{BTreeMap, HashMap};

use activations::store::{Row, StoredWindows};
use tasks::world::World;
use tasks::{ByAttribute, Labels, Task};
use text::Tokenizer;

use crate::Error;

/// A statement that holds of some tokens: a family and a value of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TruthLabel {
    /// Of what it speaks: `role`, `entity`, `IO`.
    pub family: String,
    /// What it says.
    pub value: String,
}

impl std::fmt::Display for TruthLabel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} = {}", self.family, self.value)
    }
}

/// All labels, and where they hold.
#[derive(Debug)]
pub struct TruthLabels {
    labels: Vec<TruthLabel>,
    places: Places,
}

#[derive(Debug)]
enum Places {
    /// By window and position.
    Tokens(HashMap<u32, Vec<Vec<u32>>>),
    /// By the values of a prompt's attributes: the number of the first value of each.
    Prompts(ByAttribute),
}

impl TruthLabels {
    /// Those of the written world's documents, made of `seed`, in the windows of a store.
    ///
    /// # Errors
    ///
    /// Windows that do not hold the documents of that seed, token by token.
    pub fn of_world(windows: &StoredWindows, tokenizer: &Tokenizer, seed: u64) -> Result<Self, Error> {
        let world = World::new();
        let mut numbers: BTreeMap<(&'static str, String), u32> = BTreeMap::new();
        let mut tokens: HashMap<u32, Vec<Vec<u32>>> = HashMap::new();
        let before = usize::from(tokenizer.bos().is_some());
        let mut current: Option<(u32, Vec<Vec<u32>>, usize)> = None;
        for (number, window) in (0_u32..).zip(windows.read(0..windows.len())?) {
            if current
                .as_ref()
                .is_none_or(|(document, ..)| *document != window.document)
            {
                let document = world.document(seed, u64::from(window.document));
                let label = |piece: &tasks::world::Piece| {
                    let of = eval::truth::predicates(&piece.label).into_iter();
                    of.map(|predicate| {
                        let next = numbers.len() as u32;
                        *numbers.entry(predicate).or_insert(next)
                    })
                    .collect()
                };
                current = Some((window.document, document.pieces.iter().map(label).collect(), 0));
            }
            let Some((document, of_document, used)) = &mut current else {
                continue;
            };
            let end = *used + window.ids.len().saturating_sub(before);
            let Some(here) = of_document.get(*used..end) else {
                return Err(Error::Latents {
                    reason: format!(
                        "the store does not hold document {document} of the world's seed {seed}; harvest it again"
                    ),
                });
            };
            let special = std::iter::repeat_n(Vec::new(), before);
            tokens.insert(number, special.chain(here.iter().cloned()).collect());
            *used = end;
        }
        let mut labels = vec![None; numbers.len()];
        for ((family, value), number) in numbers {
            labels[number as usize] = Some(TruthLabel {
                family: family.to_owned(),
                value,
            });
        }
        Ok(Self {
            labels: labels.into_iter().flatten().collect(),
            places: Places::Tokens(tokens),
        })
    }

    /// The values of a task's labelled attributes.
    pub fn of_task(task: &dyn Task) -> Self {
        let (mut labels, mut first) = (Vec::new(), Vec::new());
        for (attribute, values) in task.labelled().iter() {
            first.push((attribute, labels.len()));
            labels.extend((0..values).map(|value| TruthLabel {
                family: attribute.to_string(),
                value: task.value_name(attribute, value).to_owned(),
            }));
        }
        Self {
            labels,
            places: Places::Prompts(first.into_iter().collect()),
        }
    }

    /// All of them, by number.
    pub fn labels(&self) -> &[TruthLabel] {
        &self.labels
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// Those that hold of a row of the store.
    pub fn of_row(&self, row: &Row) -> Vec<u32> {
        self.at(row.row, row.position as usize, row.labels.as_ref())
    }

    /// Those that hold at a position of a window; `prompt` are the labels of the prompt, where it is one.
    pub fn at(&self, window: u32, position: usize, prompt: Option<&Labels>) -> Vec<u32> {
        match &self.places {
            Places::Tokens(tokens) => tokens
                .get(&window)
                .and_then(|window| window.get(position))
                .cloned()
                .unwrap_or_default(),
            Places::Prompts(first) => {
                let of = prompt.into_iter().flat_map(Labels::iter);
                of.filter_map(|(attribute, value)| Some((first.get(attribute)? + value) as u32))
                    .collect()
            }
        }
    }
}
