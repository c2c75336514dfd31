//! Axis 2, control: can the value of an attribute be exchanged with a few latents?
//!
//! Section 4.2 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). The ground truth is the
//! base run with the node's activation `a_s` replaced by that of the counterfactual prompt, `a_t`. An edit is right on
//! a prompt when the model then predicts the same token as under the ground truth.
//!
//! **Interpretation-agnostic greedy edit.** With codes `alpha` of `a_s` and `beta` of `a_t`, latent `j` contributes
//! `c_j = (beta_j - alpha_j) u_j`: its clean value is exchanged for its counterfactual one. Repeat up to `k` times:
//! take the `j` that minimises `||s + c_j - (a_t - a_s)||`, `s` being the sum so far; each latent once; stop when
//! nothing improves. The edited activation is `a_s + s`. The picks for a smaller `k` are the first ones for a larger.
//!
//! **Supervised edit.** `a_s - u_{i,v} + u_{i,v'}`: the codes that the labels prescribe are exchanged.
//!
//! Sites of several nodes are edited node by node, `k` latents at each.
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents.

use crate::dictionaries::{Codes, Directions, dot};
use crate::rows::Rows;
use rayon::prelude::*;

/// One exchanged latent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Swap {
    /// The latent `j`.
    pub latent: u32,
    /// Its code `alpha_j` before the edit (0 when it was inactive).
    pub from: f32,
    /// Its code `beta_j` after the edit.
    pub to: f32,
}

impl Swap {
    /// `beta_j - alpha_j`.
    pub fn delta(&self) -> f32 {
        self.to - self.from
    }
}

/// The latents whose codes differ between two rows of sparse codes, by rising latent.
pub fn differing(source: &[(u32, f32)], target: &[(u32, f32)]) -> Vec<Swap> {
    let mut swaps = Vec::with_capacity(source.len() + target.len());
    let (mut i, mut j) = (0, 0);
    while i < source.len() || j < target.len() {
        let left = source.get(i).map_or(u32::MAX, |entry| entry.0);
        let right = target.get(j).map_or(u32::MAX, |entry| entry.0);
        let latent = left.min(right);
        let from = if left == latent { source[i].1 } else { 0.0 };
        let to = if right == latent { target[j].1 } else { 0.0 };
        i += usize::from(left == latent);
        j += usize::from(right == latent);
        if from != to {
            swaps.push(Swap { latent, from, to });
        }
    }
    swaps
}

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
    let mut picked = Vec::with_capacity(k);
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
/// `source`, `target`: activations `[N, D]`; `alpha`, `beta`: their codes.
pub fn greedy(
    (source, alpha): (&Rows, &Codes),
    (target, beta): (&Rows, &Codes),
    directions: &Directions,
    k: usize,
) -> Vec<Vec<Swap>> {
    let edit = |i: usize| {
        let candidates = differing(&alpha.rows[i], &beta.rows[i]);
        greedy_row(source.row(i), target.row(i), candidates, directions, k)
    };
    (0..source.len()).into_par_iter().map(edit).collect()
}

/// The supervised edit of every prompt: all codes in which the labels of base and counterfactual differ.
pub fn supervised(alpha: &Codes, beta: &Codes) -> Vec<Vec<Swap>> {
    alpha
        .rows
        .iter()
        .zip(&beta.rows)
        .map(|(alpha, beta)| differing(alpha, beta))
        .collect()
}

/// `a_s + sum of (beta_j - alpha_j) u_j` over the first `k` swaps of each prompt, `[N, D]`.
pub fn apply(source: &Rows, swaps: &[Vec<Swap>], directions: &Directions, k: usize) -> Rows {
    let mut values = source.values().to_vec();
    for (row, swaps) in values.chunks_exact_mut(source.width().max(1)).zip(swaps) {
        for swap in swaps.iter().take(k) {
            for (x, u) in row.iter_mut().zip(directions.rows.row(swap.latent as usize)) {
                *x += swap.delta() * u;
            }
        }
    }
    Rows::new(source.width(), values)
}

/// The magnitude of each prompt's edit, `[N]`: the total weight of the removed or changed latents among the first `k`
/// swaps; added ones do not count.
///
/// `weight(j) = (alpha_j u_j) . (a^ - b) / ||a^ - b||^2` with the clean reconstruction `a^` and `b = decode(0)`; the
/// weights of all latents sum to 1. Zero where nothing is active.
pub fn magnitude(reconstruction: &Rows, swaps: &[Vec<Swap>], directions: &Directions, k: usize) -> Vec<f32> {
    let weigh = |(i, swaps): (usize, &Vec<Swap>)| {
        let centred: Vec<f32> = reconstruction
            .row(i)
            .iter()
            .zip(&directions.offset)
            .map(|(a, b)| a - b)
            .collect(); // [D]
        let whole = dot(&centred, &centred);
        if whole <= 0.0 {
            return 0.0;
        }
        let part = |swap: &Swap| f64::from(swap.from) * dot(directions.rows.row(swap.latent as usize), &centred);
        (swaps.iter().take(k).map(part).sum::<f64>() / whole) as f32
    };
    swaps.iter().enumerate().map(weigh).collect()
}
