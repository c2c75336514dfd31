//! From the name of a task to the task.

use crate::error::Error;
use crate::file::{self, FileTask};
use crate::ioi::{self, IoiTask};
use crate::pronoun::{self, PronounTask};
use crate::schema::Schema;
use crate::source::TaskSource;
use crate::task::Task;

impl TaskSource {
    /// The attributes and roles of the task.
    ///
    /// # Errors
    ///
    /// [`Error::TaskFile`] for a task file that cannot be read, or whose parts do not fit together.
    pub fn schema(&self) -> Result<Schema, Error> {
        match self {
            Self::Ioi => Ok(ioi::schema()),
            Self::Pronoun => Ok(pronoun::schema()),
            Self::File(path) => file::schema(path),
        }
    }

    /// The task in the tokens of one model.
    ///
    /// # Errors
    ///
    /// When the tokenizer does not know enough of the task's words; those of [`TaskSource::schema`]; [`Error::TaskLine`] for a
    /// prompt of a file that cannot be used.
    pub fn open(&self, tokenizer: &text::Tokenizer) -> Result<Box<dyn Task>, Error> {
        Ok(match self {
            Self::Ioi => Box::new(IoiTask::new(tokenizer)?),
            Self::Pronoun => Box::new(PronounTask::new(tokenizer)?),
            Self::File(path) => Box::new(FileTask::open(path, tokenizer)?),
        })
    }
}
