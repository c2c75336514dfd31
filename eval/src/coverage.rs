//! Whether intervals cover what they claim, on real seeds: many of one family are trained, few are drawn at a time, and their interval
//! should hold the mean of the others on other prompts. The interval of the difference to as many others should hold zero.
//!
//! The mean of the others is known from as many seeds as are left, and is noise itself, so what is measured is a little less than what
//! the interval has.

use crate::Error;
use crate::compare::{Evaluation, check_paired_but_for_prompts};
use crate::ledger::{Selection, members};
use crate::metric::Metric;
use crate::statistics::{LEVEL, Measured, Place, difference, family_mean};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;

/// How often intervals of one kind of score held what they should.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Covered {
    /// What is scored.
    pub metric: Metric,
    /// Latents of an edit.
    pub k: Option<usize>,
    /// Intervals of single places: how many there were.
    pub intervals: usize,
    /// The share of them that held the mean of the other seeds.
    pub share: f64,
    /// Their mean width.
    pub width: f64,
    /// The share of intervals of means over all places that did.
    pub share_of_means: f64,
    /// Their mean width.
    pub width_of_means: f64,
    /// The share of intervals of the difference of two such means, of different seeds, that held zero.
    pub share_of_differences: f64,
    /// Their mean width.
    pub width_of_differences: f64,
}

/// Whether an interval held what it should, and how wide it is.
type Held = Option<(bool, f64)>;

/// Draws `seeds` of a family `trials` times; `truth` is an evaluation of the same dictionaries on other prompts.
///
/// # Errors
/// [`Error::Unpaired`] when the two are not of the same model and sites; [`Error::UnknownSet`] for a family that is not there;
/// [`Error::Coverage`] when it has too few seeds.
pub fn coverage(
    run: &Evaluation,
    truth: &Evaluation,
    (family, seeds): (&str, usize),
    selections: &[Selection],
    trials: usize,
) -> Result<Vec<Covered>, Error> {
    check_paired_but_for_prompts(run, truth)?;
    let names = members(&run.report.dictionaries, family);
    if names.is_empty() || names != members(&truth.report.dictionaries, family) {
        let known = run.report.dictionaries.iter().map(|facts| facts.family.as_str());
        return Err(Error::UnknownSet {
            found: family.to_owned(),
            known: known
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(", "),
        });
    }
    if seeds < 2 || names.len() < 2 * seeds {
        return Err(Error::Coverage {
            family: family.to_owned(),
            found: names.len(),
            wanted: 2 * seeds.max(2),
        });
    }
    let of = |selection: &Selection| {
        let [ours, theirs] = [run, truth].map(|of| selection.of_family(&of.entries, &names));
        let places: Vec<Place> = ours.first().map_or_else(Vec::new, |first| {
            let everywhere = |place: &&Place| ours.iter().chain(&theirs).all(|of| of.contains_key(*place));
            first.keys().filter(everywhere).cloned().collect()
        });
        (!places.is_empty()).then(|| of_selection(selection, &ours, &theirs, &places, seeds, trials))
    };
    Ok(selections.iter().filter_map(of).collect())
}

fn of_selection(
    selection: &Selection,
    ours: &[Measured<'_>],
    theirs: &[Measured<'_>],
    places: &[Place],
    seeds: usize,
    trials: usize,
) -> Covered {
    let metric = selection.metric;
    let trial = |trial: usize| {
        let mut order: Vec<usize> = (0..ours.len()).collect();
        order.shuffle(&mut kernels::random::rng(trial as u64, "coverage"));
        let (drawn, others) = order.split_at(seeds);
        let of = |list: &[Place]| -> Held {
            let mean =
                |&seed: &usize| list.iter().map(|place| theirs[seed][place].value).sum::<f64>() / list.len() as f64;
            let truth = others.iter().map(mean).sum::<f64>() / others.len() as f64;
            let ends = family_mean(&at(ours, drawn, list), metric)?.interval(LEVEL)?;
            Some(held(ends, truth))
        };
        let apart = difference(&at(ours, drawn, places), &at(ours, &others[..seeds], places), metric);
        Trial {
            single: places.chunks(1).map(of).collect(),
            mean: of(places),
            difference: apart
                .and_then(|apart| apart.interval(LEVEL))
                .map(|ends| held(ends, 0.0)),
        }
    };
    let found: Vec<Trial> = (0..trials).into_par_iter().map(trial).collect();
    let single: Vec<Held> = found.iter().flat_map(|trial| trial.single.iter().copied()).collect();
    let means: Vec<Held> = found.iter().map(|trial| trial.mean).collect();
    let differences: Vec<Held> = found.iter().map(|trial| trial.difference).collect();
    let (intervals, share, width) = summed(&single);
    let (_, share_of_means, width_of_means) = summed(&means);
    let (_, share_of_differences, width_of_differences) = summed(&differences);
    Covered {
        metric,
        k: selection.k,
        intervals,
        share,
        width,
        share_of_means,
        width_of_means,
        share_of_differences,
        width_of_differences,
    }
}

/// What one draw of seeds gave.
struct Trial {
    /// The interval of each place.
    single: Vec<Held>,
    /// That of the mean of all places.
    mean: Held,
    /// That of the difference of this mean from one of other seeds.
    difference: Held,
}

/// Some of the seeds at some of the places.
fn at<'e>(all: &[Measured<'e>], seeds: &[usize], places: &[Place]) -> Vec<Measured<'e>> {
    let of_seed = |&seed: &usize| places.iter().map(|place| (place.clone(), all[seed][place])).collect();
    seeds.iter().map(of_seed).collect()
}

fn held((low, high): (f64, f64), truth: f64) -> (bool, f64) {
    ((low..=high).contains(&truth), high - low)
}

/// Number of intervals, share of them that held, and mean width.
fn summed(of: &[Held]) -> (usize, f64, f64) {
    let defined: Vec<(bool, f64)> = of.iter().copied().flatten().collect();
    let n = defined.len().max(1) as f64;
    let held = defined.iter().filter(|(held, _)| *held).count() as f64;
    (
        defined.len(),
        held / n,
        defined.iter().map(|(_, width)| width).sum::<f64>() / n,
    )
}
