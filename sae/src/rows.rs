//! Activations in host memory, and the scale at which training sees them.
//!
//! Inputs are scaled to a mean norm of the root of their width, as SAELens does, so that one learning rate and one weight
//! of a penalty serve every site; the scale is folded into the biases at the end.
//!
//! Shapes: `N` rows, `D` width.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::{Device, Tensor};
use kernels::from_vec;
use lm::HookPoint;
use tasks::stable_hash;

use crate::Error;

/// The domain of the hash that deals rows to parts.
const PART_DOMAIN: u64 = 0x501;

/// Activations of one site.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Numbers in a row, `D`.
    pub width: usize,
    /// The rows one after the other, `[N, D]`.
    pub values: Vec<f32>,
}

impl Rows {
    /// Number of rows, `N`.
    pub fn len(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The rows of a part `[i, n]`: those whose numbers, by a hash, fall to part i of n. Equal rows, as those of a prompt that
    /// was drawn twice or of prompts that begin alike, are in one part, and every row is in some part.
    pub fn part(&self, [i, n]: [usize; 2]) -> Vec<usize> {
        let part_of = |row: &usize| {
            let bits: Vec<usize> = self.slice(*row..row + 1).iter().map(|x| x.to_bits() as usize).collect();
            stable_hash(PART_DOMAIN, &bits) % n as u64
        };
        (0..self.len()).filter(|row| part_of(row) == i as u64).collect()
    }

    /// Some of the rows, in the order given.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            width: self.width,
            values: rows.iter().flat_map(|&row| self.slice(row..row + 1)).copied().collect(),
        }
    }

    /// Leaves the first `rows`.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows * self.width);
    }

    /// The numbers of consecutive rows.
    pub(crate) fn slice(&self, rows: Range<usize>) -> &[f32] {
        &self.values[rows.start * self.width..rows.end * self.width]
    }

    /// Consecutive rows as a tensor, `[n, D]`.
    pub(crate) fn tensor(&self, rows: Range<usize>, device: &Device) -> Tensor<2> {
        let n = rows.len();
        from_vec(self.slice(rows).to_vec(), [n, self.width], device)
    }

    /// Mean of each number over some rows, `[D]`.
    pub(crate) fn mean(&self, rows: Range<usize>) -> Vec<f32> {
        let n = rows.len().max(1) as f64;
        let mut sums = vec![0.0_f64; self.width];
        for row in self.slice(rows).chunks_exact(self.width) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        sums.into_iter().map(|sum| (sum / n) as f32).collect()
    }

    /// What brings the mean norm of some rows to the root of their width.
    fn scale(&self, rows: Range<usize>) -> f32 {
        let n = rows.len().max(1) as f64;
        let norms = self.slice(rows).chunks_exact(self.width).map(|row| {
            let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
            squares.sqrt()
        });
        let mean_norm = norms.sum::<f64>() / n;
        if mean_norm > 0.0 {
            ((self.width as f64).sqrt() / mean_norm) as f32
        } else {
            1.0
        }
    }
}

/// Activations of one site, or a part of them: the rows that are trained on, then those that are held out.
#[derive(Debug, Clone)]
pub struct Split {
    /// What autoencoders read, `[N, D]`.
    pub inputs: Rows,
    /// What transcoders reconstruct, by hook, row by row beside `inputs`: `[N, D_out]`.
    pub targets: BTreeMap<HookPoint, Rows>,
    /// Rows that are trained on; those behind them are held out.
    pub trained: usize,
}

impl Split {
    /// The last `share` of the rows is held out, rounded to whole rows.
    pub fn last(inputs: Rows, targets: BTreeMap<HookPoint, Rows>, share: f64) -> Self {
        let n = inputs.len();
        Self {
            inputs,
            targets,
            trained: n - ((n as f64 * share).round() as usize).min(n),
        }
    }
}

/// Activations as training sees them.
#[derive(Debug)]
pub(crate) struct Scaled {
    pub(crate) rows: Rows,
    /// What rows are multiplied by.
    pub(crate) scale: f32,
    /// Mean of the scaled rows that are trained on, `[D]`.
    pub(crate) mean: Vec<f32>,
}

impl Scaled {
    /// `rows`, of which the first `n_train` are trained on.
    ///
    /// # Errors
    ///
    /// A number that is not finite.
    pub(crate) fn new(rows: Rows, n_train: usize) -> Result<Self, Error> {
        if let Some(place) = rows.values.iter().position(|x| !x.is_finite()) {
            return Err(Error::NotFinite {
                row: place / rows.width,
            });
        }
        let scale = rows.scale(0..n_train);
        let mean = rows.mean(0..n_train).into_iter().map(|x| x * scale).collect();
        Ok(Self { rows, scale, mean })
    }

    /// Other rows of the same site, scaled alike, `[n, D]`.
    pub(crate) fn scaled(&self, mut values: Vec<f32>, device: &Device) -> Tensor<2> {
        values.iter_mut().for_each(|x| *x *= self.scale);
        let n = values.len() / self.rows.width.max(1);
        from_vec(values, [n, self.rows.width], device)
    }

    /// Scaled rows `[n, D]`.
    pub(crate) fn batch(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let width = self.rows.width;
        let mut picked = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            picked.extend(self.rows.slice(row..row + 1).iter().map(|x| x * self.scale));
        }
        from_vec(picked, [rows.len(), width], device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_no_row_and_lose_none() {
        // Three equal rows of each number, far apart.
        let values: Vec<f32> = (0..900).map(|row| (row % 300) as f32 * 0.5).collect();
        let rows = Rows { width: 1, values };
        assert_eq!(rows.part([0, 1]), (0..900).collect::<Vec<_>>());
        let parts = [0, 1].map(|i| rows.part([i, 2]));
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..900).collect::<Vec<_>>());
        for part in &parts {
            assert!((400..500).contains(&part.len()), "{}", part.len());
            assert!(part.iter().all(|row| part.binary_search(&((row + 300) % 900)).is_ok()));
        }
    }
}
