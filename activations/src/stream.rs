//! Shuffled batches of stored vectors, for training.
//!
//! Shapes: `B` rows of a batch, `D` width.

use burn::tensor::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::Error;

/// An endless stream of batches: epochs in ever new order, every row once per epoch.
///
/// All batches have the same number of rows: one that reaches the end of an epoch is filled up from the next. The order
/// depends on the seed and the number of rows alone, not on the device.
#[derive(Debug, Clone)]
pub struct BatchStream {
    values: Vec<f32>,
    width: usize,
    batch: usize,
    rng: ChaCha8Rng,
    /// Row numbers in the order of this epoch.
    order: Vec<usize>,
    /// How many of `order` are given out.
    used: usize,
}

impl BatchStream {
    /// Batches of `batch` rows from `values`, row after row of `width` numbers.
    pub fn new(values: Vec<f32>, width: usize, batch: usize, seed: u64) -> Result<Self, Error> {
        if width == 0 || !values.len().is_multiple_of(width) {
            let reason = format!("{} numbers do not form rows of width {width}", values.len());
            return Err(Error::Stream { reason });
        }
        let rows = values.len() / width;
        if batch == 0 || batch > rows {
            let reason = format!("batch size {batch} asked for, 1 to {rows} (all rows) is possible");
            return Err(Error::Stream { reason });
        }
        let mut rng = kernels::random::rng(seed, "activations/batches");
        let mut order: Vec<usize> = (0..rows).collect();
        order.shuffle(&mut rng);
        Ok(Self {
            values,
            width,
            batch,
            rng,
            order,
            used: 0,
        })
    }

    /// Rows of an epoch.
    pub fn rows(&self) -> usize {
        self.order.len()
    }

    /// Width `D` of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The next batch.
    ///
    /// # Shapes
    ///
    /// - output: `[B, D]`
    pub fn next_batch(&mut self, device: &Device) -> Tensor<2> {
        let mut picked = Vec::with_capacity(self.batch * self.width);
        for _ in 0..self.batch {
            if self.used == self.order.len() {
                self.order.shuffle(&mut self.rng);
                self.used = 0;
            }
            let start = self.order[self.used] * self.width;
            picked.extend_from_slice(&self.values[start..start + self.width]);
            self.used += 1;
        }
        kernels::from_vec(picked, [self.batch, self.width], device) // [B, D]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firsts(stream: &mut BatchStream, batches: usize) -> Vec<f32> {
        let device = kernels::cpu();
        let width = stream.width();
        (0..batches)
            .flat_map(|_| {
                kernels::to_vec(stream.next_batch(&device))
                    .into_iter()
                    .step_by(width)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    fn stream(rows: usize, batch: usize, seed: u64) -> BatchStream {
        let values = (0..rows).flat_map(|row| [row as f32, -(row as f32)]).collect();
        BatchStream::new(values, 2, batch, seed).unwrap()
    }

    #[test]
    fn every_row_once_per_epoch_in_batches_of_one_size() {
        let seen = firsts(&mut stream(10, 4, 3), 5); // 20 rows: two epochs, the boundary inside the third batch
        for epoch in seen.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_by(f32::total_cmp);
            assert_eq!(sorted, (0..10).map(|row| row as f32).collect::<Vec<_>>());
        }
        assert_ne!(seen[..10], seen[10..]);
    }

    #[test]
    fn the_seed_decides_the_order() {
        let first = firsts(&mut stream(50, 7, 1), 20);
        assert_eq!(first, firsts(&mut stream(50, 7, 1), 20));
        assert_ne!(first, firsts(&mut stream(50, 7, 2), 20));
        // The batch size cuts the same order elsewhere.
        assert_eq!(first[..35], firsts(&mut stream(50, 5, 1), 7)[..]);
    }

    #[test]
    fn impossible_batches_are_refused() {
        for (len, width, batch) in [(10, 3, 1), (10, 0, 1), (10, 2, 0), (10, 2, 6), (0, 2, 1)] {
            let result = BatchStream::new(vec![0.0; len], width, batch, 0);
            assert!(matches!(result, Err(Error::Stream { .. })), "{len} {width} {batch}");
        }
    }
}
