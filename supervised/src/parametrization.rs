//! Which combinations of attributes get features of their own.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), section 3 and its appendix. Coupled
//! attributes are redundant: both tell `Pos`, so conditional means count it twice, which least squares does not.

use serde::{Deserialize, Serialize};
use tasks::Attribute;

/// What the features of a dictionary stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::Display, strum::VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Parametrization {
    /// Each attribute of the task by itself (`IO`, `S` and `Pos`): the paper's main one.
    Independent,
    /// `(IO, Pos)` and `(S, Pos)`.
    Coupled,
    /// The first, the second and the third name of the prompt. At the positions of IO, S1 and S1+1 the third has not
    /// been read and is left out.
    Names,
}

impl Parametrization {
    /// The attributes that it is made of; the independent one is made of whatever a task has.
    pub fn needs(self) -> &'static [Attribute] {
        match self {
            Self::Independent => &[],
            Self::Coupled | Self::Names => &[Attribute::IO, Attribute::S, Attribute::POS],
        }
    }
}
