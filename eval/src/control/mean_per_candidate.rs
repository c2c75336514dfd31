//! The greedy search with the published code's slip: every pick adds the decoder's offset.
//!
//! Asked for as [`Legacy::MeanPerCandidate`](crate::legacy::Legacy). A candidate's contribution is `c_j + b` instead of
//! `c_j`, `b = decode(0)`; latents that do not change are candidates too, with a contribution of `b`; the first pick is
//! forced, later ones must improve.
//!
//! Shape legend: `N` prompts, `D` width of a node.

use super::{Side, Swap, for_each_prompt};
use dictionaries::{Directions, Rows, dot};
use rayon::iter::ParallelIterator;

/// The picks of every prompt, `N` lists of at most `k` swaps, in order; arguments as for [`crate::control::greedy()`].
pub fn mean_per_candidate(source: Side<'_>, target: Side<'_>, directions: &Directions, k: usize) -> Vec<Vec<Swap>> {
    let edit = |source: &[f32], target: &[f32], changing| picks(source, target, changing, directions, k);
    for_each_prompt(source, target, edit).collect()
}

/// What the offsets of the picks add to edited activations, `[N, D]`.
pub fn with_offsets(edited: &Rows, swaps: &[Vec<Swap>], directions: &Directions) -> Rows {
    let mut values = edited.values().to_vec();
    for (row, swaps) in values.chunks_exact_mut(edited.width().max(1)).zip(swaps) {
        let times = swaps.len() as f32;
        row.iter_mut()
            .zip(&directions.offset)
            .for_each(|(x, b)| *x += times * b);
    }
    Rows::new(edited.width(), values)
}

fn picks(source: &[f32], target: &[f32], mut candidates: Vec<Swap>, directions: &Directions, k: usize) -> Vec<Swap> {
    let mut residual: Vec<f32> = target.iter().zip(source).map(|(t, s)| t - s).collect(); // [D]
    // Of the latents that do not change one stands for all.
    let unchanged =
        (0..directions.rows.len() as u32).find(|latent| candidates.iter().all(|swap| swap.latent != *latent));
    candidates.extend(unchanged.map(|latent| Swap {
        latent,
        from: 0.0,
        to: 0.0,
    }));
    let mut picked = Vec::new();
    while picked.len() < k {
        let left = |swap: &Swap| -> Vec<f32> {
            let row = directions.rows.row(swap.latent as usize);
            let moved = residual.iter().zip(row).zip(&directions.offset);
            moved.map(|((r, u), b)| r - swap.delta() * u - b).collect() // [D]
        };
        let after = candidates.iter().map(left).enumerate();
        let Some((place, rest)) = after.min_by(|(_, a), (_, b)| dot(a, a).total_cmp(&dot(b, b))) else {
            break;
        };
        if !picked.is_empty() && dot(&rest, &rest) >= dot(&residual, &residual) {
            break;
        }
        residual = rest;
        let swap = candidates[place];
        if swap.delta() != 0.0 {
            candidates.remove(place);
        }
        picked.push(swap);
    }
    picked
}
