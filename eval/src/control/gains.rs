//! What a set of exchanged latents gains, from scalar products computed once for each prompt.
//!
//! With `r = a_t - a_s` the squared distance falls by `sum_j b_j - sum_ij G_ij`, `b_j = 2 c_j . r` and `G_ij = c_i . c_j`.
//!
//! Shape legend: `m` candidates, `D` width of a node.

use super::Swap;
use crate::dictionaries::{Directions, dot};

/// The scalar products of one prompt's candidates.
pub(super) struct Gains {
    /// `2 c_j . r - |c_j|^2`: what each gains alone, `[m]`.
    pub(super) alone: Vec<f64>,
    /// `2 c_i . c_j`: what two gain less together than each alone, `[m, m]`.
    overlap: Vec<f64>,
}

impl Gains {
    pub(super) fn new(source: &[f32], target: &[f32], candidates: &[Swap], directions: &Directions) -> Self {
        let residual: Vec<f32> = target.iter().zip(source).map(|(t, s)| t - s).collect(); // [D]
        let row = |swap: &Swap| directions.rows.row(swap.latent as usize);
        let delta = |swap: &Swap| f64::from(swap.delta());
        let alone = candidates.iter().map(|swap| {
            let squared = directions.squared[swap.latent as usize];
            2.0 * delta(swap) * dot(row(swap), &residual) - delta(swap) * delta(swap) * squared
        });
        let pair = |a: &Swap, b: &Swap| 2.0 * delta(a) * delta(b) * dot(row(a), row(b));
        Self {
            alone: alone.collect(),
            overlap: candidates
                .iter()
                .flat_map(|a| candidates.iter().map(move |b| pair(a, b)))
                .collect(), // [m, m]
        }
    }

    /// What candidate `j` adds to the gain of `taken`.
    pub(super) fn adding(&self, taken: &[usize], j: usize) -> f64 {
        let m = self.alone.len();
        self.alone[j] - taken.iter().map(|&i| self.overlap[i * m + j]).sum::<f64>()
    }
}
