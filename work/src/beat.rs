//! The sign of life of claims: a thread that makes them grow.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Debug, Default)]
struct Held {
    files: Vec<File>,
    ends: bool,
}

/// Appends a byte to every claim that is held, at equal times, until it is dropped.
#[derive(Debug)]
pub(crate) struct Beats {
    held: Arc<(Mutex<Held>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Beats {
    pub(crate) fn every(period: Duration) -> std::io::Result<Self> {
        let held = Arc::new((Mutex::new(Held::default()), Condvar::new()));
        let shared = Arc::clone(&held);
        let thread = std::thread::Builder::new().name("claims".to_owned());
        let thread = thread.spawn(move || beat(&shared, period))?;
        Ok(Self {
            held,
            thread: Some(thread),
        })
    }

    /// Lets these files grow in place of those before.
    pub(crate) fn hold(&self, files: Vec<File>) {
        let mut held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.files = files;
    }
}

fn beat(shared: &(Mutex<Held>, Condvar), period: Duration) {
    let mut held = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !held.ends {
        let waited = shared.1.wait_timeout(held, period);
        held = waited.unwrap_or_else(PoisonError::into_inner).0;
        for mut file in &held.files {
            // A claim that cannot grow is taken over by another worker, which wastes work and harms nothing.
            let _ = file.write_all(b".");
        }
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        let mut held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        (held.ends, held.files) = (true, Vec::new());
        drop(held);
        self.held.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
