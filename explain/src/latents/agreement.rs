//! Whether an explanation is true: its agreement with the label of the tokens on which the latent is active.
//!
//! The label of a latent is the one of highest Matthews' correlation with its activity on the explaining half; how much it is to be
//! believed is said by its F1 on the scoring half. From 0.8 on the latent is *grounded*.

use eval::agreement::Agreement;

use super::example::Example;
use super::says::Says;
use super::scan::LabelCounts;

/// F1 from which a latent stands for its label.
pub const GROUNDED: f64 = 0.8;
/// Matthews' correlation with the label from which an explanation is called true.
pub const TRUE: f64 = 0.8;
/// Tokens of each half on which a label must hold.
const FEWEST: u32 = 10;

/// What a latent stands for, as far as a label says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grounding {
    /// The label.
    pub label: u32,
    /// F1 of the latent's activity and the label on the scoring half.
    pub f1: f64,
    /// Their Matthews' correlation there.
    pub mcc: f64,
}

impl Grounding {
    /// Whether the latent stands for its label.
    pub fn is_grounded(&self) -> bool {
        self.f1 >= GROUNDED
    }
}

/// The label of a latent; `None` where none holds often enough, or the latent is silent.
pub fn ground(counts: &LabelCounts, active: [u64; 2], latent: usize) -> Option<Grounding> {
    let of = |half: usize, label: usize| {
        let both = f64::from(counts.both[half][latent * counts.labels + label]);
        let (active, holds) = (active[half] as f64, f64::from(counts.holds[half][label]));
        Agreement {
            both,
            active,
            holds,
            n: counts.tokens[half] as f64,
        }
    };
    if active[0] == 0 {
        return None;
    }
    let fit = (0..counts.labels).filter(|label| counts.holds.iter().all(|holds| holds[*label] >= FEWEST));
    let mut scored: Vec<(f64, usize)> = fit.map(|label| (of(0, label).mcc(), label)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let (_, label) = *scored.first()?;
    let found = of(1, label);
    Some(Grounding {
        label: label as u32,
        f1: found.f1(),
        mcc: found.mcc(),
    })
}

/// Matthews' correlation of what an explanation says with what another says, over all tokens of some slices; `None` where the other
/// holds on none of them or on all.
pub fn agreement(says: &Says<'_>, truth: &Says<'_>, probes: &[Example]) -> Option<f64> {
    let mut found = Agreement::default();
    for probe in probes {
        for at in &probe.positions {
            found.add(says.grade(probe, *at) > 0, truth.grade(probe, *at) > 0);
        }
    }
    found.balanced_accuracy().map(|_| found.mcc())
}

/// Matthews' correlation of what an explanation says with the latent's activity, over all tokens of some slices.
pub fn behaviour(says: &Says<'_>, probes: &[Example]) -> Option<f64> {
    let found = with_activity(says, probes);
    found.balanced_accuracy().map(|_| found.mcc())
}

/// What an explanation says beside the latent's activity, over all tokens of some slices.
pub(super) fn with_activity(says: &Says<'_>, probes: &[Example]) -> Agreement {
    let mut found = Agreement::default();
    for probe in probes {
        for (at, value) in probe.positions.iter().zip(&probe.values) {
            found.add(says.grade(probe, *at) > 0, *value > 0.0);
        }
    }
    found
}
