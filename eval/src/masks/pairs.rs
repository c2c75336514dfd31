//! Pairs of a base and a source activation, and what the model should answer when the attribute's part is exchanged.
//!
//! Shape legend: `M` pairs, `D` width of all nodes of the site together.

use dictionaries::Rows;
use tasks::Attribute;

/// What differs between base and source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The attribute that the mask is of: the answer is to become that of the ground-truth patch.
    Cause,
    /// Another attribute alone: the answer is to stay.
    Isolation(Attribute),
}

/// Pairs of activations, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// Activations of the bases, `[M, D]`.
    pub base: Rows,
    /// Activations of the sources, `[M, D]`.
    pub source: Rows,
    /// What the model should answer, `[M]`.
    pub tokens: Vec<u32>,
    /// What differs, `[M]`.
    pub kinds: Vec<Kind>,
}

impl Pairs {
    /// The mean over pairs of one kind of whether the answers are those wanted, a list in the order of the pairs.
    pub fn right(&self, kind: Kind, answers: &[u32]) -> Vec<f32> {
        let of_kind = self
            .kinds
            .iter()
            .zip(self.tokens.iter().zip(answers))
            .filter(|(found, _)| **found == kind);
        of_kind
            .map(|(_, (wanted, answer))| f32::from(u8::from(wanted == answer)))
            .collect()
    }

    /// The kinds of isolation that occur.
    pub fn others(&self) -> Vec<Kind> {
        let mut others: Vec<Kind> = self.kinds.iter().copied().filter(|kind| *kind != Kind::Cause).collect();
        others.sort();
        others.dedup();
        others
    }
}
