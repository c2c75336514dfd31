//! A finished autoencoder measured on activations, which may come in parts.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::ops::Range;

use burn::tensor::Device;
use dictionaries::{Autoencoder, DENSE, Dominant, Summary};
use kernels::to_vec;

use crate::rows::Rows;
use crate::survey::Surveyed;

/// Codes that are held at once, about.
const ENTRIES: usize = 1 << 22;

/// A measurement in the making.
#[derive(Debug)]
pub(crate) struct Measurement<'a> {
    model: &'a Autoencoder,
    surveyed: &'a Surveyed,
    sums: Sums,
    /// Whether any row has activated a latent, `[F]`.
    fired: Vec<bool>,
    /// Measured rows that have, `[F]`.
    active: Vec<u64>,
}

impl<'a> Measurement<'a> {
    /// `surveyed` is of what the model reconstructs.
    pub(crate) fn new(model: &'a Autoencoder, surveyed: &'a Surveyed) -> Self {
        let n_latents = model.parameters.n_latents();
        Self {
            model,
            surveyed,
            sums: Sums::default(),
            fired: vec![false; n_latents],
            active: vec![0; n_latents],
        }
    }

    /// Rows of which the first `trained` were trained on; `target` is what is to be reconstructed when it is not `inputs`.
    pub(crate) fn add(&mut self, inputs: &Rows, target: Option<&Rows>, trained: usize, device: &Device) {
        let n = inputs.len();
        let first = if self.surveyed.held_out { trained } else { 0 };
        for range in chunks(first..n, self.at_once()) {
            let x = inputs.tensor(range.clone(), device); // [B, D]
            let codes = self.model.codes(x.clone()); // [B, F]
            for row in to_vec(codes.clone()).chunks_exact(self.fired.len()) {
                for (active, _) in self.active.iter_mut().zip(row).filter(|(_, code)| **code > 0.0) {
                    *active += 1;
                }
            }
            let reconstruction = to_vec(self.model.reconstruct_from(x, codes)); // [B, D]
            let (target, mean) = (target.unwrap_or(inputs).slice(range), &self.surveyed.mean);
            let pairs = target
                .chunks_exact(mean.len())
                .zip(reconstruction.chunks_exact(mean.len()));
            pairs.for_each(|(x, y)| self.sums.add(x, y, self.surveyed));
        }
        for (fired, active) in self.fired.iter_mut().zip(&self.active) {
            *fired |= *active > 0;
        }
        self.look(inputs, 0..first, device);
    }

    /// Whether there is a latent that no row has activated.
    pub(crate) fn has_silent(&self) -> bool {
        self.fired.contains(&false)
    }

    /// Notes which latents some rows activate, beside those that are measured.
    pub(crate) fn look_at(&mut self, inputs: &Rows, device: &Device) {
        self.look(inputs, 0..inputs.len(), device);
    }

    fn look(&mut self, inputs: &Rows, rows: Range<usize>, device: &Device) {
        for range in chunks(rows, self.at_once()) {
            if !self.has_silent() {
                break;
            }
            let codes = self.model.codes(inputs.tensor(range, device)); // [B, F]
            for row in to_vec(codes).chunks_exact(self.fired.len()) {
                for (fired, code) in self.fired.iter_mut().zip(row) {
                    *fired |= *code > 0.0;
                }
            }
        }
    }

    /// Rows that are encoded at once.
    fn at_once(&self) -> usize {
        (ENTRIES / self.fired.len().max(1)).clamp(16, 4096)
    }

    pub(crate) fn finish(self) -> Summary {
        let (sums, rows, n_latents) = (self.sums, self.surveyed.rows.max(1) as f64, self.fired.len() as f64);
        let dead = self.fired.iter().filter(|fired| !**fired).count();
        let dense = self.active.iter().filter(|active| **active as f64 > DENSE * rows);
        Summary {
            fvu: ratio(sums.error, sums.variance),
            fvu_per_token: ratio(sums.ratios, sums.n_ratios as f64),
            fvu_uncentred: ratio(sums.error, sums.squares),
            cosine: rounded(sums.cosines / rows),
            l0: rounded(self.active.iter().sum::<u64>() as f64 / rows),
            dead: rounded(dead as f64 / n_latents),
            dense: rounded(dense.count() as f64 / n_latents),
            rows: self.surveyed.rows,
            held_out: self.surveyed.held_out,
            all_rows: self.surveyed.all_rows,
            long_rows: self.surveyed.long_rows,
            largest_variance: ratio(sums.largest_variance, sums.variance),
            largest_error: ratio(sums.largest_error, sums.error),
            dominant: self.surveyed.dominant.map(|found| Dominant {
                share: rounded(found.share),
                deviations: rounded(found.deviations),
                ..found
            }),
        }
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

#[derive(Debug, Default)]
struct Sums {
    error: f64,
    variance: f64,
    squares: f64,
    /// Of the largest rows alone.
    largest_error: f64,
    largest_variance: f64,
    ratios: f64,
    n_ratios: usize,
    cosines: f64,
}

impl Sums {
    fn add(&mut self, x: &[f32], y: &[f32], surveyed: &Surveyed) {
        let of = |terms: &mut dyn Iterator<Item = f64>| terms.sum::<f64>();
        let error = of(&mut x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)));
        let variance = of(&mut x.iter().zip(&surveyed.mean).map(|(x, m)| f64::from(x - m).powi(2)));
        let [xx, yy] = [x, y].map(|v| of(&mut v.iter().map(|x| f64::from(*x).powi(2))));
        let xy = of(&mut x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)));
        self.error += error;
        self.variance += variance;
        self.squares += xx;
        let largest = surveyed.among_largest(xx);
        self.largest_error += largest * error;
        self.largest_variance += largest * variance;
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
    use crate::survey::Survey;

    #[test]
    fn the_definitions_differ_as_they_are_written() {
        // Mean (1, 0); errors 1 and 1; distances from the mean 1 and 1; squared norms 4 and 0.
        let rows = Rows {
            width: 2,
            values: vec![2.0, 0.0, 0.0, 0.0],
        };
        let mut survey = Survey::new(2);
        survey.add(&rows, 0);
        let surveyed = survey.finish();
        let mut sums = Sums::default();
        sums.add(&[2.0, 0.0], &[2.0, 1.0], &surveyed);
        sums.add(&[0.0, 0.0], &[1.0, 0.0], &surveyed);
        assert_eq!((sums.error, sums.variance, sums.squares), (2.0, 2.0, 4.0));
        assert_eq!((sums.ratios, sums.n_ratios), (2.0, 2));
        // The longer of the two is the largest.
        assert_eq!((sums.largest_error, sums.largest_variance), (1.0, 1.0));
        assert!((sums.cosines - 2.0 / 5.0_f64.sqrt()).abs() < 1e-12);
    }
}
