//! Words to words: one column of a table to another, `undefined` outside of it; two of three functions have an exception for which they
//! are `undefined` too, as 50 of FIND's 75 do.

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::table::{Table, Things};
use crate::Error;
use crate::black_box::{BlackBox, Function, Input, Kind, Output};
use crate::explanation::{Claim, Explanation, Status};

/// What a function answers outside of its domain.
pub(crate) const UNDEFINED: &str = "undefined";

/// Inputs for which a relation is undefined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exception {
    /// Rows with a word in a column.
    Column(usize, String),
    /// Inputs that begin with a letter.
    BeginsWith(char),
}

impl Exception {
    fn holds(&self, row: &[&str], input: &str) -> bool {
        match self {
            Self::Column(column, word) => row.get(*column).is_some_and(|found| found == word),
            Self::BeginsWith(letter) => input.chars().next().is_some_and(|c| c.eq_ignore_ascii_case(letter)),
        }
    }
}

/// From one column of a table to another, perhaps with an exception.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// The table.
    pub things: Things,
    /// The column of the input.
    pub from: usize,
    /// The column of the output.
    pub to: usize,
    /// Where it is undefined.
    pub exception: Option<Exception>,
}

impl Relation {
    /// What it gives.
    pub fn at(&self, input: &str) -> &'static str {
        match Table::of(self.things).row(self.from, input) {
            Some(row) if !self.is_exception(row, input) => row.get(self.to).copied().unwrap_or(UNDEFINED),
            _ => UNDEFINED,
        }
    }

    fn is_exception(&self, row: &[&str], input: &str) -> bool {
        self.exception
            .as_ref()
            .is_some_and(|exception| exception.holds(row, input))
    }

    /// All inputs for which a row is known, and whether they are an exception.
    pub fn inputs(&self) -> Vec<(&'static str, bool)> {
        let rows = Table::of(self.things).rows().iter();
        rows.map(|row| (row[self.from], self.is_exception(row, row[self.from])))
            .collect()
    }

    /// In English.
    pub fn sentence(&self) -> String {
        let columns = Table::of(self.things).columns();
        let name = |column: usize| columns.get(column).copied().unwrap_or("something else");
        // Of a column that is not the first, the thing itself may be asked for.
        let what = match (self.from, self.to) {
            (0, to) => format!("from {} to {}", name(0), name(to)),
            (from, 0) => format!("from {} back to {}", name(from), name(0)),
            (from, to) => format!("from {}: {} to {}", name(0), name(from), name(to)),
        };
        match &self.exception {
            None => what,
            Some(Exception::BeginsWith(letter)) => format!("{what}; undefined where the input begins with {letter}"),
            Some(Exception::Column(column, word)) => format!("{what}; undefined where {} is {word}", name(*column)),
        }
    }
}

/// A relation as a black box holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationFunction(pub Relation);

impl Function for RelationFunction {
    fn kind(&self) -> Kind {
        Kind::Relations
    }

    fn respond(&self, inputs: &[Input], _rng: &mut ChaCha8Rng) -> Vec<Output> {
        let answer = |input: &Input| match input {
            Input::Text(word) => Output::Text(self.0.at(word.trim()).to_owned()),
            Input::Number(_) | Input::Tokens(_) => Output::Error("not a word".to_owned()),
        };
        inputs.iter().map(answer).collect()
    }
}

/// Relations whose inputs are distinct, so that each has one output.
const BASE: [(Things, usize, usize); 9] = [
    (Things::Countries, 0, 1),
    (Things::Countries, 0, 2),
    (Things::Countries, 0, 3),
    (Things::Countries, 0, 4),
    (Things::Countries, 1, 0),
    (Things::Countries, 1, 2),
    (Things::Animals, 0, 1),
    (Things::Animals, 0, 2),
    (Things::Animals, 0, 4),
];

/// The function with this number: every third without an exception.
pub fn sample_relation(seed: u64, index: usize) -> Relation {
    let mut rng = rng(seed, &format!("find/relations/{index}"));
    let (things, from, to) = BASE[rng.random_range(0..BASE.len())];
    let mut relation = Relation {
        things,
        from,
        to,
        exception: None,
    };
    if index.is_multiple_of(3) {
        return relation;
    }
    let candidates: Vec<Exception> = exceptions(things, from, to);
    // At least three inputs are an exception, and at least half of all are none.
    let counts = |exception: &Exception| {
        let relation = Relation {
            exception: Some(exception.clone()),
            ..relation.clone()
        };
        let of = relation.inputs();
        let n = of.iter().filter(|(_, is_exception)| *is_exception).count();
        n >= 3 && 2 * n <= of.len()
    };
    let fit: Vec<Exception> = candidates.into_iter().filter(counts).collect();
    relation.exception = Some(fit[rng.random_range(0..fit.len())].clone());
    relation
}

/// All exceptions of a relation: the continent or class, where that is not what is asked for, and first letters.
fn exceptions(things: Things, from: usize, to: usize) -> Vec<Exception> {
    let rows = Table::of(things).rows();
    let mut words: Vec<&str> = rows.iter().map(|row| row[2]).collect();
    words.sort_unstable();
    words.dedup();
    let columns = words
        .into_iter()
        .filter(|_| to != 2)
        .map(|word| Exception::Column(2, word.to_owned()));
    let mut letters: Vec<char> = rows
        .iter()
        .filter_map(|row| row[from].chars().next())
        .map(|c| c.to_ascii_uppercase())
        .collect();
    letters.sort_unstable();
    letters.dedup();
    columns.chain(letters.into_iter().map(Exception::BeginsWith)).collect()
}

/// The column that the function's answers stand in, and the exception that its undefined answers share. It asks about the rows with
/// even numbers, in either table.
///
/// # Errors
///
/// A black box that answers fewer inputs than that takes.
pub fn explain_relation(of: &mut BlackBox<'_>) -> Result<Explanation, Error> {
    let mut best: Option<(usize, Relation)> = None;
    for things in [Things::Countries, Things::Animals] {
        let table = Table::of(things);
        for from in 0..2 {
            let words: Vec<&str> = table.rows().iter().step_by(2).map(|row| row[from]).collect();
            let inputs: Vec<Input> = words.iter().map(|word| Input::Text((*word).to_owned())).collect();
            let outputs = of.call(&inputs)?;
            let answers: Vec<&str> = outputs.iter().map(text_of).collect();
            let known = answers.iter().filter(|answer| **answer != UNDEFINED).count();
            if known == 0 {
                continue;
            }
            for to in (0..table.columns().len()).filter(|to| *to != from) {
                let plain = std::iter::once(None).chain(exceptions(things, from, to).into_iter().map(Some));
                for exception in plain {
                    let relation = Relation {
                        things,
                        from,
                        to,
                        exception,
                    };
                    let right = words
                        .iter()
                        .zip(&answers)
                        .filter(|(word, answer)| relation.at(word) == **answer)
                        .count();
                    if best.as_ref().is_none_or(|(most, _)| right > *most) {
                        best = Some((right, relation));
                    }
                }
            }
        }
    }
    Ok(match best {
        Some((_, relation)) => Explanation::claiming(relation.sentence(), Claim::Relation(relation)),
        None => Explanation::without(Status::NotFound),
    })
}

fn text_of(output: &Output) -> &str {
    match output {
        Output::Text(text) => text,
        Output::Number(_) | Output::Activations(_) | Output::Error(_) => UNDEFINED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_found_with_their_exceptions() {
        let mut right = 0;
        for index in 0..30 {
            let relation = sample_relation(9, index);
            assert_eq!(relation.exception.is_none(), index % 3 == 0);
            let function = RelationFunction(relation.clone());
            let mut of = BlackBox::new(&function, "f", 400, 0);
            let explanation = explain_relation(&mut of).unwrap();
            let Some(Claim::Relation(found)) = explanation.claim else {
                panic!("nothing found")
            };
            assert_eq!(
                (found.things, found.from, found.to),
                (relation.things, relation.from, relation.to)
            );
            right += usize::from(found == relation);
        }
        assert!(right >= 24, "{right} of 30");
    }

    #[test]
    fn an_exception_and_a_stranger_are_undefined() {
        let relation = Relation {
            things: Things::Countries,
            from: 0,
            to: 1,
            exception: Some(Exception::Column(2, "Asia".to_owned())),
        };
        assert_eq!(relation.at("France"), "Paris");
        assert_eq!(relation.at("Japan"), UNDEFINED);
        assert_eq!(relation.at("Atlantis"), UNDEFINED);
        assert!(relation.sentence().contains("continent is Asia"));
    }
}
