//! Every choice of at most three latents: the yardstick for the greedy search.
//!
//! Not in the paper. What the best choice gains over the greedy one is the price of being greedy.
//!
//! Shape legend: `N` prompts, `m` candidates of a prompt.

use super::gains::Gains;
use super::{Side, Swap, for_each_prompt};
use dictionaries::Directions;
use rayon::iter::ParallelIterator;

/// Largest `k`.
pub(crate) const MOST: usize = 3;
/// Candidates of a prompt beyond which their triples are too many (160: 0.7 million).
const MOST_CANDIDATES: usize = 160;

/// For every prompt the best choice of at most `k` swaps, `k` at most 3; of equal ones the first.
///
/// `None` when `k` is larger or some prompt has more than 160 latents to choose from.
///
/// `source`, `target`: activations `[N, D]`, each with its codes.
pub fn exhaustive(source: Side<'_>, target: Side<'_>, directions: &Directions, k: usize) -> Option<Vec<Vec<Swap>>> {
    if k > MOST {
        return None;
    }
    let edit = |source: &[f32], target: &[f32], candidates: Vec<Swap>| {
        if candidates.len() > MOST_CANDIDATES {
            return None;
        }
        let gains = Gains::new(source, target, &candidates, directions);
        let mut best = (Vec::new(), 0.0);
        grow(&gains, k, &mut Vec::new(), 0.0, &mut best);
        Some(best.0.into_iter().map(|place| candidates[place]).collect())
    };
    for_each_prompt(source, target, edit).collect()
}

/// Tries all ways to lengthen `taken` by later places.
fn grow(gains: &Gains<'_>, left: usize, taken: &mut Vec<usize>, gain: f64, best: &mut (Vec<usize>, f64)) {
    if gain > best.1 {
        *best = (taken.clone(), gain);
    }
    if left == 0 {
        return;
    }
    for j in taken.last().map_or(0, |last| last + 1)..gains.alone.len() {
        let more = gains.adding(taken, j);
        taken.push(j);
        grow(gains, left - 1, taken, gain + more, best);
        taken.pop();
    }
}
