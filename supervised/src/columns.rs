//! Which latent stands for what.
//!
//! Everything follows from the labels alone. The independent parametrization is for any task, the other two for the
//! indirect object: there the names of a prompt are in the order IO, S, S when `Pos` is 0 (ABB), and S, IO, S when it is 1
//! (BAB).

use std::ops::Range;

use tasks::{Attribute, ByAttribute, Labels, Role};

use crate::{Error, Parametrization};

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
    n_values: ByAttribute,
    groups: Vec<(Group, Range<usize>)>,
}

impl Columns {
    /// The latents of a dictionary for activations at `role`.
    ///
    /// `n_values` is the number of values of each attribute; one without a number is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Parametrization`] when an attribute is missing that the parametrization is made of.
    pub fn new(parametrization: Parametrization, n_values: ByAttribute, role: Role) -> Result<Self, Error> {
        if let Some(&missing) = parametrization
            .needs()
            .iter()
            .find(|&&needed| n_values.get(needed).is_none())
        {
            return Err(Error::Parametrization {
                parametrization,
                missing,
            });
        }
        if parametrization == Parametrization::Independent {
            return Ok(n_values.into());
        }
        // Before the subject is named again there are two names.
        let n_names = match role {
            Role::IO | Role::S1 | Role::S1_PLUS_1 => 2,
            _ => 3,
        };
        let groups = match parametrization {
            Parametrization::Names => (0..n_names).map(Group::Name).collect(),
            _ => vec![Group::WithPos(Attribute::IO), Group::WithPos(Attribute::S)],
        };
        Ok(Self::of(parametrization, n_values, groups))
    }

    fn of(parametrization: Parametrization, n_values: ByAttribute, groups: Vec<Group>) -> Self {
        let mut end = 0;
        let groups = groups.into_iter().map(|group| {
            let start = end;
            end += group.len(&n_values);
            (group, start..end)
        });
        let groups = groups.collect();
        Self {
            parametrization,
            n_values,
            groups,
        }
    }

    /// What the latents stand for.
    pub fn parametrization(&self) -> Parametrization {
        self.parametrization
    }

    /// Values of each attribute that is not left out.
    pub fn n_values(&self) -> &ByAttribute {
        &self.n_values
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
        let on = |(group, range): &(Group, Range<usize>)| range.clone().nth(group.value(labels, &self.n_values)?);
        self.groups.iter().filter_map(on)
    }
}

/// The independent parametrization, which is the same at every role.
impl From<ByAttribute> for Columns {
    fn from(n_values: ByAttribute) -> Self {
        let groups = n_values.attributes().map(Group::Value).collect();
        Self::of(Parametrization::Independent, n_values, groups)
    }
}

impl Group {
    /// Number of latents.
    fn len(self, n_values: &ByAttribute) -> usize {
        let of = |attribute: Attribute| n_values.get(attribute).unwrap_or(0);
        match self {
            Self::Value(attribute) => of(attribute),
            Self::WithPos(attribute) => of(attribute) * of(Attribute::POS),
            Self::Name(_) => of(Attribute::IO).max(of(Attribute::S)), // both are indices into one list of names
        }
    }

    /// Which of the latents is on; none when the labels lack an attribute, or `Pos` has no such value.
    fn value(self, labels: &Labels, n_values: &ByAttribute) -> Option<usize> {
        let pos = labels.get(Attribute::POS);
        match self {
            Self::Value(attribute) => labels.get(attribute),
            Self::WithPos(attribute) => {
                let (pos, n_pos) = (pos?, n_values.get(Attribute::POS)?);
                (pos < n_pos).then_some(labels.get(attribute)? * n_pos + pos)
            }
            Self::Name(place) => {
                let order = match pos? {
                    0 => [Attribute::IO, Attribute::S, Attribute::S],
                    _ => [Attribute::S, Attribute::IO, Attribute::S],
                };
                labels.get(order[place])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latents_follow_from_the_labels() {
        let on = |parametrization, role, labels| -> Vec<usize> {
            let columns = Columns::new(parametrization, ByAttribute::ioi([5, 5, 2]), role).unwrap();
            columns.active(&Labels::ioi(labels)).collect()
        };
        let independent = |labels| on(Parametrization::Independent, Role::END, labels);
        assert_eq!(
            (independent([3, 1, 0]), independent([3, 9, 1])),
            (vec![3, 6, 10], vec![3, 11])
        );
        let coupled = |labels| on(Parametrization::Coupled, Role::END, labels);
        assert_eq!((coupled([3, 1, 0]), coupled([3, 1, 1])), (vec![6, 12], vec![7, 13]));
        assert_eq!((coupled([3, 1, 2]), coupled([5, 1, 0])), (vec![], vec![12]));
        let names = |labels| on(Parametrization::Names, Role::S2, labels);
        assert_eq!((names([3, 1, 0]), names([3, 1, 1])), (vec![3, 6, 11], vec![1, 8, 11]));
        // Before the third name is read there are two.
        assert_eq!(on(Parametrization::Names, Role::S1_PLUS_1, [3, 1, 1]), [1, 8]);
    }

    #[test]
    fn sizes_are_those_of_the_paper() {
        let n_values = ByAttribute::ioi([216, 216, 2]);
        let len = |parametrization, role| Columns::new(parametrization, n_values.clone(), role).unwrap().len();
        assert_eq!(len(Parametrization::Independent, Role::END), 434);
        assert_eq!(len(Parametrization::Coupled, Role::END), 864);
        assert_eq!(
            (
                len(Parametrization::Names, Role::END),
                len(Parametrization::Names, Role::IO)
            ),
            (648, 432)
        );
    }
    #[test]
    fn other_tasks_have_the_independent_parametrization_only() {
        let n_values = ByAttribute::from_iter([(Attribute::GENDER, 2), (Attribute::OTHER_GENDER, 2)]);
        let columns = Columns::new(Parametrization::Independent, n_values.clone(), Role::END).unwrap();
        assert_eq!((columns.len(), columns.range(Attribute::OTHER_GENDER)), (4, 2..4));
        assert_eq!(columns.active(&Labels::ioi([0, 1, 1])).count(), 0);
        let error = Columns::new(Parametrization::Coupled, n_values, Role::END).unwrap_err();
        assert!(
            error.to_string().contains("coupled") && error.to_string().contains("IO"),
            "{error}"
        );
    }
}
