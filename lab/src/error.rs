//! What can go wrong in a stage.

use std::error::Error as Source;
use std::fmt::Display;

use crate::config::ConfigError;

/// What can go wrong in a stage. Each message is one line that names the thing, the cause and what to do; where a library below found
/// it, its error is kept, and [`std::error::Error::source`] gives what is behind it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A config or setting that cannot be meant.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A folder of a run that holds something else than its place says.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
    /// Anything else that a stage refuses or cannot do.
    #[error("{0}")]
    Failed(String),
    /// What a stage was about when another error came.
    #[error("{what}")]
    While {
        /// What it was about.
        what: String,
        /// The other error.
        #[source]
        cause: Box<dyn Source + Send + Sync>,
    },
    /// Of the crate `activations`.
    #[error(transparent)]
    Activations(#[from] activations::Error),
    /// Of the crate `artifacts`.
    #[error(transparent)]
    Artifacts(#[from] artifacts::Error),
    /// Of the crate `causal`.
    #[error(transparent)]
    Causal(#[from] causal::Error),
    /// Of the crate `circuits`.
    #[error(transparent)]
    Circuits(#[from] circuits::Error),
    /// Of the crate `dictionaries`.
    #[error(transparent)]
    Dictionaries(#[from] dictionaries::Error),
    /// Of the crate `eval`.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// Of the crate `explain`.
    #[error(transparent)]
    Explain(#[from] explain::Error),
    /// Of the crate `hub`.
    #[error(transparent)]
    Hub(#[from] hub::Error),
    /// A value that cannot be written as JSON, or JSON that is not what it should be.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Of the crate `lm`.
    #[error(transparent)]
    Lm(#[from] lm::Error),
    /// Of the crate `pages`.
    #[error(transparent)]
    Pages(#[from] pages::Error),
    /// Of the crate `sae`.
    #[error(transparent)]
    Sae(#[from] sae::Error),
    /// Of the crate `storage`.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// Of the crate `supervised`.
    #[error(transparent)]
    Supervised(#[from] supervised::Error),
    /// Of the crate `synthetic`.
    #[error(transparent)]
    Synthetic(#[from] synthetic::Error),
    /// Of the crate `tasks`.
    #[error(transparent)]
    Tasks(#[from] tasks::Error),
    /// Of the crate `text`.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// Of the crate `toys`.
    #[error(transparent)]
    Toys(#[from] toys::Error),
    /// Of the crate `work`.
    #[error(transparent)]
    Work(#[from] work::Error),
}

/// What stands in a folder is not of the place that the folder's name says.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Misplaced(pub String);

/// The result of a stage.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The error behind all that says what a stage was about.
    fn innermost(&self) -> &Self {
        match self {
            Self::While { cause, .. } => cause.downcast_ref().map_or(self, Self::innermost),
            other => other,
        }
    }

    /// Whether a config or setting is to be changed; the program then ends with exit code 2.
    pub fn is_config(&self) -> bool {
        match self.innermost() {
            Self::Config(_) => true,
            Self::While { cause, .. } => cause.is::<ConfigError>(),
            _ => false,
        }
    }

    /// Whether a folder holds something else than its place says.
    pub(crate) fn is_misplaced(&self) -> bool {
        matches!(self.innermost(), Self::Misplaced(_))
    }
}

/// Says of an error, or of what is missing, what it was about.
pub(crate) trait WithContext<T> {
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;

    fn context<D: Display>(self, what: D) -> Result<T>
    where
        Self: Sized,
    {
        self.with_context(|| what)
    }
}

impl<T, E: Source + Send + Sync + 'static> WithContext<T> for std::result::Result<T, E> {
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|cause| Error::While {
            what: what().to_string(),
            cause: Box::new(cause),
        })
    }
}

impl<T> WithContext<T> for Option<T> {
    fn with_context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.ok_or_else(|| Error::Failed(what().to_string()))
    }
}

/// Ends a function with [`Error::Failed`].
macro_rules! bail {
    ($($message:tt)*) => {
        return Err($crate::Error::Failed(format!($($message)*)))
    };
}

/// Ends a function with [`Error::Failed`] unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            bail!($($message)*);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stage_was_about_hides_neither_the_cause_nor_its_kind() {
        let config: Result<()> = Err(ConfigError("`k` is 0".to_owned()).into());
        let error = config.context("train a").context("all").unwrap_err();
        assert!(error.is_config() && !error.is_misplaced());
        let causes: Vec<String> = std::iter::successors(error.source(), |&cause| cause.source())
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            (error.to_string().as_str(), causes),
            ("all", vec!["train a".to_owned(), "`k` is 0".to_owned()])
        );
        let of_reader: std::result::Result<(), ConfigError> = Err(ConfigError("`k` is 0".to_owned()));
        assert!(of_reader.context("train").unwrap_err().is_config());
        let missing: Option<()> = None;
        assert!(!missing.context("nothing there").unwrap_err().is_config());
    }
}
