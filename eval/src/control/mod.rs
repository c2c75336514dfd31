//! Axis 2, control: can the value of an attribute be exchanged with a few latents?
//!
//! Section 4.2 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). The ground truth is the
//! base run with the node's activation `a_s` replaced by that of the counterfactual prompt, `a_t`. An edit is right on
//! a prompt when the model then predicts the same token as under the ground truth.
//!
//! With codes `alpha` of `a_s` and `beta` of `a_t`, latent `j` contributes `c_j = (beta_j - alpha_j) u_j`: its clean
//! value is exchanged for its counterfactual one. An interpretation-agnostic edit takes at most `k` latents whose sum
//! `s` brings `a_s + s` near `a_t`; three searches find them:
//!
//! | search | finds |
//! | --- | --- |
//! | [`greedy()`] | the latent that helps most, then the next, as in the paper |
//! | [`beam()`] | the best of eight partial choices carried along |
//! | [`exhaustive()`] | the best choice there is, for `k` up to 3 |
//!
//! An [interpretation-aware edit](guided()) takes latents that stand for the two values. A **supervised edit**,
//! `a_s - u_{i,v} + u_{i,v'}`, exchanges the codes that the labels prescribe.
//!
//! Sites of several nodes are edited node by node, `k` latents at each.
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents.

mod beam;
mod exhaustive;
mod gains;
mod greedy;
mod guided;

use dictionaries::{Codes, Directions, Rows, dot};
use rayon::prelude::*;

pub use beam::beam;
pub use exhaustive::exhaustive;
pub use greedy::{greedy, greedy_row};
pub use guided::{Ranking, guided};

/// Activations `[N, D]` and their codes.
type Side<'a> = (&'a Rows, &'a Codes);

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

/// Whether all choices of `k` latents can be tried.
pub(crate) fn exhaustive_reaches(k: usize) -> bool {
    k <= exhaustive::MOST
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

/// What `search` finds for every prompt, given its activation, the one aimed at, and the latents whose codes differ.
fn for_each_prompt<'a, T: Send>(
    (source, alpha): Side<'a>,
    (target, beta): Side<'a>,
    search: impl Fn(&[f32], &[f32], Vec<Swap>) -> T + Send + Sync + 'a,
) -> impl ParallelIterator<Item = T> + 'a {
    let of_prompt = move |i: usize| search(source.row(i), target.row(i), differing(&alpha.rows[i], &beta.rows[i]));
    (0..source.len()).into_par_iter().map(of_prompt)
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

/// `a_s + sum of (beta_j - alpha_j) u_j` over the swaps of each prompt, `[N, D]`.
pub fn apply(source: &Rows, swaps: &[Vec<Swap>], directions: &Directions) -> Rows {
    let mut values = source.values().to_vec();
    for (row, swaps) in values.chunks_exact_mut(source.width().max(1)).zip(swaps) {
        for swap in swaps {
            for (x, u) in row.iter_mut().zip(directions.rows.row(swap.latent as usize)) {
                *x += swap.delta() * u;
            }
        }
    }
    Rows::new(source.width(), values)
}

/// The magnitude of each prompt's edit, `[N]`: the total weight of the removed or changed latents; added ones do not
/// count.
///
/// `weight(j) = (alpha_j u_j) . (a^ - b) / ||a^ - b||^2` with the clean reconstruction `a^` and `b = decode(0)`; the
/// weights of all latents sum to 1. Zero where nothing is active.
pub fn magnitude(reconstruction: &Rows, swaps: &[Vec<Swap>], directions: &Directions) -> Vec<f32> {
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
        (swaps.iter().map(part).sum::<f64>() / whole) as f32
    };
    swaps.iter().enumerate().map(weigh).collect()
}
