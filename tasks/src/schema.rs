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
    /// The schema of the indirect-object task.
    pub(crate) fn ioi() -> Self {
        Self {
            source: TaskSource::Ioi,
            name: TaskName::IOI,
            edited: vec![Attribute::IO, Attribute::S, Attribute::POS],
            labelled: Vec::new(),
            roles: vec![Role::IO, Role::S1, Role::S1_PLUS_1, Role::S2, Role::END],
        }
    }

    /// The schema of the gendered-pronoun task.
    pub(crate) fn pronoun() -> Self {
        Self {
            source: TaskSource::Pronoun,
            name: TaskName::PRONOUN,
            edited: vec![Attribute::GENDER, Attribute::OTHER_GENDER],
            labelled: vec![Attribute::NAME],
            roles: vec![Role::OTHER, Role::NAME, Role::NAME_PLUS_1, Role::END],
        }
    }

    /// All that prompts are labelled with.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.edited.iter().chain(&self.labelled).copied()
    }
}
