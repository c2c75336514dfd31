//! The order in which stored vectors are given to training.

use rand::seq::SliceRandom;

use crate::Error;

/// An endless sequence of batches of row numbers: epochs in ever new order, every row once per epoch.
///
/// All batches have the same number of rows: one that reaches the end of an epoch is filled up from the next. A batch
/// depends on the seed, the number of rows and its own number alone, so any batch can be asked for at any time, which is
/// all that going on after an interruption needs.
#[derive(Debug, Clone)]
pub struct BatchOrder {
    rows: usize,
    batch: usize,
    seed: u64,
    /// The epoch that `order` belongs to.
    epoch: usize,
    /// Row numbers in the order of that epoch.
    order: Vec<usize>,
}

impl BatchOrder {
    /// Batches of `batch` out of `rows` rows.
    ///
    /// # Errors
    ///
    /// A batch of no rows, or of more than there are.
    pub fn new(rows: usize, batch: usize, seed: u64) -> Result<Self, Error> {
        check_batch(batch, rows)?;
        Ok(Self {
            rows,
            batch,
            seed,
            epoch: 0,
            order: shuffled(rows, seed, 0),
        })
    }

    /// The rows of batch `step`, from 0.
    pub fn batch(&mut self, step: usize) -> Vec<usize> {
        let first = step * self.batch;
        (first..first + self.batch).map(|place| self.row(place)).collect()
    }

    fn row(&mut self, place: usize) -> usize {
        let epoch = place / self.rows;
        if epoch != self.epoch {
            (self.epoch, self.order) = (epoch, shuffled(self.rows, self.seed, epoch));
        }
        self.order[place % self.rows]
    }
}

/// Refuses a batch of no rows, or of more than there are.
pub(crate) fn check_batch(batch: usize, rows: usize) -> Result<(), Error> {
    if batch == 0 || batch > rows {
        let reason = match rows {
            0 => "no row is left to train on: all are held out or marked as special".to_owned(),
            rows => format!("`batch` is {batch}, must be 1 to {rows}, the rows that are trained on"),
        };
        return Err(Error::Stream { reason });
    }
    Ok(())
}

fn shuffled(rows: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut kernels::random::rng(seed, &format!("activations/epoch {epoch}")));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(order: &mut BatchOrder, steps: usize) -> Vec<usize> {
        (0..steps).flat_map(|step| order.batch(step)).collect()
    }

    #[test]
    fn every_row_once_per_epoch_in_batches_of_one_size() {
        let mut order = BatchOrder::new(10, 4, 3).unwrap();
        let seen = rows(&mut order, 5); // 20 rows: two epochs, the boundary inside the third batch
        for epoch in seen.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(seen[..10], seen[10..]);
    }

    #[test]
    fn the_seed_decides_the_order_and_any_batch_can_be_asked_for() {
        let order = |batch, seed| BatchOrder::new(50, batch, seed).unwrap();
        let first = rows(&mut order(7, 1), 20);
        assert_eq!(first, rows(&mut order(7, 1), 20));
        assert_ne!(first, rows(&mut order(7, 2), 20));
        // The batch size cuts the same order elsewhere.
        assert_eq!(first[..35], rows(&mut order(5, 1), 7)[..]);
        let mut jumping = order(7, 1);
        for step in [15, 2, 9, 9, 0] {
            assert_eq!(jumping.batch(step), first[step * 7..][..7]);
        }
    }

    #[test]
    fn impossible_batches_are_refused() {
        for (rows, batch) in [(5, 0), (5, 6), (0, 2)] {
            let result = BatchOrder::new(rows, batch, 0);
            assert!(matches!(result, Err(Error::Stream { .. })), "{rows} {batch}");
        }
    }
}
