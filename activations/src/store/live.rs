//! A store whose shards are made when they are asked for: nowhere on disk, and made again when they are asked for again, or kept as a harvest
//! writes them.
//!
//! Shapes: `N` rows of a shard, `W` numbers per vector.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use lm::HookPoint;

use super::manifest::Manifest;
use super::schema::Row;
use super::shard::ShardData;
use crate::Error;

/// What makes the shards of a store.
pub(crate) trait MakeShards: fmt::Debug + Send + Sync {
    /// Where the vectors of a shard come from, `N`, in their order; nothing is run for it.
    ///
    /// # Errors
    ///
    /// The text cannot be read.
    fn rows(&self, shard: usize) -> Result<Vec<Row>, Error>;

    /// A shard of each of the hooks. Vectors that are not `wanted` may be zeros. `None` where it was told to `stop`.
    ///
    /// # Errors
    ///
    /// The text cannot be read, or a vector cannot be stored.
    fn make(
        &self,
        shard: usize,
        hooks: &[HookPoint],
        wanted: &dyn Fn(&Row) -> bool,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<ShardData>>, Error>;

    /// Tokens that the model reads to make a shard.
    ///
    /// # Errors
    ///
    /// As [`MakeShards::rows`].
    fn tokens(&self, shard: usize, wanted: &dyn Fn(&Row) -> bool) -> Result<usize, Error>;

    /// Whether what is made is kept on disk.
    fn keeps(&self) -> bool;

    /// Ends the store on disk: its manifest, or `None` where shards are missing that nobody has asked for, or nothing is kept.
    ///
    /// # Errors
    ///
    /// Whatever the disk says.
    fn finish(&self) -> Result<Option<Manifest>, Error>;
}

/// Shards on their way from the thread that makes them.
#[derive(Debug)]
pub(super) struct Feed {
    shards: Option<Receiver<Result<Vec<ShardData>, Error>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Begins to make the shards that are named, in that order; up to `ahead` of them wait for [`Feed::next`], and then making
    /// waits.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub(super) fn start(
        source: Arc<dyn MakeShards>,
        hooks: Vec<HookPoint>,
        shards: impl Iterator<Item = usize> + Send + 'static,
        ahead: usize,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let (sender, receiver) = sync_channel(ahead);
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("harvest".to_owned()).spawn(move || {
            for shard in shards {
                let made = match source.make(shard, &hooks, &|_| true, &stopped) {
                    Ok(None) => return,
                    Ok(Some(made)) => Ok(made),
                    Err(error) => Err(error),
                };
                let failed = made.is_err();
                if sender.send(made).is_err() || failed {
                    return;
                }
            }
        });
        let thread = thread.map_err(|error| Error::Stream {
            reason: format!("no thread to harvest with: {error}"),
        })?;
        Ok(Self {
            shards: Some(receiver),
            stop,
            thread: Some(thread),
        })
    }

    /// The next shard, of each hook; `None` when it was told to stop.
    pub(super) fn next(&self) -> Result<Option<Vec<ShardData>>, Error> {
        let received = self.shards.as_ref().and_then(|shards| shards.recv().ok());
        received.transpose()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread ends when it finds the channel closed.
        self.shards = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
