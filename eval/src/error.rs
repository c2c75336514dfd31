//! What can go wrong in an evaluation.

use std::path::PathBuf;

use activations::Node;

/// Errors of this crate. Each message is one line that names the thing, the cause and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model could not be run, or not with what was to be overwritten.
    #[error(transparent)]
    Causal(#[from] causal::Error),

    /// The model could not be run.
    #[error(transparent)]
    Model(#[from] lm::Error),

    /// The tokenizer failed.
    #[error(transparent)]
    Text(#[from] text::Error),

    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] artifacts::Error),

    /// A dictionary could not be made or read.
    #[error(transparent)]
    Dictionary(#[from] dictionaries::Error),

    /// A node does not exist in the model.
    #[error(transparent)]
    Activations(#[from] activations::Error),

    /// A task cannot be opened.
    #[error(transparent)]
    Tasks(#[from] tasks::Error),

    /// Codes, labels and resamples of a check do not belong to the same prompts.
    #[error("check for {check}: {reason}")]
    Check {
        /// Which check.
        check: &'static str,
        /// What does not fit.
        reason: String,
    },

    /// A dictionary with NaN or infinite numbers.
    #[error(
        "dictionary set {set} holds numbers at {node} that are not finite; fit or train it again, or move it out of the run"
    )]
    NotFinite {
        /// Name of the set.
        set: String,
        /// Where.
        node: Node,
    },

    /// A dictionary set that fits no site.
    #[error("dictionary set {set} has a dictionary at every node of no site; train it there, or name other sites")]
    NoSite {
        /// Name of the set.
        set: String,
    },

    /// A dictionary was made for vectors of another width.
    #[error(
        "dictionary set {set}: the dictionary takes or gives vectors of width {found} at {node}, which has {expected}"
    )]
    Width {
        /// Name of the set.
        set: String,
        /// The node.
        node: Node,
        /// Width of the node.
        expected: usize,
        /// Width that the dictionary takes.
        found: usize,
    },

    /// Two dictionary sets of one name, or a name that this crate uses for a baseline.
    #[error("dictionary set name {0} is taken; give every set a name of its own")]
    DuplicateSet(String),

    /// What is to be compared names a dictionary set that is not evaluated.
    #[error(
        "no dictionary set is called {found}; evaluated are {known}: name those in `compare`, `reference` or --against"
    )]
    UnknownSet {
        /// The unknown name.
        found: String,
        /// Names of the evaluated sets.
        known: String,
    },

    /// A config value out of its range.
    #[error("config: `{field}` {reason}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with the value.
        reason: String,
    },

    /// Text that is not split into the written world's words.
    #[error("the tokenizer does not split documents of the written world into their words; use the shipped model")]
    NotTheWorld,

    /// Too little of the written world for its labels to say anything.
    #[error(
        "no label holds on {fewest} tokens of both the even and the odd documents, of {documents} in all; raise `documents`"
    )]
    TooFewTokens {
        /// Documents that were read.
        documents: usize,
        /// Tokens of each half on which a predicate must hold.
        fewest: usize,
    },

    /// A file of scores cannot be opened.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A file of scores cannot be read.
    #[error("cannot read {}", path.display())]
    Scores {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<Error>,
    },

    /// A file of scores has other columns than this version writes.
    #[error("the column `{name}` of the scores is missing or not what this version writes; run `saelab eval` again")]
    Columns {
        /// The column.
        name: &'static str,
    },

    /// A report of another version of the program.
    #[error("{}: expected a report of format version {expected}, found {found}; run `saelab eval` again", path.display())]
    ReportVersion {
        /// The file.
        path: PathBuf,
        /// What this version writes.
        expected: u32,
        /// What stands in the file.
        found: String,
    },

    /// Scores or resamples beside a report that are not those of the report.
    #[error(
        "{} is not the file that was written with {}: it is damaged, comes from another evaluation, or one was interrupted \
         while it replaced the files of the last; run `saelab eval` again",
        path.display(),
        report.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The report that names another hash.
        report: PathBuf,
    },

    /// Evaluations that cannot be paired.
    #[error("{left} and {right} cannot be compared in pairs: {reason}; evaluate both with the same settings")]
    Unpaired {
        /// The first run.
        left: String,
        /// The other.
        right: String,
        /// What differs.
        reason: String,
    },

    /// Too few seeds to draw from and to hold the draws against.
    #[error("family {family} has {found} seeds, and the draws need at least {wanted}; train more, or draw fewer")]
    Coverage {
        /// The family.
        family: String,
        /// Its seeds.
        found: usize,
        /// How many it takes.
        wanted: usize,
    },

    /// The scores could not be turned into a table of columns.
    #[error("scores as columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),

    /// The scores could not be written as Parquet.
    #[error("scores.parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),

    /// The report could not be written as JSON.
    #[error("report.json: {0}")]
    Json(#[from] serde_json::Error),
}
