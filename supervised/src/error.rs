//! What can go wrong when a supervised dictionary is fitted, saved or loaded.

use std::io;
use std::path::PathBuf;

use tasks::Attribute;

use crate::Parametrization;

/// Errors of this crate: each message is one line that names the file or field, the cause, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] artifacts::Error),
    /// A field of the fit config is not usable.
    #[error("fit: `{field}` {reason}")]
    Config {
        /// The field's name in the config file.
        field: &'static str,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// A parametrization that is not for the task of the prompts.
    #[error(
        "parametrization \"{parametrization}\" is made of {missing}, which is left out or not of this task; use \"independent\""
    )]
    Parametrization {
        /// The parametrization.
        parametrization: Parametrization,
        /// What it lacks.
        missing: Attribute,
    },
    /// A prompt without a value of an attribute.
    #[error("row {row}: no value of attribute {attribute}; fit with the task of the harvest")]
    NoLabel {
        /// The row.
        row: usize,
        /// The attribute.
        attribute: Attribute,
    },
    /// There is nothing to fit to, or the parts do not belong together.
    #[error("fit: {values} numbers of width {width} and {labels} labels do not belong together; harvest again")]
    Rows {
        /// Numbers in all.
        values: usize,
        /// Numbers per vector.
        width: usize,
        /// Labelled rows.
        labels: usize,
    },
    /// A label is beyond the values of its attribute.
    #[error(
        "row {row}: value {value} of attribute {attribute}, which has {n_values} values; fit with the task of the harvest"
    )]
    Label {
        /// The row.
        row: usize,
        /// The attribute.
        attribute: Attribute,
        /// The value found.
        value: usize,
        /// Values that the attribute has.
        n_values: usize,
    },
    /// The iterations of the least-squares fit did not settle.
    #[error(
        "least squares: the gradient is still {gradient:.1e} of its start after {iterations} iterations; the attributes \
         nearly determine each other, leave one out or use method \"mean\""
    )]
    NotConverged {
        /// Iterations done.
        iterations: usize,
        /// Norm of the gradient relative to its start, in the slowest dimension.
        gradient: f64,
    },
    /// A file of a saved dictionary could not be read or its folder made.
    #[error("cannot access {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A saved dictionary is not what it should be.
    #[error("{path}: {expected} expected, found {found}; run `saelab fit` again")]
    Saved {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
}
