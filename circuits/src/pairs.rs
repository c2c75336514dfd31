//! Pairs of a clean and a corrupted prompt, from a task or from a file of JSON lines.

use std::path::Path;

use lm::Spec;
use serde::Deserialize;
use tasks::{Attribute, Prompt, Role, Sample, Task};
use text::Tokenizer;

use crate::Error;

/// A clean and a corrupted prompt, and the tokens that are judged behind their last position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair {
    /// Token ids of the clean prompt.
    pub clean: Vec<u32>,
    /// Token ids of the corrupted prompt.
    pub corrupted: Vec<u32>,
    /// Right answers to the clean prompt.
    pub answer: Vec<u32>,
    /// Wrong answers to it.
    pub wrong: Vec<u32>,
    /// For each position of the clean prompt the position of the corrupted one that stands for it; the same where there are none, and
    /// then both prompts have one length.
    pub positions: Option<Vec<usize>>,
}

impl AsRef<[u32]> for Pair {
    /// The clean prompt, so that pairs are the rows of [`lm::Passes`].
    fn as_ref(&self) -> &[u32] {
        &self.clean
    }
}

impl Pair {
    /// What is wrong with the pair, if anything is.
    fn fault(&self) -> Option<String> {
        let (clean, corrupted) = (self.clean.len(), self.corrupted.len());
        if clean == 0 || corrupted == 0 {
            let which = if clean == 0 { "clean" } else { "corrupted" };
            return Some(format!("the {which} prompt has no tokens"));
        }
        if let Some(positions) = &self.positions {
            if positions.len() != clean {
                return Some(format!(
                    "`positions` has {} entries and the clean prompt {clean} tokens: give each token the position that stands for it",
                    positions.len()
                ));
            }
            if positions.iter().any(|&position| position >= corrupted) || positions.last() != Some(&(corrupted - 1)) {
                return Some(format!(
                    "`positions` are from 0 to {} and the last one is {}: the answer is read behind both last tokens",
                    corrupted.saturating_sub(1),
                    corrupted.saturating_sub(1)
                ));
            }
        } else if clean != corrupted {
            return Some(format!(
                "the clean prompt has {clean} tokens and the corrupted one {corrupted}: word them so that both have as many, or give \
                 `positions`"
            ));
        }
        let empty = |tokens: &[u32], name| {
            tokens
                .is_empty()
                .then(|| format!("`{name}` is empty: give at least one token"))
        };
        if let Some(fault) = empty(&self.answer, "answer").or_else(|| empty(&self.wrong, "wrong")) {
            return Some(fault);
        }
        let both = self.answer.iter().find(|token| self.wrong.contains(token));
        both.map(|token| format!("token {token} is both in `answer` and in `wrong`"))
    }

    /// What of the pair a model cannot run, if anything.
    fn misfit(&self, spec: &Spec) -> Option<String> {
        let longest = self.clean.len().max(self.corrupted.len());
        if longest > spec.n_ctx {
            return Some(format!(
                "the prompts have {longest} tokens, the model reads at most {}",
                spec.n_ctx
            ));
        }
        let tokens = [&self.clean, &self.corrupted, &self.answer, &self.wrong]
            .into_iter()
            .flatten();
        let outside = tokens.copied().find(|&token| token as usize >= spec.d_vocab);
        outside.map(|token| format!("token {token} is outside the model's vocabulary of {}", spec.d_vocab))
    }
}

/// Checks pairs against a model.
pub(crate) fn check(pairs: &[Pair], spec: &Spec) -> Result<(), Error> {
    if pairs.is_empty() {
        return Err(Error::Empty);
    }
    let faults = pairs.iter().map(|pair| pair.fault().or_else(|| pair.misfit(spec)));
    match faults.enumerate().find_map(|(place, fault)| Some((place, fault?))) {
        None => Ok(()),
        Some((place, reason)) => Err(Error::Pair {
            number: place + 1,
            reason,
        }),
    }
}

/// Which pairs of a task are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPairs {
    /// The attribute whose counterfactuals are the corrupted prompts.
    pub attribute: Attribute,
    /// Where a corrupted prompt has its counterfactual's token, and everywhere else the clean prompt's; everywhere where there are
    /// none. The third name in the place of the repeated one is `S` at `S2`.
    pub at: Vec<Role>,
    /// The sample.
    pub sample: Sample,
    /// How many.
    pub n: usize,
    /// The seed of prompts and counterfactuals.
    pub seed: u64,
}

/// Pairs of a task. What is right and wrong is the clean prompt's.
///
/// # Errors
///
/// An attribute that the task does not edit; a role that a prompt does not have; a counterfactual of another length.
pub fn task_pairs(task: &dyn Task, of: &TaskPairs) -> Result<Vec<Pair>, Error> {
    let attribute = of.attribute;
    if !task.attributes().contains(&attribute) {
        let known: Vec<String> = task.attributes().iter().map(ToString::to_string).collect();
        return Err(Error::Attribute {
            task: task.name().to_string(),
            attribute: attribute.to_string(),
            known: known.join(", "),
        });
    }
    let prompts = task.sample(of.sample, of.n, of.seed);
    let counterfactuals = task.counterfactuals(&prompts, attribute, of.seed);
    let pair = |(place, (clean, other)): (usize, (&Prompt, &Prompt))| -> Result<Pair, Error> {
        let pair = Pair {
            answer: vec![clean.right_token()],
            wrong: vec![clean.wrong_token()],
            corrupted: corrupted(clean, other, &of.at).ok_or_else(|| {
                let roles: Vec<String> = of.at.iter().map(ToString::to_string).collect();
                Error::Pair {
                    number: place + 1,
                    reason: format!(
                        "the prompt has no {}: name roles of task {}",
                        roles.join(" or no "),
                        task.name()
                    ),
                }
            })?,
            clean: clean.ids.clone(),
            positions: None,
        };
        match pair.fault() {
            None => Ok(pair),
            Some(reason) => Err(Error::Pair {
                number: place + 1,
                reason,
            }),
        }
    };
    prompts.iter().zip(&counterfactuals).enumerate().map(pair).collect()
}

/// The tokens of a corrupted prompt; none where a role has no place.
fn corrupted(clean: &Prompt, other: &Prompt, at: &[Role]) -> Option<Vec<u32>> {
    if at.is_empty() || other.ids.len() != clean.ids.len() {
        return Some(other.ids.clone());
    }
    let mut ids = clean.ids.clone();
    for &role in at {
        let place = clean.position(role)?;
        ids[place] = other.ids[place];
    }
    Some(ids)
}

/// A file of pairs, one JSON object a line:
///
/// ```text
/// {"clean": "When Amy and Laura got a snack, Laura gave it to", "corrupted": "When Amy and Laura got a snack, Ann gave it to",
///  "answer": " Amy", "wrong": " Laura"}
/// {"clean_ids": [0, 5, 9], "corrupted_ids": [0, 6, 9], "answer": 17, "wrong": [3, 4]}
/// {"clean_ids": [0, 5, 9], "corrupted_ids": [0, 6, 7, 9], "positions": [0, 2, 3], "answer": 17, "wrong": 3}
/// ```
///
/// Prompts have equally many tokens, or `positions` says which corrupted position stands for each clean one, the last for the last.
///
/// Texts begin with the model's beginning-of-text token where it has one; ids are taken as they are. `answer` and `wrong` are a text
/// that is one token with its space, an id, or a list of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairsFile {
    /// The pairs in the order of their lines.
    pub pairs: Vec<Pair>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    clean: Option<String>,
    corrupted: Option<String>,
    clean_ids: Option<Vec<u32>>,
    corrupted_ids: Option<Vec<u32>>,
    answer: Answers,
    wrong: Answers,
    positions: Option<Vec<usize>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answers {
    One(Answer),
    Several(Vec<Answer>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Id(u32),
    Text(String),
}

impl PairsFile {
    /// Reads the pairs of a file; empty lines are passed over.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; the first line that is no pair, by its number: another form, prompts of unequal length, an answer
    /// that is not one token.
    pub fn read(path: &Path, tokenizer: &Tokenizer) -> Result<Self, Error> {
        let bytes = artifacts::read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut pairs = Vec::new();
        for (place, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let pair = parse(line, tokenizer).and_then(|pair| match pair.fault() {
                Some(fault) => Err(fault),
                None => Ok(pair),
            });
            pairs.push(pair.map_err(|reason| Error::PairsLine {
                path: path.to_owned(),
                line: place + 1,
                reason,
            })?);
        }
        match pairs.is_empty() {
            true => Err(Error::NoPairs { path: path.to_owned() }),
            false => Ok(Self { pairs }),
        }
    }
}

fn parse(line: &str, tokenizer: &Tokenizer) -> Result<Pair, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("is no pair: {error}"))?;
    let prompt = |text: Option<String>, ids: Option<Vec<u32>>, name: &str| match (text, ids) {
        (None, Some(ids)) => Ok(ids),
        (Some(text), None) => {
            let mut ids: Vec<u32> = tokenizer.bos().into_iter().collect();
            ids.extend(tokenizer.encode(&text).map_err(|error| format!("`{name}`: {error}"))?);
            Ok(ids)
        }
        _ => Err(format!("give `{name}` or `{name}_ids`, one of the two")),
    };
    let tokens = |answers: Answers, name: &str| -> Result<Vec<u32>, String> {
        let answers = match answers {
            Answers::One(answer) => vec![answer],
            Answers::Several(answers) => answers,
        };
        let token = |answer: Answer| match answer {
            Answer::Id(id) => Ok(id),
            Answer::Text(text) => tokenizer.token(&text).ok_or_else(|| {
                format!(
                    "`{name}`: \"{text}\" is not one token of the model; mind the space before a word, or give an id"
                )
            }),
        };
        answers.into_iter().map(token).collect()
    };
    Ok(Pair {
        clean: prompt(line.clean, line.clean_ids, "clean")?,
        corrupted: prompt(line.corrupted, line.corrupted_ids, "corrupted")?,
        answer: tokens(line.answer, "answer")?,
        wrong: tokens(line.wrong, "wrong")?,
        positions: line.positions,
    })
}
