//! Shuffled batches of a store of any size, read ahead by a thread.
//!
//! An epoch is every row once. Its shards are put in a new order and read some at a time, as many as the memory that was
//! granted holds (a *pool*); the rows of a pool are shuffled and cut into batches. Together with the shuffle at write time, a
//! batch mixes rows of all documents of the pool's windows. What comes at which step is a function of seed and settings, so
//! any step can be gone to at any time ([`Stream::seek`]), which is all that going on after an interruption needs.
//!
//! Shapes: `B` rows of a batch, `D` numbers of a vector.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lm::HookPoint;

use super::live::Feed;
use super::pool::{self, Pool, Selection};
use super::reader::Store;
use super::schema::Row;
use crate::Error;
use crate::order::{PoolOrder, check_batch};

pub use super::pool::Filter;

/// Batches that are ready before anyone asks for them.
const AHEAD: usize = 2;

/// What a stream gives.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// The hooks, and one head of those that have heads.
    pub hooks: Vec<(HookPoint, Option<usize>)>,
    /// Rows of a batch, `B`.
    pub batch: usize,
    /// Seed of the order.
    pub seed: u64,
    /// The shards that are read.
    pub shards: Range<usize>,
    /// The rows that are read of them.
    pub filter: Filter,
    /// Whether batches name the origin of their rows, which costs a little.
    pub rows: bool,
    /// Bytes that the pool may hold; at least one shard of every hook is. Where shards are made while they are read, as many
    /// wait to be taken, and one more is in the making.
    pub memory: usize,
    /// Steps that are asked for at most, so that no shard is made which no step needs; none is given beyond them.
    pub steps: usize,
}

impl StreamConfig {
    /// The bytes that a pool holds where nobody says otherwise.
    pub const MEMORY: usize = 256 << 20;

    /// All rows of one hook.
    pub fn of(hook: HookPoint, head: Option<usize>, batch: usize, seed: u64) -> Self {
        Self {
            hooks: vec![(hook, head)],
            batch,
            seed,
            shards: 0..usize::MAX,
            filter: Filter::default(),
            rows: false,
            memory: Self::MEMORY,
            steps: usize::MAX,
        }
    }

    /// Shards of a store that are in memory at a time: at least one, at most all.
    pub fn pool_shards(&self, store: &Store) -> usize {
        let manifest = store.manifest();
        let widths = self.hooks.iter().filter_map(|(hook, _)| manifest.hooks.get(hook));
        let row_bytes: usize = widths.map(|entry| entry.width * manifest.dtype.size()).sum();
        let shard_bytes = row_bytes * manifest.rows_per_shard.min(manifest.rows);
        let all = manifest.rows.div_ceil(manifest.rows_per_shard.max(1)).max(1);
        (self.memory / shard_bytes.max(1)).clamp(1, all)
    }
}

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its number, from 0.
    pub step: usize,
    /// The vectors of each hook, `[B, D]`; rows of the same number belong together.
    pub values: Vec<Vec<f32>>,
    /// Where the rows came from, `B`; empty unless asked for.
    pub rows: Vec<Row>,
}

/// What reading has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Throughput {
    /// Bytes of shards that were read.
    pub stored: u64,
    /// Row groups that were passed over because they hold no wanted row.
    pub skipped: u64,
    /// Time that the reading thread has worked.
    pub busy: Duration,
    /// Time that [`Stream::next_batch`] has waited for the thread.
    pub waited: Duration,
}

impl Throughput {
    /// Stored bytes a second of the reading thread's work.
    pub fn bytes_per_second(&self) -> f64 {
        self.stored as f64 / self.busy.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// An endless sequence of shuffled batches.
#[derive(Debug)]
pub struct Stream {
    plan: Plan,
    /// The step that comes next.
    step: usize,
    reading: Option<Reading>,
    throughput: Throughput,
}

#[derive(Debug)]
struct Reading {
    batches: Receiver<Result<(Batch, Throughput), Error>>,
    thread: JoinHandle<()>,
    /// Tells whatever makes shards to make no more.
    stop: Arc<AtomicBool>,
}

/// All that the order of the rows depends on.
#[derive(Debug, Clone)]
struct Plan {
    store: Store,
    selection: Selection,
    order: PoolOrder,
    /// Rows of an epoch.
    rows: usize,
    batch: usize,
    /// Steps that are asked for at most.
    steps: usize,
    /// Shards of a pool.
    pool: usize,
}

/// A pool that is to be read.
#[derive(Debug, Clone)]
struct Next {
    epoch: usize,
    /// Its number in the epoch.
    index: usize,
    shards: Vec<usize>,
    rows: usize,
    /// Rows that lie before the first batch.
    skip: usize,
}

impl Stream {
    /// A stream that begins at step 0. Nothing is read yet, except with a filter: then rows are counted.
    ///
    /// # Errors
    ///
    /// Hooks that the store does not hold, no hook at all, a batch of no rows or of more than there are.
    pub fn new(store: &Store, config: StreamConfig) -> Result<Self, Error> {
        let hooks = config
            .hooks
            .iter()
            .map(|&(hook, head)| Ok((hook, store.cut(hook, head)?)));
        let hooks = hooks.collect::<Result<Vec<_>, Error>>()?;
        let Some(&(first, _)) = hooks.first() else {
            let reason = "no hook was asked for".to_owned();
            return Err(Error::Stream { reason });
        };
        let counts = pool::counts(store, first, &config.filter)?.into_iter().enumerate();
        let wanted = counts.map(|(shard, rows)| if config.shards.contains(&shard) { rows } else { 0 });
        let pool = config.pool_shards(store);
        let order = PoolOrder::new(wanted, pool, config.seed);
        let rows = order.rows();
        check_batch(config.batch, rows)?;
        let plan = Plan {
            store: store.clone(),
            selection: Selection {
                hooks,
                filter: config.filter,
                rows: config.rows,
            },
            order,
            rows,
            batch: config.batch,
            steps: config.steps,
            pool,
        };
        Ok(Self {
            plan,
            step: 0,
            reading: None,
            throughput: Throughput::default(),
        })
    }

    /// Rows of an epoch.
    pub fn rows(&self) -> usize {
        self.plan.rows
    }

    /// The step that [`Stream::next_batch`] gives next.
    pub fn position(&self) -> usize {
        self.step
    }

    /// The shards that are read from here to the last step, in that order.
    pub fn shards(&self) -> impl Iterator<Item = usize> + use<> {
        self.plan.pools(self.step).flat_map(|next| next.shards)
    }

    /// Goes to a step.
    pub fn seek(&mut self, step: usize) {
        if step != self.step {
            self.stop();
            self.step = step;
        }
    }

    /// What reading has cost so far.
    pub fn throughput(&self) -> Throughput {
        self.throughput
    }

    /// The next batch.
    ///
    /// # Errors
    ///
    /// A damaged store, or the system refusing a thread.
    pub fn next_batch(&mut self) -> Result<Batch, Error> {
        if self.reading.is_none() {
            self.reading = Some(self.start()?);
        }
        let start = Instant::now();
        let received = self.reading.as_ref().and_then(|reading| reading.batches.recv().ok());
        self.throughput.waited += start.elapsed();
        match received {
            Some(Ok((batch, cost))) => {
                self.throughput.stored += cost.stored;
                self.throughput.skipped += cost.skipped;
                self.throughput.busy += cost.busy;
                self.step += 1;
                Ok(batch)
            }
            Some(Err(error)) => {
                self.stop();
                Err(error)
            }
            None => {
                self.stop();
                let reason = "the reading thread ended".to_owned();
                Err(Error::Stream { reason })
            }
        }
    }

    fn start(&self) -> Result<Reading, Error> {
        let (sender, batches) = sync_channel(AHEAD);
        let (plan, step, stop) = (self.plan.clone(), self.step, Arc::new(AtomicBool::new(false)));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("activations".to_owned())
            .spawn(move || {
                if let Err(error) = plan.read(step, &sender, stopped) {
                    // Nobody listens any more when this fails.
                    let _ = sender.send(Err(error));
                }
            })
            .map_err(|error| Error::Stream {
                reason: format!("no thread to read with: {error}"),
            })?;
        Ok(Reading { batches, thread, stop })
    }

    fn stop(&mut self) {
        if let Some(Reading { batches, thread, stop }) = self.reading.take() {
            stop.store(true, Ordering::Relaxed);
            // The thread ends when it finds the channel closed.
            drop(batches);
            let _ = thread.join();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Plan {
    /// The pools from that of the first row of `step` on, to that of the last row of the last step.
    fn pools(&self, step: usize) -> impl Iterator<Item = Next> + Send + use<> {
        let (first, end) = (step.saturating_mul(self.batch), self.steps.saturating_mul(self.batch));
        let (order, epoch) = (self.order.clone(), first / self.rows);
        let mut before = epoch * self.rows;
        let of_epoch = move |epoch| {
            order
                .pools(epoch)
                .into_iter()
                .enumerate()
                .map(move |pool| (epoch, pool))
        };
        let all = (epoch..)
            .flat_map(of_epoch)
            .map(move |(epoch, (index, (shards, rows)))| {
                let start = before;
                before += rows;
                (
                    start,
                    Next {
                        epoch,
                        index,
                        shards,
                        rows,
                        skip: first.saturating_sub(start),
                    },
                )
            });
        let wanted = all.take_while(move |(start, _)| *start < end);
        wanted.map(|(_, next)| next).filter(|next| next.skip < next.rows)
    }

    /// Sends batches from `step` on until nobody listens, or until the last one that is asked for.
    fn read(
        &self,
        step: usize,
        sender: &SyncSender<Result<(Batch, Throughput), Error>>,
        stop: Arc<AtomicBool>,
    ) -> Result<(), Error> {
        if step >= self.steps {
            return Ok(());
        }
        let mut open = self.empty(step);
        let (mut cost, mut since) = (Throughput::default(), Instant::now());
        let feed = self.store.source().map(|source| {
            let hooks = self.selection.hooks.iter().map(|(hook, _)| *hook).collect();
            let shards = self.pools(step).flat_map(|next| next.shards);
            Feed::start(source.clone(), hooks, shards, self.pool, stop)
        });
        let feed = feed.transpose()?;
        for Next {
            epoch,
            index,
            shards,
            rows,
            skip,
        } in self.pools(step)
        {
            let pool = match &feed {
                None => Pool::read(&self.store, &shards, &self.selection)?,
                Some(feed) => match Pool::made(feed, shards.len(), &self.selection)? {
                    Some(pool) => pool,
                    None => return Ok(()),
                },
            };
            if pool.len() != rows {
                let reason = format!("{rows} rows expected in a pool, found {}", pool.len());
                return Err(Error::Stream { reason });
            }
            cost.stored += pool.stored;
            cost.skipped += pool.skipped;
            let order = self.order.rows_of(epoch, index, rows);
            let mut rows = &order[skip..];
            while !rows.is_empty() {
                let held = open.values[0].len() / self.selection.hooks[0].1.width;
                let (taken, rest) = rows.split_at(rows.len().min(self.batch - held));
                rows = rest;
                for (hook, values) in open.values.iter_mut().enumerate() {
                    pool.gather(&self.store, hook, &self.selection, taken, values); // [B, D]
                }
                if self.selection.rows {
                    open.rows
                        .extend(taken.iter().map(|&row| pool.rows[row as usize].clone()));
                }
                if held + taken.len() == self.batch {
                    let next = self.empty(open.step + 1);
                    let full = std::mem::replace(&mut open, next);
                    cost.busy = since.elapsed();
                    if sender.send(Ok((full, cost))).is_err() || open.step >= self.steps {
                        return Ok(());
                    }
                    (cost, since) = (Throughput::default(), Instant::now());
                }
            }
        }
        Ok(())
    }

    fn empty(&self, step: usize) -> Batch {
        Batch {
            step,
            // No room is made yet: the width in a manifest is not that of the shards until these have been read.
            values: vec![Vec::new(); self.selection.hooks.len()],
            rows: Vec::new(),
        }
    }
}
