//! What one prompt of a line comes to in the tokens of a model.

use std::collections::BTreeMap;

use text::Tokenizer;

use super::description::Description;
use super::line::{Answer, Label, Line, Place, Table};
use crate::names::{Attribute, Role};

/// Characters of a text that a message repeats.
const LONGEST_QUOTE: usize = 60;

/// A prompt in tokens, its labels still in words.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) ids: Vec<u32>,
    pub(super) labels: BTreeMap<Attribute, String>,
    pub(super) positions: Vec<(Role, usize)>,
    pub(super) right: u32,
    pub(super) wrong: u32,
}

/// Reads the prompts of lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) description: &'a Description,
    pub(super) tokenizer: &'a Tokenizer,
    /// The largest id that the tokenizer knows.
    pub(super) largest_id: u32,
}

impl Reader<'_> {
    /// What a line, or a counterfactual in it, says. Labels and positions that a counterfactual leaves out are those of its
    /// prompt, `base`.
    pub(super) fn read(self, line: &Line, base: Option<&Statement>) -> Result<Statement, String> {
        let (ids, added) = self.ids(line)?;
        if let Some(base) = base
            && base.ids.len() != ids.len()
        {
            return Err(format!(
                "has {} tokens, its prompt {}; both must have the same number",
                ids.len(),
                base.ids.len()
            ));
        }
        let statement = Statement {
            labels: self.labels(&line.labels, base)?,
            positions: self.positions(line, &ids, added, base)?,
            right: self.answer("right", &line.right, line, &ids, added)?,
            wrong: self.answer("wrong", &line.wrong, line, &ids, added)?,
            ids,
        };
        match statement.right == statement.wrong {
            true => Err("`right` and `wrong` are the same token".to_owned()),
            false => Ok(statement),
        }
    }

    /// Token ids, and how many of them are added before the text.
    fn ids(self, line: &Line) -> Result<(Vec<u32>, usize), String> {
        let (ids, added) = match (&line.prompt, &line.ids) {
            (Some(text), None) => {
                let mut ids: Vec<u32> = self.tokenizer.bos().into_iter().collect();
                let added = ids.len();
                ids.extend(self.encode(text)?);
                (ids, added)
            }
            (None, Some(ids)) => (ids.clone(), 0),
            _ => return Err("needs either `prompt` or `ids`".to_owned()),
        };
        if ids.len() == added {
            return Err("the prompt is empty".to_owned());
        }
        match ids.iter().find(|id| **id > self.largest_id) {
            Some(id) => Err(self.unknown_id(*id)),
            None => Ok((ids, added)),
        }
    }

    fn unknown_id(self, id: u32) -> String {
        format!("id {id} is none of the tokenizer, whose largest is {}", self.largest_id)
    }

    fn encode(self, text: &str) -> Result<Vec<u32>, String> {
        let ids = self.tokenizer.encode(text).map_err(|error| error.to_string())?;
        match self.tokenizer.unknown() {
            Some(unknown) if ids.contains(&unknown) => {
                Err(format!("{} has a word that the tokenizer does not know", quoted(text)))
            }
            _ => Ok(ids),
        }
    }

    fn labels(self, given: &Table<Label>, base: Option<&Statement>) -> Result<BTreeMap<Attribute, String>, String> {
        let known: Vec<Attribute> = self.description.all_attributes().collect();
        if let Some(unknown) = given
            .0
            .keys()
            .find(|key| known.iter().all(|known| known.as_str() != *key))
        {
            return Err(format!(
                "label {} is no attribute of the task; use {}",
                quoted(unknown),
                list(&known)
            ));
        }
        let label = |attribute: &Attribute| {
            let given = given.0.get(attribute.as_str()).map(|label| label.0.clone());
            let value = given.or_else(|| base?.labels.get(attribute).cloned());
            let value = value.ok_or_else(|| format!("label {attribute} is missing"))?;
            let table = self.description.attributes.get(attribute);
            match table.and_then(|table| table.values.as_ref()) {
                Some(values) if !values.contains(&value) => Err(format!(
                    "label {attribute} is {}, which is none of its values {}",
                    quoted(&value),
                    list(values)
                )),
                _ => Ok((*attribute, value)),
            }
        };
        known.iter().map(label).collect()
    }

    fn positions(
        self,
        line: &Line,
        ids: &[u32],
        added: usize,
        base: Option<&Statement>,
    ) -> Result<Vec<(Role, usize)>, String> {
        let roles = &self.description.roles;
        let is_known = |key: &str| roles.iter().any(|role| role.as_str() == key);
        if let Some(unknown) = line.positions.0.keys().find(|key| !is_known(key)) {
            return Err(match *unknown == Role::END.as_str() {
                true => "position END is always the last token, remove it".to_owned(),
                false => format!(
                    "position {} is no role of the task; use {}",
                    quoted(unknown),
                    list(roles)
                ),
            });
        }
        let position = |role: &Role| {
            let of_base = || base?.positions.iter().find(|(of, _)| of == role).copied();
            match line.positions.0.get(role.as_str()) {
                Some(place) => {
                    let position = self.position(place, line, ids, added);
                    position
                        .map_err(|reason| format!("position {role} {reason}"))
                        .map(|position| (*role, position))
                }
                None => of_base().ok_or_else(|| format!("position {role} is missing")),
            }
        };
        let mut positions = roles.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        positions.push((Role::END, ids.len() - 1));
        Ok(positions)
    }

    fn position(self, place: &Place, line: &Line, ids: &[u32], added: usize) -> Result<usize, String> {
        let (piece, occurrence) = match place {
            Place::Index(index) => {
                let position = index.checked_add(added).filter(|position| *position < ids.len());
                return position.ok_or_else(|| format!("is {index}, the prompt has {} tokens", ids.len() - added));
            }
            Place::Text { text, occurrence } => (text, occurrence),
        };
        let Some(text) = &line.prompt else {
            return Err("is a text, but the prompt is given as ids; give the number of the token".to_owned());
        };
        if piece.is_empty() {
            return Err("is an empty text".to_owned());
        }
        let ends: Vec<usize> = text
            .match_indices(piece.as_str())
            .map(|(start, _)| start + piece.len())
            .collect();
        let end = match (ends.as_slice(), occurrence) {
            ([], _) => return Err(format!("is {}, which the prompt does not contain", quoted(piece))),
            ([end], None) => *end,
            (_, None) => {
                return Err(format!(
                    "is {}, which the prompt contains {} times; say which with `occurrence`, from 1",
                    quoted(piece),
                    ends.len()
                ));
            }
            (_, Some(occurrence)) => match occurrence.checked_sub(1).and_then(|place| ends.get(place)) {
                Some(end) => *end,
                None => return Err(format!("has occurrence {occurrence}, there are 1 to {}", ends.len())),
            },
        };
        // What a word-level tokenizer does not know is a part of a word.
        match self.encode(&text[..end]) {
            Ok(before) if !before.is_empty() && ids[added..].starts_with(&before) => Ok(added + before.len() - 1),
            _ => Err(format!("is {}, which ends within a token", quoted(piece))),
        }
    }

    /// The token of an answer where it follows the prompt.
    fn answer(self, key: &str, answer: &Answer, line: &Line, ids: &[u32], added: usize) -> Result<u32, String> {
        let text = match answer {
            Answer::Id(id) if *id > self.largest_id => return Err(format!("`{key}`: {}", self.unknown_id(*id))),
            Answer::Id(id) => return Ok(*id),
            Answer::Text(text) => text,
        };
        let of_answer = |reason: String| format!("`{key}`: {reason}");
        let tokens = match &line.prompt {
            None => self.encode(text).map_err(of_answer)?,
            Some(prompt) => {
                let whole = self.encode(&format!("{prompt}{text}")).map_err(of_answer)?;
                match whole.strip_prefix(&ids[added..]) {
                    Some(tokens) => tokens.to_vec(),
                    None => {
                        return Err(format!(
                            "`{key}`: {} does not begin a token of its own behind the prompt; does it lack a space?",
                            quoted(text)
                        ));
                    }
                }
            }
        };
        match tokens.as_slice() {
            [token] => Ok(*token),
            tokens => {
                let spelled = |id: &u32| match self.tokenizer.decode(&[*id]) {
                    Ok(text) => format!("{} ({id})", quoted(&text)),
                    Err(_) => id.to_string(),
                };
                let tokens: Vec<String> = tokens.iter().take(8).map(spelled).collect();
                Err(format!(
                    "`{key}`: {} is not one token but {}",
                    quoted(text),
                    if tokens.is_empty() {
                        "none".to_owned()
                    } else {
                        tokens.join(", ")
                    }
                ))
            }
        }
    }
}

/// A text in quotes, cut where it is long, on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST_QUOTE).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}

/// Names or values one after the other.
fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let all: Vec<String> = items.iter().map(ToString::to_string).collect();
    quoted(&all.join(", ")).trim_matches('"').to_owned()
}
