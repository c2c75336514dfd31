//! The order in which stored vectors are given to training.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;

use crate::Error;

/// The order in which the rows of a store come, where a pool of its shards is drawn from at a time: that of a [`crate::Stream`],
/// and of a training that holds the same rows in memory.
///
/// An epoch has the shards in a new order. As many as a pool holds are taken together, and the rows of a pool are shuffled.
#[derive(Debug, Clone)]
pub(crate) struct PoolOrder {
    /// The shards that hold rows, and how many.
    shards: Vec<(usize, usize)>,
    /// Shards of a pool.
    pool: usize,
    seed: u64,
}

impl PoolOrder {
    /// The order of so many rows of each shard of a store.
    pub(crate) fn new(counts: impl IntoIterator<Item = usize>, pool: usize, seed: u64) -> Self {
        let shards = counts.into_iter().enumerate().filter(|(_, rows)| *rows > 0);
        Self {
            shards: shards.collect(),
            pool: pool.max(1),
            seed,
        }
    }

    /// Rows of all shards.
    pub(crate) fn rows(&self) -> usize {
        self.shards.iter().map(|(_, rows)| rows).sum()
    }

    /// The pools of an epoch: of each its shards, by number, and the number of their rows.
    pub(crate) fn pools(&self, epoch: usize) -> Vec<(Vec<usize>, usize)> {
        let mut order = self.shards.clone();
        let stream = format!("activations/stream {epoch}");
        order.shuffle(&mut kernels::random::rng(self.seed, &stream));
        let pool = |shards: &[(usize, usize)]| {
            let rows = shards.iter().map(|(_, rows)| rows).sum();
            (shards.iter().map(|(shard, _)| *shard).collect(), rows)
        };
        order.chunks(self.pool).map(pool).collect()
    }

    /// The order of the rows of a pool of an epoch, both by number; the rows of its shards lie in it one shard after the other.
    pub(crate) fn rows_of(&self, epoch: usize, pool: usize, rows: usize) -> Vec<u32> {
        let mut order: Vec<u32> = (0..rows as u32).collect();
        let stream = format!("activations/stream {epoch} {pool}");
        order.shuffle(&mut kernels::random::rng(self.seed, &stream));
        order
    }

    /// The rows of an epoch, numbered in the order of the store.
    fn epoch(&self, epoch: usize) -> Vec<usize> {
        let mut firsts = BTreeMap::new();
        let mut first = 0;
        for &(shard, rows) in &self.shards {
            firsts.insert(shard, first..first + rows);
            first += rows;
        }
        let mut order = Vec::with_capacity(first);
        for (number, (shards, rows)) in self.pools(epoch).into_iter().enumerate() {
            let of_pool = shards.iter().filter_map(|shard| firsts.get(shard).cloned());
            let of_pool: Vec<usize> = of_pool.flatten().collect();
            let drawn = self.rows_of(epoch, number, rows).into_iter();
            order.extend(drawn.map(|row| of_pool[row as usize]));
        }
        order
    }
}

/// How the rows of an epoch are put in order.
#[derive(Debug, Clone)]
enum Epochs {
    /// All of them are shuffled.
    Shuffled { rows: usize, seed: u64 },
    /// A pool at a time.
    Pools(PoolOrder),
}

impl Epochs {
    fn order(&self, epoch: usize) -> Vec<usize> {
        match self {
            Self::Shuffled { rows, seed } => shuffled(*rows, *seed, epoch),
            Self::Pools(pools) => pools.epoch(epoch),
        }
    }
}

/// An endless sequence of batches of row numbers: epochs in ever new order, every row once per epoch.
///
/// All batches have the same number of rows: one that reaches the end of an epoch is filled up from the next. A batch
/// depends on the seed, the number of rows and its own number alone, so any batch can be asked for at any time, which is
/// all that going on after an interruption needs.
#[derive(Debug, Clone)]
pub struct BatchOrder {
    rows: usize,
    batch: usize,
    epochs: Epochs,
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
        Ok(Self::of(rows, batch, Epochs::Shuffled { rows, seed }))
    }

    /// The batches that a [`crate::Stream`] gives of the same rows: so many of each shard of a store, of which a pool holds `pool`
    /// ([`crate::StreamConfig::pool_shards`]). Rows are numbered in the order of the store.
    ///
    /// # Errors
    ///
    /// As [`BatchOrder::new`].
    pub fn pooled(counts: &[usize], pool: usize, batch: usize, seed: u64) -> Result<Self, Error> {
        let pools = PoolOrder::new(counts.iter().copied(), pool, seed);
        let rows = pools.rows();
        check_batch(batch, rows)?;
        Ok(Self::of(rows, batch, Epochs::Pools(pools)))
    }

    fn of(rows: usize, batch: usize, epochs: Epochs) -> Self {
        Self {
            rows,
            batch,
            epoch: 0,
            order: epochs.order(0),
            epochs,
        }
    }

    /// Rows of an epoch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The rows of batch `step`, from 0.
    pub fn batch(&mut self, step: usize) -> Vec<usize> {
        let first = step * self.batch;
        (first..first + self.batch).map(|place| self.row(place)).collect()
    }

    fn row(&mut self, place: usize) -> usize {
        let epoch = place / self.rows;
        if epoch != self.epoch {
            (self.epoch, self.order) = (epoch, self.epochs.order(epoch));
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
    fn a_pool_of_all_shards_mixes_them_and_smaller_ones_keep_them_together() {
        let counts = [3, 0, 5, 4];
        for pool in 1..5 {
            let mut order = BatchOrder::pooled(&counts, pool, 4, 9).unwrap();
            let seen = rows(&mut order, 6); // two epochs
            for epoch in seen.chunks(12) {
                let mut sorted = epoch.to_vec();
                sorted.sort_unstable();
                assert_eq!(sorted, (0..12).collect::<Vec<_>>());
            }
            assert_ne!(seen[..12], seen[12..]);
            let shard = |row: &usize| usize::from(*row >= 3) + usize::from(*row >= 8);
            let changes = seen[..12].iter().map(shard).collect::<Vec<_>>();
            let changes = changes.chunk_by(|a, b| a == b).count();
            assert_eq!(changes == 3, pool == 1, "{pool}: {seen:?}");
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
