//! The sums over labelled activations that both fits are made from.
//!
//! Shapes: `N` rows, `D` width, `F` latents. All sums are f64: 20,000 f32 additions would cost three digits.

use activations::NodeRows;

use crate::Error;
use crate::columns::Columns;

/// Sums over the rows of a node.
#[derive(Debug)]
pub(crate) struct Moments {
    /// Width `D`.
    pub(crate) width: usize,
    /// Which latent stands for which value.
    pub(crate) columns: Columns,
    /// Mean activation, `[D]`.
    pub(crate) mean: Vec<f64>,
    /// Rows of each latent, `[F]`.
    pub(crate) counts: Vec<usize>,
    /// Sum of the centred activations of each latent's rows, `[F, D]`.
    pub(crate) sums: Vec<f64>,
}

impl Moments {
    /// Sums the rows up, after checking that they fit the columns.
    pub(crate) fn new(rows: &NodeRows, columns: Columns) -> Result<Self, Error> {
        let (width, n) = (rows.width, rows.labels.len());
        if width == 0 || n == 0 || rows.values.len() != n * width {
            return Err(Error::Rows {
                values: rows.values.len(),
                width,
                labels: n,
            });
        }
        for (row, labels) in rows.labels.iter().enumerate() {
            for (attribute, n_values) in columns.n_values().iter() {
                let value = labels.get(attribute).ok_or(Error::NoLabel { row, attribute })?;
                if value >= n_values {
                    return Err(Error::Label {
                        row,
                        attribute,
                        value,
                        n_values,
                    });
                }
            }
        }
        let mut mean = vec![0.0; width];
        for vector in rows.values.chunks_exact(width) {
            mean.iter_mut()
                .zip(vector)
                .for_each(|(sum, &value)| *sum += f64::from(value));
        }
        mean.iter_mut().for_each(|sum| *sum /= n as f64);

        let mut counts = vec![0; columns.len()];
        let mut sums = vec![0.0; columns.len() * width];
        for (vector, labels) in rows.values.chunks_exact(width).zip(&rows.labels) {
            for column in columns.active(labels) {
                counts[column] += 1;
                let sum = &mut sums[column * width..(column + 1) * width];
                for ((sum, &value), mean) in sum.iter_mut().zip(vector).zip(&mean) {
                    *sum += f64::from(value) - mean;
                }
            }
        }
        Ok(Self {
            width,
            columns,
            mean,
            counts,
            sums,
        })
    }
}
