//! A request to end, which a training answers with a checkpoint.
//!
//! Every artefact is written under a temporary name first, so what stands under its own name is whole: a process may end at any time. A
//! training first writes a checkpoint: while it holds a [`Watch`], the first request is noted, and the second ends the process.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Trainings that look at [`REQUESTED`].
static WATCHES: AtomicUsize = AtomicUsize::new(0);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks all trainings of this process to end; whether one is there that will, and was not asked before.
pub fn request() -> bool {
    WATCHES.load(Ordering::SeqCst) > 0 && !REQUESTED.swap(true, Ordering::SeqCst)
}

/// Held by a training that ends by itself when it is asked to.
#[derive(Debug)]
pub(crate) struct Watch(());

impl Watch {
    pub(crate) fn new() -> Self {
        WATCHES.fetch_add(1, Ordering::SeqCst);
        Self(())
    }

    /// Whether the process was asked to end.
    pub(crate) fn is_requested(&self) -> bool {
        REQUESTED.load(Ordering::SeqCst)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHES.fetch_sub(1, Ordering::SeqCst);
    }
}
