//! One prompt of a task: its token ids, its labels, where its persons stand and what completes it.

use crate::by_attribute::Labels;
use crate::names::Role;

/// What a prompt says. Object and place are drawn even where the template does not use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scene {
    /// Index of the template.
    pub(crate) template: usize,
    /// Indices of the names of two different persons; who they are is the task's to say.
    pub(crate) people: [usize; 2],
    /// In which order they come, where a task has two orders.
    pub(crate) order: usize,
    /// Index of the object.
    pub(crate) object: usize,
    /// Index of the place.
    pub(crate) place: usize,
}

/// Where a prompt came from: what its counterfactuals are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Put together from a template.
    Scene(Scene),
    /// Of that number among the examples of a file.
    Example(usize),
}

/// A prompt with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids, beginning with the model's beginning-of-text token where it has one.
    pub ids: Vec<u32>,
    /// The values of the task's attributes.
    pub labels: Labels,
    pub(crate) origin: Origin,
    pub(crate) right_token: u32,
    pub(crate) wrong_token: u32,
    /// Position of each role, once each.
    pub(crate) positions: Vec<(Role, usize)>,
}

impl Prompt {
    /// The position of a role in [`Prompt::ids`]; none of a role that the prompt's task does not have.
    pub fn position(&self, role: Role) -> Option<usize> {
        let found = self.positions.iter().find(|(of, _)| *of == role);
        found.map(|(_, position)| *position)
    }

    /// The position of the last token, role `END`.
    pub fn end(&self) -> usize {
        self.ids.len().saturating_sub(1)
    }

    /// The token that completes the prompt: the indirect object, the right pronoun.
    pub fn right_token(&self) -> u32 {
        self.right_token
    }

    /// The token that the right one is compared with: the subject, the other pronoun.
    pub fn wrong_token(&self) -> u32 {
        self.wrong_token
    }

    /// Index of the template that the prompt was made from, if it was.
    pub fn template(&self) -> Option<usize> {
        match self.origin {
            Origin::Scene(scene) => Some(scene.template),
            Origin::Example(_) => None,
        }
    }
}
