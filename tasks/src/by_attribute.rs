//! A number for each of the attributes that a task has.

use std::fmt;

use crate::names::Attribute;

/// A number for some attributes: the values of a prompt, or how many values there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByAttribute(Vec<(Attribute, usize)>); // each attribute once, in order

/// The value of each attribute of one prompt, from 0. What a value stands for is said by
/// [`Task::value_name`](crate::Task::value_name).
pub type Labels = ByAttribute;

impl ByAttribute {
    /// Numbers for the attributes of the indirect-object task: `IO`, `S`, `Pos`.
    pub fn ioi([io, s, pos]: [usize; 3]) -> Self {
        [(Attribute::IO, io), (Attribute::S, s), (Attribute::POS, pos)]
            .into_iter()
            .collect()
    }

    /// The numbers of `IO`, `S` and `Pos`; nothing when one is missing, as it is in other tasks.
    pub fn as_ioi(&self) -> Option<[usize; 3]> {
        Some([
            self.get(Attribute::IO)?,
            self.get(Attribute::S)?,
            self.get(Attribute::POS)?,
        ])
    }

    /// The number of an attribute, if it has one.
    pub fn get(&self, attribute: Attribute) -> Option<usize> {
        let found = self.0.iter().find(|(of, _)| *of == attribute);
        found.map(|(_, number)| *number)
    }

    /// Attributes with their numbers, in the order of attributes.
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, usize)> {
        self.0.iter().copied()
    }

    /// The attributes that have a number.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.iter().map(|(attribute, _)| attribute)
    }

    /// Whether no attribute has a number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of an attribute that comes twice the later number counts.
impl FromIterator<(Attribute, usize)> for ByAttribute {
    fn from_iter<I: IntoIterator<Item = (Attribute, usize)>>(numbers: I) -> Self {
        let mut all: Vec<(Attribute, usize)> = Vec::new();
        for (attribute, number) in numbers {
            match all.binary_search_by(|(of, _)| of.cmp(&attribute)) {
                Ok(place) => all[place].1 = number,
                Err(place) => all.insert(place, (attribute, number)),
            }
        }
        Self(all)
    }
}

/// `IO 3, S 1, Pos 0`.
impl fmt::Display for ByAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (attribute, number)) in self.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{attribute} {number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_lacks_has_no_number() {
        let labels = Labels::ioi([3, 1, 0]);
        assert_eq!(
            (labels.get(Attribute::S), labels.get(Attribute::GENDER)),
            (Some(1), None)
        );
        assert_eq!(labels.to_string(), "IO 3, S 1, Pos 0");
        assert_eq!(labels.iter().collect::<ByAttribute>(), labels);
    }
}
