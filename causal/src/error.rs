//! What can go wrong when a model is run with something overwritten.

use activations::Node;
use tasks::{Attribute, TaskSource};

use crate::splice::Place;

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
    /// A config value out of its range.
    #[error("config: `{field}` {reason}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// What is wrong with the value.
        reason: String,
    },
}
