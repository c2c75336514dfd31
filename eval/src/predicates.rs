//! What can be said of a prompt: families of predicates that latents are described with.
//!
//! Section 4.3 and appendix of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)): the pattern;
//! a name as indirect object or subject, at whatever place, first or second; a name in the sentence, first or second; the
//! genders. Predicates about a name can be joined: "IO is Anna or Paul or ...".
//!
//! Shape legend: `P` predicates of a family.

use tasks::{Attribute, IoiTask, Labels, lists};

/// A family of predicates; of a prompt at most two hold.
#[derive(Debug, Clone)]
pub struct Family {
    /// Name in reports.
    pub name: &'static str,
    /// Number of predicates, `P`.
    pub n: usize,
    /// Whether predicates of the family may be joined.
    pub unions: bool,
    holds: fn(&Labels, &[usize]) -> [Option<usize>; 2],
    /// 0 or 1 for each name.
    genders: Vec<usize>,
}

impl Family {
    /// The predicates that hold.
    pub fn holding(&self, labels: &Labels) -> impl Iterator<Item = usize> + use<> {
        (self.holds)(labels, &self.genders).into_iter().flatten()
    }
}

/// The families of the indirect-object task.
pub fn families(task: &IoiTask) -> Vec<Family> {
    type Holds = fn(&Labels, &[usize]) -> [Option<usize>; 2];
    let names = task.n_values(Attribute::Io);
    let gender = |name: usize| {
        let is_female = lists::FEMALE_NAMES.contains(&task.value_name(Attribute::Io, name));
        usize::from(is_female)
    };
    let genders: Vec<usize> = (0..names).map(gender).collect();
    let all: [(&'static str, usize, Holds); 12] = [
        ("Pos", 2, |&[_, _, pos], _| [Some(pos), None]),
        ("IO", names, |&[io, ..], _| [Some(io), None]),
        ("IO first", names, |&[io, _, pos], _| [(pos == 0).then_some(io), None]),
        ("IO second", names, |&[io, _, pos], _| [(pos == 1).then_some(io), None]),
        ("S", names, |&[_, s, _], _| [Some(s), None]),
        ("S first", names, |&[_, s, pos], _| [(pos == 1).then_some(s), None]),
        ("S second", names, |&[_, s, pos], _| [(pos == 0).then_some(s), None]),
        ("name", names, |&[io, s, _], _| [Some(io), Some(s)]),
        ("first name", names, |&[io, s, pos], _| {
            [Some(if pos == 0 { io } else { s }), None]
        }),
        ("second name", names, |&[io, s, pos], _| {
            [Some(if pos == 0 { s } else { io }), None]
        }),
        ("IO gender", 2, |&[io, ..], genders| [Some(genders[io]), None]),
        ("S gender", 2, |&[_, s, _], genders| [Some(genders[s]), None]),
    ];
    all.into_iter()
        .map(|(name, n, holds)| Family {
            name,
            n,
            unions: n > 2,
            holds,
            genders: genders.clone(),
        })
        .collect()
}
