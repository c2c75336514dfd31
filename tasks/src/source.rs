//! What a config or a sites file says when it names a task.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ioi::IoiTask;
use crate::names::TaskName;
use crate::pronoun::PronounTask;
use crate::schema::Schema;
use crate::task::Task;

/// A task as configs and sites files name it: `ioi` or `pronoun`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TaskSource {
    /// The indirect-object task, which files without a task are about.
    #[default]
    Ioi,
    /// The gendered-pronoun task.
    Pronoun,
}

impl TaskSource {
    /// The attributes and roles of the task.
    ///
    /// # Errors
    ///
    /// None of a task of this crate.
    pub fn schema(&self) -> Result<Schema, Error> {
        match self {
            Self::Ioi => Ok(Schema::ioi()),
            Self::Pronoun => Ok(Schema::pronoun()),
        }
    }

    /// The task in the tokens of one model.
    ///
    /// # Errors
    ///
    /// When the tokenizer does not know enough of the task's words.
    pub fn open(&self, tokenizer: &lm::Tokenizer) -> Result<Box<dyn Task>, Error> {
        Ok(match self {
            Self::Ioi => Box::new(IoiTask::new(tokenizer)?),
            Self::Pronoun => Box::new(PronounTask::new(tokenizer)?),
        })
    }
}

impl fmt::Display for TaskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ioi => TaskName::IOI.fmt(f),
            Self::Pronoun => TaskName::PRONOUN.fmt(f),
        }
    }
}

impl FromStr for TaskSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let built_in = [Self::Ioi, Self::Pronoun];
        let found = built_in.iter().find(|source| source.to_string() == text);
        found.cloned().ok_or_else(|| Error::UnknownName {
            what: "task",
            found: text.to_owned(),
            known: built_in.map(String::from).join(", "),
        })
    }
}

impl TryFrom<String> for TaskSource {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<TaskSource> for String {
    fn from(source: TaskSource) -> Self {
        source.to_string()
    }
}
