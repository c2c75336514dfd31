//! Activations in host memory, and the scale at which training sees them.
//!
//! Inputs are scaled to a mean norm of the root of their width, as SAELens does, so that one learning rate and one weight
//! of a penalty serve every site; the scale is folded into the biases at the end.
//!
//! Shapes: `N` rows, `D` width.

use std::collections::HashSet;
use std::ops::Range;

use burn::tensor::{Device, Tensor};
use kernels::from_vec;

use crate::Error;

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

    /// The rows of a part `[i, n]`: every n-th from row i on, without those whose numbers stand in another part too, as those
    /// of a prompt that was drawn twice do.
    pub fn part(&self, [i, n]: [usize; 2]) -> Vec<usize> {
        let bits = |row: usize| -> Vec<u32> { self.slice(row..row + 1).iter().map(|x| x.to_bits()).collect() };
        let (own, others): (Vec<usize>, Vec<usize>) = (0..self.len()).partition(|row| row % n == i);
        let others: HashSet<Vec<u32>> = others.into_iter().map(bits).collect();
        own.into_iter().filter(|&row| !others.contains(&bits(row))).collect()
    }

    /// Some of the rows, in the order given.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            width: self.width,
            values: rows.iter().flat_map(|&row| self.slice(row..row + 1)).copied().collect(),
        }
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
    fn parts_share_no_row_and_lose_only_what_both_would_have() {
        let values = [1.0, 2.0, 3.0, 1.0, 4.0, 5.0, 3.0, 6.0, 4.0, 3.0];
        let rows = Rows {
            width: 1,
            values: values.to_vec(),
        };
        assert_eq!(rows.part([0, 1]), (0..10).collect::<Vec<_>>());
        // Even: 1, 3, 4, 3, 4; odd: 2, 1, 5, 6, 3. Shared: 1 and 3.
        let [even, odd] = [0, 1].map(|i| rows.select(&rows.part([i, 2])).values);
        assert_eq!((even, odd), (vec![4.0, 4.0], vec![2.0, 5.0, 6.0]));
    }
}
