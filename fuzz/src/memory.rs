//! An allocator that counts, and that refuses what is more than an input may cost.
//!
//! What C libraries ask of the system is not counted; libFuzzer watches the resident memory of the process besides.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The most bytes that may be held at a time. Who asks for more is given nothing, which ends the process.
pub const LIMIT: usize = 2 << 30;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "an allocator is unsafe to write; memory is the system's")]
// SAFETY: memory is the system's allocator's, with the layout that was asked for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(layout.size(), || unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(layout.size(), || unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        let moved = given(size, || unsafe { System.realloc(memory, layout, size) });
        if !moved.is_null() {
            HELD.fetch_sub(layout.size(), Relaxed);
        }
        moved
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What `ask` gives of `size` bytes, counted; nothing beyond the limit.
fn given(size: usize, ask: impl FnOnce() -> *mut u8) -> *mut u8 {
    let held = HELD.fetch_add(size, Relaxed).saturating_add(size);
    let memory = if held > LIMIT { std::ptr::null_mut() } else { ask() };
    if memory.is_null() {
        HELD.fetch_sub(size, Relaxed);
    } else {
        PEAK.fetch_max(held, Relaxed);
    }
    memory
}

/// Begins to look for a peak; gives the bytes that are held now.
pub fn restart() -> usize {
    let held = HELD.load(Relaxed);
    PEAK.store(held, Relaxed);
    held
}

/// The most bytes that were held at a time since [`restart`].
pub fn peak() -> usize {
    PEAK.load(Relaxed)
}
