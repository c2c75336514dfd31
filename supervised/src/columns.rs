//! Which latent stands for what.
//!
//! Everything follows from the labels `[IO, S, Pos]` alone. The names of a prompt are in the order IO, S, S when `Pos` is
//! 0 (ABB), and S, IO, S when it is 1 (BAB).

use std::ops::Range;

use tasks::{Attribute, Labels, Role};

use crate::Parametrization;

/// What one of the latents of a group says about a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// The value of an attribute.
    Value(Attribute),
    /// The value of an attribute together with that of `Pos`.
    WithPos(Attribute),
    /// The name in this place of the prompt, from 0.
    Name(usize),
}

/// The latents of a dictionary: those of its first group, then those of its second, and so on.
///
/// In each group exactly one latent is on for every prompt, if its value was among the fitted ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    parametrization: Parametrization,
    n_values: [usize; 3],
    groups: Vec<(Group, Range<usize>)>,
}

impl Columns {
    /// The latents of a dictionary for activations at `role`.
    ///
    /// `n_values` is the number of values of each attribute in the order of [`Attribute::ALL`]. An attribute with 0 is left
    /// out of the independent parametrization; the others need all three.
    pub fn new(parametrization: Parametrization, n_values: [usize; 3], role: Role) -> Self {
        let n_names = match role {
            Role::Io | Role::S1 | Role::S1Plus1 => 2,
            Role::S2 | Role::End => 3,
        };
        let groups = match parametrization {
            Parametrization::Independent => Attribute::ALL.map(Group::Value).to_vec(),
            Parametrization::Coupled => vec![Group::WithPos(Attribute::Io), Group::WithPos(Attribute::S)],
            Parametrization::Names => (0..n_names).map(Group::Name).collect(),
        };
        let mut end = 0;
        let groups = groups.into_iter().map(|group| {
            let start = end;
            end += group.len(n_values);
            (group, start..end)
        });
        Self {
            parametrization,
            n_values,
            groups: groups.collect(),
        }
    }

    /// What the latents stand for.
    pub fn parametrization(&self) -> Parametrization {
        self.parametrization
    }

    /// Values of each attribute, in the order of [`Attribute::ALL`]; 0 for one that is left out.
    pub fn n_values(&self) -> [usize; 3] {
        self.n_values
    }

    /// Number of latents `F`.
    pub(crate) fn len(&self) -> usize {
        self.groups.last().map_or(0, |(_, range)| range.end)
    }

    /// The latents of an attribute, one for each of its values; none where no latent stands for the attribute alone.
    pub(crate) fn range(&self, attribute: Attribute) -> Range<usize> {
        let of = |(group, _): &&(Group, Range<usize>)| *group == Group::Value(attribute);
        self.groups.iter().find(of).map_or(0..0, |(_, range)| range.clone())
    }

    /// The latents that are on for these labels; a group none of whose values is that of the labels has none.
    pub(crate) fn active(&self, labels: &Labels) -> impl Iterator<Item = usize> {
        let on = |(group, range): &(Group, Range<usize>)| range.clone().nth(group.value(labels, self.n_values)?);
        self.groups.iter().filter_map(on)
    }
}

/// The independent parametrization, which is the same at every role.
impl From<[usize; 3]> for Columns {
    fn from(n_values: [usize; 3]) -> Self {
        Self::new(Parametrization::Independent, n_values, Role::End)
    }
}

impl Group {
    /// Number of latents.
    fn len(self, n_values: [usize; 3]) -> usize {
        let of = |attribute: Attribute| n_values[attribute.index()];
        match self {
            Self::Value(attribute) => of(attribute),
            Self::WithPos(attribute) => of(attribute) * of(Attribute::Pos),
            Self::Name(_) => of(Attribute::Io).max(of(Attribute::S)), // both are indices into one list of names
        }
    }

    /// Which of the latents is on; none when `Pos` has no such value.
    fn value(self, labels: &Labels, n_values: [usize; 3]) -> Option<usize> {
        let of = |attribute: Attribute| labels[attribute.index()];
        let (pos, n_pos) = (of(Attribute::Pos), n_values[Attribute::Pos.index()]);
        match self {
            Self::Value(attribute) => Some(of(attribute)),
            Self::WithPos(attribute) => (pos < n_pos).then(|| of(attribute) * n_pos + pos),
            Self::Name(place) => {
                let order = match pos {
                    0 => [Attribute::Io, Attribute::S, Attribute::S],
                    _ => [Attribute::S, Attribute::Io, Attribute::S],
                };
                Some(of(order[place]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_follow_from_the_labels() {
        let on = |parametrization, role, labels: Labels| -> Vec<usize> {
            let columns = Columns::new(parametrization, [5, 5, 2], role);
            columns.active(&labels).collect()
        };
        let independent = |labels| on(Parametrization::Independent, Role::End, labels);
        assert_eq!(
            (independent([3, 1, 0]), independent([3, 9, 1])),
            (vec![3, 6, 10], vec![3, 11])
        );
        let coupled = |labels| on(Parametrization::Coupled, Role::End, labels);
        assert_eq!((coupled([3, 1, 0]), coupled([3, 1, 1])), (vec![6, 12], vec![7, 13]));
        assert_eq!((coupled([3, 1, 2]), coupled([5, 1, 0])), (vec![], vec![12]));
        let names = |labels| on(Parametrization::Names, Role::S2, labels);
        assert_eq!((names([3, 1, 0]), names([3, 1, 1])), (vec![3, 6, 11], vec![1, 8, 11]));
        // Before the third name is read there are two.
        assert_eq!(on(Parametrization::Names, Role::S1Plus1, [3, 1, 1]), [1, 8]);
    }

    #[test]
    fn sizes_are_those_of_the_paper() {
        let len = |parametrization, role| Columns::new(parametrization, [216, 216, 2], role).len();
        assert_eq!(len(Parametrization::Independent, Role::End), 434);
        assert_eq!(len(Parametrization::Coupled, Role::End), 864);
        assert_eq!(
            (
                len(Parametrization::Names, Role::End),
                len(Parametrization::Names, Role::Io)
            ),
            (648, 432)
        );
    }
}
