//! Vectors of one width, held on the host: one per prompt or token.
//!
//! Sums run in row order in f64: the result does not depend on the number of threads.
//!
//! Shape legend: `N` rows, `D` width of a row.

use burn::tensor::{Device, Tensor};
use std::ops::Range;

/// A host matrix `[N, D]`, row-major: row `i` belongs to prompt or token `i`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    width: usize,
    values: Vec<f32>,
}

impl Rows {
    /// No rows yet, of width `D = width`.
    pub fn empty(width: usize) -> Self {
        Self {
            width,
            values: Vec::new(),
        }
    }

    /// Takes `[N, D]` values in row-major order.
    ///
    /// # Panics
    ///
    /// When the values are not whole rows.
    pub fn new(width: usize, values: Vec<f32>) -> Self {
        let rows = values.len() / width.max(1);
        assert_eq!(values.len(), rows * width, "values of rows of width {width}");
        Self { width, values }
    }

    /// Reads a tensor `[N, D]` back from its device.
    pub fn from_tensor(tensor: Tensor<2>) -> Self {
        let width = tensor.dims()[1];
        Self::new(width, kernels::to_vec(tensor))
    }

    /// Rows `range` as a tensor `[range.len(), D]` on `device`.
    pub fn tensor(&self, range: Range<usize>, device: &Device) -> Tensor<2> {
        let n = range.len();
        let values = self.values[range.start * self.width..range.end * self.width].to_vec();
        kernels::from_vec(values, [n, self.width], device) // [n, D]
    }

    /// The rows at `places`, in that order.
    pub fn pick(&self, places: &[usize]) -> Self {
        Self {
            width: self.width,
            values: places.iter().flat_map(|&place| self.row(place)).copied().collect(),
        }
    }

    /// Rows that stand at `places` of another list, in the order of that list.
    pub fn in_order(self, places: &[usize]) -> Self {
        if places.is_sorted() {
            return self;
        }
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&row| places[row]);
        self.pick(&order)
    }

    /// Number of rows `N`.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.width).unwrap_or(0)
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Width `D` of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `i`, `[D]`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.width..(i + 1) * self.width]
    }

    /// All values, `[N * D]`, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Adds the rows of `more` at the end. Both must have the same width.
    pub fn extend(&mut self, more: &Rows) {
        assert_eq!(self.width, more.width);
        self.values.extend_from_slice(&more.values);
    }

    /// The mean row, `[D]`; zeros when there are no rows.
    pub fn mean(&self) -> Vec<f32> {
        let mut sums = vec![0f64; self.width];
        for row in self.values.chunks_exact(self.width.max(1)) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += f64::from(value);
            }
        }
        let n = self.len().max(1) as f64;
        sums.into_iter().map(|sum| (sum / n) as f32).collect()
    }

    /// Rows of several matrices side by side, `[N, D_1 + D_2 + ...]`. All must have the same number of rows.
    pub fn beside(parts: &[&Rows]) -> Self {
        let n = parts.first().map_or(0, |part| part.len());
        assert!(parts.iter().all(|part| part.len() == n));
        Self {
            width: parts.iter().map(|part| part.width).sum(),
            values: (0..n)
                .flat_map(|i| parts.iter().flat_map(move |part| part.row(i).iter().copied()))
                .collect(),
        }
    }

    /// `row` repeated `n` times, `[n, D]`.
    pub fn repeat(row: &[f32], n: usize) -> Self {
        Self {
            width: row.len(),
            values: row.repeat(n),
        }
    }

    /// Euclidean distances between rows of the same place, `[N]`. Both must have the same shape.
    pub fn distances(&self, other: &Rows) -> Vec<f32> {
        assert_eq!((self.width, self.values.len()), (other.width, other.values.len()));
        let distance = |i: usize| {
            let terms = self
                .row(i)
                .iter()
                .zip(other.row(i))
                .map(|(a, b)| f64::from(a - b).powi(2));
            terms.sum::<f64>().sqrt() as f32
        };
        (0..self.len()).map(distance).collect()
    }

    /// `self - other` entry by entry, `[N, D]`. Both must have the same shape.
    pub fn minus(&self, other: &Rows) -> Self {
        assert_eq!((self.width, self.values.len()), (other.width, other.values.len()));
        Self {
            width: self.width,
            values: self.values.iter().zip(&other.values).map(|(a, b)| a - b).collect(),
        }
    }

    /// `self + a - b` entry by entry, `[N, D]`. All three must have the same shape.
    pub fn plus_minus(&self, a: &Rows, b: &Rows) -> Self {
        assert!(self.values.len() == a.values.len() && self.values.len() == b.values.len());
        let values = self
            .values
            .iter()
            .zip(&a.values)
            .zip(&b.values)
            .map(|((x, a), b)| x + (a - b))
            .collect();
        Self {
            width: self.width,
            values,
        }
    }
}
