//! What a set of exchanged latents gains, from scalar products computed once for each prompt, and only
//! of what is taken: a dense dictionary has hundreds of candidates, of which a search takes a few.
//!
//! With `r = a_t - a_s` the squared distance falls by `sum_j b_j - sum_ij G_ij`, `b_j = 2 c_j . r` and `G_ij = c_i . c_j`.
//!
//! Shape legend: `m` candidates, `D` width of a node.

use std::cell::OnceCell;

use dictionaries::{Directions, dot};

use super::Swap;

/// The scalar products of one prompt's candidates.
pub(super) struct Gains<'a> {
    /// `2 c_j . r - |c_j|^2`: what each gains alone, `[m]`.
    pub(super) alone: Vec<f64>,
    /// `2 c_i . c_j`: what two gain less together than each alone, `[m, m]`, a row for each that was taken.
    overlap: Vec<OnceCell<Vec<f64>>>,
    candidates: &'a [Swap],
    directions: &'a Directions,
}

impl<'a> Gains<'a> {
    pub(super) fn new(source: &[f32], target: &[f32], candidates: &'a [Swap], directions: &'a Directions) -> Self {
        let residual: Vec<f32> = target.iter().zip(source).map(|(t, s)| t - s).collect(); // [D]
        let alone = candidates.iter().map(|swap| {
            let (delta, latent) = (f64::from(swap.delta()), swap.latent as usize);
            2.0 * delta * dot(directions.rows.row(latent), &residual) - delta * delta * directions.squared[latent]
        });
        Self {
            alone: alone.collect(),
            overlap: vec![OnceCell::new(); candidates.len()],
            candidates,
            directions,
        }
    }

    /// What candidate `j` adds to the gain of `taken`.
    pub(super) fn adding(&self, taken: &[usize], j: usize) -> f64 {
        self.alone[j] - taken.iter().map(|&i| self.overlap(i)[j]).sum::<f64>()
    }

    fn overlap(&self, i: usize) -> &[f64] {
        let row = |swap: &Swap| self.directions.rows.row(swap.latent as usize);
        let delta = |swap: &Swap| f64::from(swap.delta());
        self.overlap[i].get_or_init(|| {
            let a = &self.candidates[i];
            let pair = |b: &Swap| 2.0 * delta(a) * delta(b) * dot(row(a), row(b));
            self.candidates.iter().map(pair).collect()
        })
    }
}
