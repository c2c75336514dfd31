//! One indirect-object prompt: its token ids, its labels and where its names stand.

use crate::attributes::{Labels, Role};

/// What an indirect-object prompt says. Object and place are drawn even where the template does not use them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scene {
    /// Index of the template.
    pub(crate) template: usize,
    /// Index of the indirect object's name.
    pub(crate) io: usize,
    /// Index of the subject's name.
    pub(crate) s: usize,
    /// 0: the indirect object comes first (ABB), 1: the subject does (BAB).
    pub(crate) pos: usize,
    /// Index of the object.
    pub(crate) object: usize,
    /// Index of the place.
    pub(crate) place: usize,
}

/// An indirect-object prompt with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids, beginning with the model's beginning-of-text token.
    pub ids: Vec<u32>,
    /// The values of the attributes.
    pub labels: Labels,
    pub(crate) scene: Scene,
    pub(crate) io_token: u32,
    pub(crate) s_token: u32,
    /// In the order of [`Role::ALL`].
    pub(crate) positions: [usize; 5],
}

impl Prompt {
    /// The position of a role in [`Prompt::ids`].
    pub fn position(&self, role: Role) -> usize {
        self.positions[role.index()]
    }

    /// The token of the indirect object, the right completion.
    pub fn io_token(&self) -> u32 {
        self.io_token
    }

    /// The token of the subject, the name that a model must not give.
    pub fn s_token(&self) -> u32 {
        self.s_token
    }

    /// Index of the template (0 to 2) that the prompt was made from.
    pub fn template(&self) -> usize {
        self.scene.template
    }
}
