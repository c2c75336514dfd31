//! Explanations: an English sentence and, where there is one, a claim that can be executed.

use serde::{Deserialize, Serialize};

use crate::latents::Predicate;
use crate::numeric::Expression;
use crate::strings::Program;
use crate::words::{Concepts, Relation};

/// What an explanation claims, in a form that a judge executes. It is data of this program's own languages; code that a model
/// wrote is never executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A formula of x.
    Expression(Expression),
    /// One or two string functions in a row.
    Program(Program),
    /// Words that belong to one of some concepts.
    Concepts(Concepts),
    /// A column of a table of known pairs, perhaps with an exception.
    Relation(Relation),
    /// Tokens in their contexts.
    Tokens(Predicate),
}

/// How an explanation came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// An explanation was given.
    Done,
    /// The explanation repeats what was observed: a table of values, not a rule.
    Memorised,
    /// The explainer found nothing.
    NotFound,
    /// A language model was asked and gave no description within its turns.
    NoDescription,
    /// The server did not answer, after all retries.
    EndpointFailed,
    /// The server refused to answer.
    Refused,
    /// The limit of tokens was reached before this function's turn.
    OutOfTokens,
}

/// What an explainer says of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// In English.
    pub text: String,
    /// In executable form; none where there is only the text.
    pub claim: Option<Claim>,
    /// How it came about.
    pub status: Status,
}

impl Explanation {
    /// The explanation that says nothing: the control `null`.
    pub fn null() -> Self {
        Self::without(Status::NotFound)
    }

    /// No explanation, and why.
    pub fn without(status: Status) -> Self {
        Self {
            text: String::new(),
            claim: None,
            status,
        }
    }

    /// An explanation with a claim.
    pub fn claiming(text: String, claim: Claim) -> Self {
        Self {
            text,
            claim: Some(claim),
            status: Status::Done,
        }
    }
}
