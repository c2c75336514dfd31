//! What can go wrong in an evaluation.

use std::path::PathBuf;

use crate::splice::Place;
use activations::Node;
use tasks::{Attribute, TaskSource};

/// Errors of this crate. Each message is one line that names the thing, the cause and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model could not be run.
    #[error(transparent)]
    Model(#[from] lm::Error),

    /// A node does not exist in the model.
    #[error(transparent)]
    Activations(#[from] activations::Error),

    /// A task cannot be opened.
    #[error(transparent)]
    Tasks(#[from] tasks::Error),

    /// An autoencoder of a toy could not be trained.
    #[error(transparent)]
    Autoencoder(#[from] sae::Error),

    /// Codes, labels and resamples of a check do not belong to the same prompts.
    #[error("check for {check}: {reason}")]
    Check {
        /// Which check.
        check: &'static str,
        /// What does not fit.
        reason: String,
    },

    /// The sites were located in another model.
    #[error("the sites belong to model {sites}, but the loaded model is {model}; run `saelab locate` on this model")]
    ModelMismatch {
        /// Hash that the sites file names.
        sites: String,
        /// Hash of the loaded model.
        model: String,
    },

    /// A node that cannot be overwritten.
    #[error("node {node}: {reason}")]
    Node {
        /// The node.
        node: Node,
        /// What does not fit.
        reason: String,
    },

    /// The sites are those of another task.
    #[error(
        "the sites are those of task {sites}, the prompts those of task {prompts}; name the sites file of the task"
    )]
    TaskMismatch {
        /// Task of the sites.
        sites: TaskSource,
        /// Task of the prompts.
        prompts: TaskSource,
    },

    /// A site that makes no sense.
    #[error("site {site}: {reason}")]
    Site {
        /// Name of the site.
        site: String,
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

    /// A baseline cannot be made from these activations.
    #[error("baseline {baseline}: {reason}")]
    Baseline {
        /// Which baseline.
        baseline: &'static str,
        /// What does not fit, and what to do.
        reason: String,
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

    /// The model does not perform the task, so nothing can be located in it or measured on it.
    #[error(
        "the mean logit difference of right and wrong answers of the clean model is {logit_diff:.4} on {n} prompts, under {floor:?}: it does \
         not do the task; use a model that does"
    )]
    NoBehaviour {
        /// Clean mean logit difference.
        logit_diff: f64,
        /// Number of prompts.
        n: usize,
        /// Smallest value that counts as performing.
        floor: f64,
    },

    /// No node passed the thresholds of `locate`.
    #[error("no (site, attribute) passes min_changed = {min_changed} and min_removed = {min_removed}; lower them")]
    NoSites {
        /// Threshold on the share of changed predictions.
        min_changed: f64,
        /// Threshold on the removed share of the logit difference.
        min_removed: f64,
    },

    /// Prompts and their counterfactuals do not pair up.
    #[error("{found} counterfactuals of {attribute} for {expected} prompts")]
    Counterfactuals {
        /// The changed attribute.
        attribute: Attribute,
        /// Number of prompts.
        expected: usize,
        /// Number of counterfactuals.
        found: usize,
    },

    /// Too few prompts for what is asked.
    #[error("no prompts to run")]
    NoPrompts,

    /// Text that is not split into the written world's words.
    #[error("the tokenizer does not split documents of the written world into their words; use the shipped model")]
    NotTheWorld,

    /// Too little text for what is asked.
    #[error("no window of text with three tokens")]
    NoText,

    /// A text that holds nothing but special tokens, so that no token of it is replaced.
    #[error("the text holds nothing but special tokens, which are never replaced; name another text")]
    SpecialOnly,

    /// Dictionaries that cannot stand in one pass.
    #[error("{place} {reason}")]
    Splice {
        /// The place that they read or write.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },

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

    /// A figure that is NaN or infinite.
    #[error(
        "the {what} is {value}, which is no figure: numbers of the dictionary or of the model are too large or damaged; \
         nothing was written"
    )]
    NotANumber {
        /// What was measured.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
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
