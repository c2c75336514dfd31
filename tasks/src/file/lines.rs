//! The prompts of a task, line by line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use text::Tokenizer;

use super::Example;
use super::description::Description;
use super::line::Line;
use super::statement::{Reader, Statement, quoted};
use crate::by_attribute::Labels;
use crate::error::Error;
use crate::names::Attribute;
use crate::partition::stable_hash;
use crate::prompt::{Origin, Prompt};
use crate::sample::Sample;

/// The domain of the hash that deals prompts without a split to samples.
const SAMPLE_DOMAIN: u64 = 0x103;
/// Of five prompts without a split two are for training, and one for each of the other samples.
const DEALT: [Sample; 5] = [
    Sample::Train,
    Sample::Train,
    Sample::Evaluation,
    Sample::Interpretability,
    Sample::Locate,
];

/// All prompts of a task.
pub(super) struct Read {
    pub(super) values: BTreeMap<Attribute, Vec<String>>,
    pub(super) examples: Vec<Example>,
    pub(super) samples: [Vec<usize>; Sample::ALL.len()],
}

/// A line in tokens.
struct Stated {
    prompt: Statement,
    counterfactuals: BTreeMap<Attribute, Statement>,
}

/// Reads the file of prompts that the task file at `path` names.
pub(super) fn read(path: &Path, description: &Description, tokenizer: &Tokenizer) -> Result<Read, Error> {
    let file = path.parent().unwrap_or(Path::new("")).join(&description.prompts);
    let in_file = |reason: String| Error::TaskFile {
        path: file.clone(),
        reason,
    };
    let bytes = std::fs::read(&file).map_err(|error| in_file(format!("cannot be read ({error})")))?;
    let reader = Reader {
        description,
        tokenizer,
        largest_id: tokenizer.largest_id(),
    };
    let mut stated: Vec<Stated> = Vec::new();
    let mut samples: [Vec<usize>; Sample::ALL.len()] = Default::default();
    let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let on_line = |reason: String| Error::TaskLine {
            path: file.clone(),
            line: number,
            reason,
        };
        let line: Line = serde_json::from_slice(line).map_err(|error| on_line(without_place(&error)))?;
        let one = state(reader, &line).map_err(on_line)?;
        let (found, expected) = (one.prompt.ids.len(), stated.first().map(|first| first.prompt.ids.len()));
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(on_line(format!(
                "has {found} tokens, the first prompt {expected}; all prompts of a task must have the same number"
            )));
        }
        if let Some(first) = known.insert(one.prompt.ids.clone(), number) {
            return Err(on_line(format!(
                "has the tokens of the prompt on line {first}, remove one of them"
            )));
        }
        let sample = line.split.unwrap_or_else(|| dealt(description.seed, &one.prompt.ids));
        samples[sample as usize].push(stated.len());
        stated.push(one);
    }
    if let Some(sample) = Sample::ALL.iter().find(|sample| samples[**sample as usize].is_empty()) {
        let name = serde_json::to_value(sample).unwrap_or_default();
        return Err(in_file(format!(
            "has {} prompts, none of them for the sample {name}; give more, or say the `split` of some",
            stated.len()
        )));
    }
    let values = values(description, &stated);
    let examples = (0..).zip(&stated).map(|(index, one)| Example {
        prompt: prompt(&one.prompt, index, &values),
        counterfactuals: (one.counterfactuals.iter())
            .map(|(attribute, statement)| (*attribute, prompt(statement, index, &values)))
            .collect(),
    });
    let examples = examples.collect();
    Ok(Read {
        values,
        examples,
        samples,
    })
}

/// A prompt and its counterfactuals in tokens.
fn state(reader: Reader<'_>, line: &Line) -> Result<Stated, String> {
    let prompt = reader.read(line, None)?;
    let edited = &reader.description.edited;
    let given = &line.counterfactuals.0;
    if let Some(unknown) = given
        .keys()
        .find(|key| edited.iter().all(|edited| edited.as_str() != *key))
    {
        return Err(format!(
            "counterfactual {} is of no attribute that is edited",
            quoted(unknown)
        ));
    }
    let mut counterfactuals = BTreeMap::new();
    for attribute in edited {
        let other = given.get(attribute.as_str());
        let other = other.ok_or_else(|| format!("the counterfactual of {attribute} is missing"))?;
        let in_counterfactual = |reason: String| format!("the counterfactual of {attribute}: {reason}");
        if other.split.is_some() || !other.counterfactuals.0.is_empty() {
            let reason = "`split` and `counterfactuals` are the prompt's, remove them".to_owned();
            return Err(in_counterfactual(reason));
        }
        let other = reader.read(other, Some(&prompt)).map_err(in_counterfactual)?;
        for one in edited {
            if (prompt.labels.get(one) == other.labels.get(one)) == (one == attribute) {
                let must = if one == attribute { "differ from" } else { "be" };
                return Err(in_counterfactual(format!("label {one} must {must} that of the prompt")));
            }
        }
        counterfactuals.insert(*attribute, other);
    }
    Ok(Stated {
        prompt,
        counterfactuals,
    })
}

/// The values of each attribute: those of the task file, or those that occur, numbers by size.
fn values(description: &Description, stated: &[Stated]) -> BTreeMap<Attribute, Vec<String>> {
    let of = |attribute: Attribute| {
        let table = description.attributes.get(&attribute);
        if let Some(values) = table.and_then(|table| table.values.clone()) {
            return (attribute, values);
        }
        let statements = stated
            .iter()
            .flat_map(|one| std::iter::once(&one.prompt).chain(one.counterfactuals.values()));
        let found: BTreeSet<&String> = statements.filter_map(|one| one.labels.get(&attribute)).collect();
        let mut values: Vec<String> = found.into_iter().cloned().collect();
        values.sort_by_key(|value| value.parse::<i64>().map_or((1, 0), |number| (0, number)));
        (attribute, values)
    };
    description.all_attributes().map(of).collect()
}

/// A prompt whose labels are numbers.
fn prompt(statement: &Statement, index: usize, values: &BTreeMap<Attribute, Vec<String>>) -> Prompt {
    let number = |(attribute, label): (&Attribute, &String)| {
        let place = values.get(attribute)?.iter().position(|value| value == label)?;
        Some((*attribute, place))
    };
    Prompt {
        ids: statement.ids.clone(),
        labels: statement.labels.iter().filter_map(number).collect::<Labels>(),
        origin: Origin::Example(index),
        right_token: statement.right,
        wrong_token: statement.wrong,
        positions: statement.positions.clone(),
    }
}

/// The sample of a prompt that does not say it.
fn dealt(seed: u64, ids: &[u32]) -> Sample {
    let words: Vec<usize> = std::iter::once(seed as usize)
        .chain(ids.iter().map(|&id| id as usize))
        .collect();
    DEALT[(stable_hash(SAMPLE_DOMAIN, &words) % DEALT.len() as u64) as usize]
}

/// The message of an error without the line, which is always 1.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text.rsplit_once(" at line 1 column ");
    message.map_or(text.clone(), |(message, column)| format!("{message} (column {column})"))
}
