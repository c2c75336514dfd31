//! Steps of small autoencoders side by side, each on one thread.
//!
//! A step of a small autoencoder has dozens of parallel loops of a few microseconds. Shared out over all threads, they spend more
//! time on putting threads to sleep and waking them than a second thread saves; so each step keeps to one thread, and as many
//! steps are at work as there are threads.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that work alone: a parallel loop that is entered on one of them runs on it to its end.
#[derive(Debug)]
pub(crate) struct Workers(Vec<ThreadPool>);

/// An item, and what its steps have given so far.
struct Chain<'a, T, R> {
    item: &'a mut T,
    results: &'a mut Vec<R>,
}

impl Workers {
    /// As many as the pool has threads, or fewer where the system gives no more.
    pub(crate) fn new() -> Self {
        let one = || ThreadPoolBuilder::new().num_threads(1).build();
        Self((0..rayon::current_num_threads()).map_while(|_| one().ok()).collect())
    }

    /// Takes `steps` steps of each of `items`, those of an item one after another; an item whose step fails takes no more.
    /// Gives the results of each item, in the order of the items. Without threads of its own all is done on the one that calls.
    ///
    /// # Panics
    ///
    /// Without a step to take, which is an error of the caller.
    pub(crate) fn run<T: Send, R: Send, E: Send>(
        &self,
        items: &mut [T],
        steps: usize,
        step: impl Fn(&mut T, usize) -> Result<R, E> + Sync,
    ) -> Vec<Vec<Result<R, E>>> {
        assert!(steps > 0, "steps of a round");
        let mut results: Vec<Vec<_>> = items.iter().map(|_| Vec::with_capacity(steps)).collect();
        let chains = items.iter_mut().zip(&mut results);
        let queue: Mutex<VecDeque<_>> = Mutex::new(chains.map(|(item, results)| Chain { item, results }).collect());
        let lock = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Who waits longest comes first, so that no item is left with many steps at the end while a thread has nothing to do.
        let next = || lock().pop_front();
        let work = || {
            while let Some(Chain { item, results }) = next() {
                let found = step(item, results.len());
                let goes_on = found.is_ok() && results.len() + 1 < steps;
                results.push(found);
                if goes_on {
                    lock().push_back(Chain { item, results });
                }
            }
        };
        match self.0.as_slice() {
            [] => work(),
            pools => on_all(pools, &work),
        }
        results
    }
}

/// Runs `work` on the thread of each pool, and ends when all have ended.
fn on_all(pools: &[ThreadPool], work: &(impl Fn() + Sync)) {
    if let Some((first, others)) = pools.split_first() {
        first.in_place_scope(|scope| {
            scope.spawn(|_| work());
            on_all(others, work);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_an_item_follow_each_other_and_loops_stay_on_their_thread() {
        for (workers, threads) in [(Workers::new(), 1), (Workers(Vec::new()), rayon::current_num_threads())] {
            let mut items: Vec<usize> = (0..50).collect();
            let found = workers.run(&mut items, 3, |item, step| {
                *item += 100;
                // The item that began as 7 fails at its second step.
                match (*item, step) {
                    (207, 1) => Err("fails"),
                    _ => Ok((*item, step, rayon::current_num_threads())),
                }
            });
            for (start, results) in found.iter().enumerate() {
                let of = |step: usize| Ok((start + 100 * (step + 1), step, threads));
                let expected = match start {
                    7 => vec![of(0), Err("fails")],
                    _ => vec![of(0), of(1), of(2)],
                };
                assert_eq!(*results, expected);
            }
        }
        let none = Workers::new().run(&mut [0_usize; 0], 3, |_, _| Ok::<_, ()>(()));
        assert!(none.is_empty());
    }
}
