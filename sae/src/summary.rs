//! A finished autoencoder measured on activations.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::ops::Range;

use burn::tensor::Device;
use kernels::to_vec;
use serde::{Deserialize, Serialize};

use crate::Autoencoder;
use crate::rows::Rows;

/// Codes that are held at once, about.
const ENTRIES: usize = 1 << 22;

/// How well an autoencoder reconstructs, and with how much.
///
/// `x` is what is to be reconstructed, `e = x - x̂`, `x̄` the mean of the measured rows; sums run over rows and dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Fraction of variance unexplained: `sum e² / sum (x - x̄)²`; none of rows that are all the same.
    pub fvu: Option<f64>,
    /// Mean over rows of `|e|² / |x - x̄|²`, as older tools report it; rows that equal the mean are left out.
    pub fvu_per_token: Option<f64>,
    /// `sum e² / sum x²`.
    pub fvu_uncentred: Option<f64>,
    /// Mean over rows of the cosine between `x` and `x̂`.
    pub cosine: f64,
    /// Mean number of active latents of a row.
    pub l0: f64,
    /// Share of latents that no row activates, held out or not.
    pub dead: f64,
    /// Rows that all but `dead` were measured on.
    pub rows: usize,
}

/// Measures `model` on the rows from `held_out` on, or on all of them when there are none; `target` is what is to be
/// reconstructed when it is not `inputs`.
pub(crate) fn measure(
    model: &Autoencoder,
    inputs: &Rows,
    target: Option<&Rows>,
    held_out: usize,
    device: &Device,
) -> Summary {
    let n = inputs.len();
    let first = if held_out < n { held_out } else { 0 };
    let mean = target.unwrap_or(inputs).mean(first..n);
    let mut sums = Sums::default();
    let mut fired = vec![false; model.parameters.n_latents()];
    let mut active = 0_usize;
    let at_once = (ENTRIES / fired.len().max(1)).clamp(16, 4096);
    for range in chunks(0..first, at_once).chain(chunks(first..n, at_once)) {
        let x = inputs.tensor(range.clone(), device); // [B, D]
        let codes = model.codes(x.clone()); // [B, F]
        let measured = range.start >= first;
        for row in to_vec(codes.clone()).chunks_exact(fired.len()) {
            for (fired, _) in fired.iter_mut().zip(row).filter(|(_, code)| **code > 0.0) {
                *fired = true;
                active += usize::from(measured);
            }
        }
        if measured {
            let reconstruction = to_vec(model.reconstruct_from(x, codes)); // [B, D]
            let target = target.unwrap_or(inputs).slice(range);
            let pairs = target
                .chunks_exact(mean.len())
                .zip(reconstruction.chunks_exact(mean.len()));
            pairs.for_each(|(x, y)| sums.add(x, y, &mean));
        }
    }
    let rows = (n - first).max(1) as f64;
    let dead = fired.iter().filter(|fired| !**fired).count();
    Summary {
        fvu: ratio(sums.error, sums.variance),
        fvu_per_token: ratio(sums.ratios, sums.n_ratios as f64),
        fvu_uncentred: ratio(sums.error, sums.squares),
        cosine: rounded(sums.cosines / rows),
        l0: rounded(active as f64 / rows),
        dead: rounded(dead as f64 / fired.len() as f64),
        rows: n - first,
    }
}

fn ratio(above: f64, below: f64) -> Option<f64> {
    (below > 0.0)
        .then(|| rounded(above / below))
        .filter(|ratio| ratio.is_finite())
}

/// Nine digits, which JSON gives back exactly.
fn rounded(x: f64) -> f64 {
    format!("{x:.8e}").parse().unwrap_or(x)
}

fn chunks(rows: Range<usize>, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(at_once)
        .map(move |start| start..(start + at_once).min(end))
}

#[derive(Default)]
struct Sums {
    error: f64,
    variance: f64,
    squares: f64,
    ratios: f64,
    n_ratios: usize,
    cosines: f64,
}

impl Sums {
    fn add(&mut self, x: &[f32], y: &[f32], mean: &[f32]) {
        let of = |terms: &mut dyn Iterator<Item = f64>| terms.sum::<f64>();
        let error = of(&mut x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)));
        let variance = of(&mut x.iter().zip(mean).map(|(x, m)| f64::from(x - m).powi(2)));
        let [xx, yy] = [x, y].map(|v| of(&mut v.iter().map(|x| f64::from(*x).powi(2))));
        let xy = of(&mut x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)));
        self.error += error;
        self.variance += variance;
        self.squares += xx;
        if variance > 0.0 {
            self.ratios += error / variance;
            self.n_ratios += 1;
        }
        self.cosines += xy / (xx * yy).sqrt().max(f64::MIN_POSITIVE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_definitions_differ_as_they_are_written() {
        let mut sums = Sums::default();
        // Mean (1, 0); errors 1 and 1; distances from the mean 1 and 1; squared norms 4 and 0.
        sums.add(&[2.0, 0.0], &[2.0, 1.0], &[1.0, 0.0]);
        sums.add(&[0.0, 0.0], &[1.0, 0.0], &[1.0, 0.0]);
        assert_eq!((sums.error, sums.variance, sums.squares), (2.0, 2.0, 4.0));
        assert_eq!((sums.ratios, sums.n_ratios), (2.0, 2));
        assert!((sums.cosines - 2.0 / 5.0_f64.sqrt()).abs() < 1e-12);
    }
}
