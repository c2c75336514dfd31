//! What is judged: an explanation that is executed, the true label, or nothing.

use super::example::Example;
use super::predicate::Predicate;
use super::truth_labels::TruthLabels;
use super::vocabulary::Vocabulary;
use tasks::Labels;

/// Something that predicts how strongly a latent is active on a token.
#[derive(Debug, Clone, Copy)]
pub enum Says<'a> {
    /// An explanation.
    Predicate(&'a Predicate, &'a Vocabulary),
    /// The label that is true of the tokens on which the latent is active. The second is the label; the third, of a store of prompts,
    /// gives the labels of a window.
    Label(&'a TruthLabels, u32, &'a (dyn PromptLabels + Sync)),
    /// That it is never active.
    Nothing,
}

/// The labels of the prompts of a store.
pub trait PromptLabels: std::fmt::Debug {
    /// The labels of a window that is a prompt.
    fn labels(&self, window: u32) -> Option<&Labels>;
}

impl PromptLabels for super::example::Contexts<'_> {
    fn labels(&self, window: u32) -> Option<&Labels> {
        Self::labels(self, window)
    }
}

impl Says<'_> {
    /// The predicted strength of the token at a position of an example's window, 0 to 10.
    pub fn grade(&self, example: &Example, at: usize) -> u8 {
        match self {
            Self::Predicate(predicate, vocabulary) => predicate.grade(&example.ids, at, vocabulary),
            Self::Label(labels, label, prompts) => {
                let window = example.slice.window;
                let holding = labels.at(window, at, prompts.labels(window));
                if holding.contains(label) { 10 } else { 0 }
            }
            Self::Nothing => 0,
        }
    }

    /// The predicted strength of an example: that of its strongest token.
    pub fn of_example(&self, example: &Example) -> u8 {
        example
            .positions
            .iter()
            .map(|at| self.grade(example, *at))
            .max()
            .unwrap_or(0)
    }
}
