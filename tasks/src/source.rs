//! What a config or a sites file says when it names a task.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::names::TaskName;

/// What the name of a task file ends in.
const TASK_FILE: &str = ".toml";

/// A task as configs and sites files name it: `ioi`, `pronoun`, or the path of a task file, which ends in `.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TaskSource {
    /// The indirect-object task, which files without a task are about.
    #[default]
    Ioi,
    /// The gendered-pronoun task.
    Pronoun,
    /// A task of a user's own, read from files. The path is relative to the working directory, without `./` before it.
    File(PathBuf),
}

impl fmt::Display for TaskSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ioi => TaskName::IOI.fmt(f),
            Self::Pronoun => TaskName::PRONOUN.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for TaskSource {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.ends_with(TASK_FILE) {
            let path: PathBuf = Path::new(text).components().collect();
            return Ok(Self::File(path.strip_prefix(".").unwrap_or(&path).to_owned()));
        }
        let built_in = [Self::Ioi, Self::Pronoun];
        let found = built_in.iter().find(|source| source.to_string() == text);
        found.cloned().ok_or_else(|| Error::UnknownName {
            what: "task",
            found: text.to_owned(),
            known: format!(
                "{}, or the path of a task file, which ends in {TASK_FILE}",
                built_in.map(String::from).join(", ")
            ),
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
