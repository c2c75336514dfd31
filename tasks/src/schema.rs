//! What a task consists of, as far as it can be said without a tokenizer: its attributes and its semantic positions.

use crate::names::{Attribute, Role, TaskName};
use crate::source::TaskSource;

/// The attributes and roles of a task, in the order in which the task lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// What names the task in a config or a sites file.
    pub source: TaskSource,
    /// The task's name in reports.
    pub name: TaskName,
    /// The attributes that are edited: each has counterfactual prompts.
    pub edited: Vec<Attribute>,
    /// The attributes that prompts are labelled with beside those: they explain latents.
    pub labelled: Vec<Attribute>,
    /// The semantic positions of every prompt.
    pub roles: Vec<Role>,
}

impl Schema {
    /// All that prompts are labelled with.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.edited.iter().chain(&self.labelled).copied()
    }
}
