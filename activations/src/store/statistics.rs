//! Mean and mean norm of the vectors of a shard and of a hook.
//!
//! Shapes: `N` vectors, `W` numbers per vector.

/// Vectors whose sum is taken in f32 before it is added up in f64.
pub(super) const SUM_ROWS: usize = 64;

/// Mean and mean norm of stored vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Number of vectors.
    pub rows: usize,
    /// Mean of each number, `W`.
    pub mean: Vec<f32>,
    /// Mean Euclidean norm of the whole stored vectors.
    pub mean_norm: f64,
}

impl Statistics {
    /// Of all vectors together.
    pub(super) fn merge(all: &[Self]) -> Self {
        let rows: usize = all.iter().map(|part| part.rows).sum();
        let weight = |part: &Self| part.rows as f64 / rows.max(1) as f64;
        let width = all.first().map_or(0, |part| part.mean.len());
        let mean = |place: usize| {
            all.iter()
                .map(|part| weight(part) * f64::from(part.mean[place]))
                .sum::<f64>() as f32
        };
        Self {
            rows,
            mean: (0..width).map(mean).collect(),
            mean_norm: all.iter().map(|part| weight(part) * part.mean_norm).sum(),
        }
    }
}

/// Statistics in the making.
pub(super) struct Sums {
    rows: usize,
    /// Of each number, `W`.
    sums: Vec<f64>,
    norms: f64,
}

impl Sums {
    pub(super) fn new(width: usize) -> Self {
        Self {
            rows: 0,
            sums: vec![0.0; width],
            norms: 0.0,
        }
    }

    /// Adds up to [`SUM_ROWS`] vectors, `[N, W]`.
    pub(super) fn add(&mut self, values: &[f32]) {
        let width = self.sums.len();
        let mut sum = vec![0.0_f32; width];
        for vector in values.chunks_exact(width) {
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
            // Eight sums side by side, so that the loop is vectorised.
            let mut squares = [0.0_f32; 8];
            let (chunks, rest) = vector.as_chunks::<8>();
            for chunk in chunks {
                squares.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x * x);
            }
            let rest: f64 = rest.iter().map(|&x| f64::from(x).powi(2)).sum();
            self.norms += (squares.iter().copied().map(f64::from).sum::<f64>() + rest).sqrt();
            self.rows += 1;
        }
        let totals = self.sums.iter_mut().zip(&sum);
        totals.for_each(|(total, x)| *total += f64::from(*x));
    }

    pub(super) fn finish(self) -> Statistics {
        let n = self.rows.max(1) as f64;
        Statistics {
            rows: self.rows,
            mean: self.sums.into_iter().map(|sum| (sum / n) as f32).collect(),
            mean_norm: self.norms / n,
        }
    }
}
