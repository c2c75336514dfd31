//! What a task is to the stages behind this crate: labelled prompts, their counterfactuals, and what can be said of them.

use std::fmt;

use crate::by_attribute::ByAttribute;
use crate::family::Family;
use crate::names::{Attribute, Role, TaskName};
use crate::prompt::Prompt;
use crate::sample::Sample;
use crate::schema::Schema;
use crate::words::WordList;

/// Prompts with labelled attributes, in the tokens of one model. Everything drawn is determined by explicit seeds.
pub trait Task: fmt::Debug + Send + Sync {
    /// Its attributes and roles.
    fn schema(&self) -> &Schema;

    /// Its name in reports.
    fn name(&self) -> TaskName {
        self.schema().name
    }

    /// The attributes that are edited.
    fn attributes(&self) -> &[Attribute] {
        &self.schema().edited
    }

    /// Number of values of each of its attributes.
    fn sizes(&self) -> ByAttribute {
        let size = |&attribute: &Attribute| (attribute, self.n_values(attribute));
        self.attributes().iter().map(size).collect()
    }

    /// Number of values of an attribute; 0 for one of another task.
    fn n_values(&self, attribute: Attribute) -> usize;

    /// Number of values of everything that its prompts are labelled with.
    fn labelled(&self) -> ByAttribute {
        let size = |attribute| (attribute, self.n_values(attribute));
        self.schema().attributes().map(size).collect()
    }

    /// A value of an attribute in words.
    ///
    /// # Panics
    ///
    /// When `value` is not below [`Task::n_values`].
    fn value_name(&self, attribute: Attribute, value: usize) -> &str;

    /// The attribute of two values that over-splitting is judged by (section 4.4 of arXiv 2405.08366), if there is one.
    fn binary_attribute(&self) -> Option<Attribute>;

    /// The attributes that the residual stream at a role holds in any model, because the token is the attribute.
    fn told_by_token(&self, role: Role) -> &[Attribute];

    /// What can be said of a prompt, for describing latents.
    fn families(&self) -> Vec<Family>;

    /// How many words of each of its lists are one token of the model; nothing of a task that has no lists.
    fn word_lists(&self) -> Vec<WordList> {
        Vec::new()
    }

    /// The most prompts that a sample can have, where they are not made as needed.
    fn available(&self, _sample: Sample) -> Option<usize> {
        None
    }

    /// Draws `n` prompts with replacement, or of a sample that has an end as many of them as there are, at most `n`. Different
    /// samples have no prompt in common.
    fn sample(&self, sample: Sample, n: usize, seed: u64) -> Vec<Prompt>;

    /// One counterfactual prompt for each of `prompts`, which differs from it in `attribute` and in no other attribute.
    ///
    /// New names come from the second half of the names, so they never clash with the prompts of [`Sample::Evaluation`] and
    /// [`Sample::Locate`]. For an attribute of another task the prompts come back as they are.
    fn counterfactuals(&self, prompts: &[Prompt], attribute: Attribute, seed: u64) -> Vec<Prompt>;
}
