//! Which latent stands for which value of which attribute.

use std::ops::Range;

use tasks::{Attribute, Labels};

/// The latents of a dictionary: the values of the first attribute, then of the second, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Columns {
    /// Values of each attribute, in the order of [`Attribute::ALL`]; 0 for one that is left out.
    pub(crate) n_values: [usize; 3],
}

impl Columns {
    /// Number of latents `F`.
    pub(crate) fn len(&self) -> usize {
        self.n_values.iter().sum()
    }

    /// The latents of an attribute.
    pub(crate) fn range(&self, attribute: Attribute) -> Range<usize> {
        let index = Attribute::ALL.iter().position(|&other| other == attribute).unwrap_or(0);
        self.range_at(index)
    }

    /// The latents of the attribute at this place of [`Attribute::ALL`].
    pub(crate) fn range_at(&self, index: usize) -> Range<usize> {
        let start: usize = self.n_values[..index].iter().sum();
        start..start + self.n_values[index]
    }

    /// The latents that are on for these labels; an attribute whose value is not among the fitted ones has none.
    pub(crate) fn active(&self, labels: &Labels) -> impl Iterator<Item = usize> {
        let columns = labels
            .iter()
            .enumerate()
            .map(|(index, &value)| self.range_at(index).nth(value));
        columns.flatten().collect::<Vec<_>>().into_iter()
    }
}
