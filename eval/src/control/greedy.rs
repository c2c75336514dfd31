//! The greedy search of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4.2).
//!
//! Repeat up to `k` times: take the `j` that minimises `||s + c_j - (a_t - a_s)||`, `s` being the sum so far; each latent
//! once; stop when nothing improves. The picks for a smaller `k` are the first ones for a larger.
//!
//! Shape legend: `N` prompts, `D` width of a node.

use super::{Side, Swap, for_each_prompt};
use dictionaries::{Directions, dot};
use rayon::iter::ParallelIterator;

/// The greedy edit of one activation: at most `k` exchanged latents in the order they were picked.
///
/// A pick lowers the squared distance by `2 delta_j u_j . r - delta_j^2 ||u_j||^2`, `r = a_t - a_s - s`; the largest
/// gain wins, the lowest latent on a tie, and a gain of nothing ends the search.
pub fn greedy_row(
    source: &[f32],
    target: &[f32],
    mut candidates: Vec<Swap>,
    directions: &Directions,
    k: usize,
) -> Vec<Swap> {
    let mut residual: Vec<f32> = target.iter().zip(source).map(|(t, s)| t - s).collect(); // [D]
    let mut picked = Vec::with_capacity(k.min(candidates.len()));
    while picked.len() < k {
        let mut best = None;
        let mut best_gain = 0.0;
        for (place, swap) in candidates.iter().enumerate() {
            let (delta, j) = (f64::from(swap.delta()), swap.latent as usize);
            let gain = 2.0 * delta * dot(directions.rows.row(j), &residual) - delta * delta * directions.squared[j];
            if gain > best_gain {
                (best, best_gain) = (Some(place), gain);
            }
        }
        let Some(place) = best else { break };
        let swap = candidates.remove(place);
        for (r, u) in residual.iter_mut().zip(directions.rows.row(swap.latent as usize)) {
            *r -= swap.delta() * u;
        }
        picked.push(swap);
    }
    picked
}

/// The greedy edit of every prompt, `N` lists of at most `k` swaps.
///
/// `source`, `target`: activations `[N, D]`, each with its codes.
pub fn greedy(source: Side<'_>, target: Side<'_>, directions: &Directions, k: usize) -> Vec<Vec<Swap>> {
    let edit = |source: &[f32], target: &[f32], candidates| greedy_row(source, target, candidates, directions, k);
    for_each_prompt(source, target, edit).collect()
}
