//! A beam search for the latents of an edit: as [`super::greedy()`], but the [`WIDTH`] best partial choices are carried
//! along.
//!
//! Not in the paper; it shows how far greedy choices are from good ones where an exhaustive search is too long.
//!
//! Shape legend: `N` prompts.

use super::gains::Gains;
use super::{Side, Swap, for_each_prompt};
use dictionaries::Directions;
use rayon::iter::ParallelIterator;

/// Partial choices that are carried along.
const WIDTH: usize = 8;

/// For every prompt at most `k` swaps, the best choice that was met on the way.
///
/// `source`, `target`: activations `[N, D]`, each with its codes.
pub fn beam(source: Side<'_>, target: Side<'_>, directions: &Directions, k: usize) -> Vec<Vec<Swap>> {
    let edit = |source: &[f32], target: &[f32], candidates: Vec<Swap>| {
        let gains = Gains::new(source, target, &candidates, directions);
        best(&gains, k).into_iter().map(|place| candidates[place]).collect()
    };
    for_each_prompt(source, target, edit).collect()
}

/// A choice by rising place, and what it gains.
type Choice = (Vec<usize>, f64);

fn best(gains: &Gains<'_>, k: usize) -> Vec<usize> {
    let mut kept: Vec<Choice> = vec![(Vec::new(), 0.0)];
    let mut best: Choice = (Vec::new(), 0.0);
    for _ in 0..k {
        let mut grown: Vec<Choice> = Vec::new();
        for (taken, gain) in &kept {
            for j in (0..gains.alone.len()).filter(|j| !taken.contains(j)) {
                let mut longer = taken.clone();
                longer.insert(taken.partition_point(|&i| i < j), j);
                grown.push((longer, gain + gains.adding(taken, j)));
            }
        }
        // The same choice reached in another order has the same places; the order of ties is that of the places.
        grown.sort_by(|a, b| a.0.cmp(&b.0));
        grown.dedup_by(|a, b| a.0 == b.0);
        grown.sort_by(|a, b| b.1.total_cmp(&a.1));
        grown.truncate(WIDTH);
        match grown.first() {
            Some(first) if first.1 > best.1 => best = first.clone(),
            Some(_) => {}
            None => break,
        }
        kept = grown;
    }
    best.0
}
