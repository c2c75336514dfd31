//! Whether intervals cover what they claim, on real seeds: many of one family are trained, few are drawn at a time, and their interval
//! should hold the mean of the others on other prompts.
//!
//! The mean of the others is known from as many seeds as are left, and is noise itself, so what is measured is a little less than what
//! the interval has.

use crate::Error;
use crate::compare::{Evaluation, check_paired_but_for_prompts};
use crate::ledger::{Selection, members};
use crate::metric::Metric;
use crate::statistics::{LEVEL, Measured, family_mean};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

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
}

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
        let places: Vec<String> = ours.first().map_or_else(Vec::new, |first| {
            let everywhere = |place: &&String| ours.iter().chain(&theirs).all(|of| of.contains_key(*place));
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
    places: &[String],
    seeds: usize,
    trials: usize,
) -> Covered {
    // One list of places: each alone, and all of them together.
    let mut lists: Vec<&[String]> = places.chunks(1).collect();
    lists.push(places);
    let trial = |trial: usize| -> Vec<Option<(bool, f64)>> {
        let mut order: Vec<usize> = (0..ours.len()).collect();
        order.shuffle(&mut kernels::random::rng(trial as u64, "coverage"));
        let (drawn, others) = order.split_at(seeds);
        let of_list = |list: &&[String]| {
            let only =
                |measured: &Measured<'_>| list.iter().map(|place| measured[place].0).sum::<f64>() / list.len() as f64;
            let truth = others.iter().map(|&seed| only(&theirs[seed])).sum::<f64>() / others.len() as f64;
            let of_seed = |&seed: &usize| -> Measured<'_> {
                list.iter()
                    .map(|place| (place.clone(), ours[seed][place]))
                    .collect::<BTreeMap<_, _>>()
            };
            let drawn: Vec<Measured<'_>> = drawn.iter().map(of_seed).collect();
            let found = family_mean(&drawn, selection.metric.is_share(), trial as u64)?;
            let (low, high) = found.interval(LEVEL)?;
            Some(((low..=high).contains(&truth), high - low))
        };
        lists.iter().map(of_list).collect()
    };
    let found: Vec<Vec<Option<(bool, f64)>>> = (0..trials).into_par_iter().map(trial).collect();
    let summed = |of: &dyn Fn(usize) -> bool| {
        let all = found
            .iter()
            .flat_map(|trial| trial.iter().enumerate().filter(|(list, _)| of(*list)));
        let all: Vec<(bool, f64)> = all.filter_map(|(_, found)| *found).collect();
        let n = all.len().max(1) as f64;
        let covered = all.iter().filter(|(covered, _)| *covered).count() as f64;
        (
            all.len(),
            covered / n,
            all.iter().map(|(_, width)| width).sum::<f64>() / n,
        )
    };
    let (intervals, share, width) = summed(&|list| list < places.len());
    let (_, share_of_means, width_of_means) = summed(&|list| list == places.len());
    Covered {
        metric: selection.metric,
        k: selection.k,
        intervals,
        share,
        width,
        share_of_means,
        width_of_means,
    }
}
