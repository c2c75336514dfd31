//! The allocator: how it treats the large buffers of tensors, and what it says when there is no memory.

use std::alloc::{GlobalAlloc, Layout, System};
#[cfg(unix)]
use std::io::Write;

/// The system's allocator, which ends the program with one line where it has nothing to give; else that would be an abort.
struct Telling;

#[global_allocator]
static ALLOCATOR: Telling = Telling;

#[allow(
    unsafe_code,
    reason = "an allocator is unsafe to write; all it does is to ask the system's"
)]
// SAFETY: memory is the system's allocator's, with the layout that was asked for.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        given(unsafe { System.realloc(memory, layout, size) }, size)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// `memory`; where there is none, the end.
fn given(memory: *mut u8, size: usize) -> *mut u8 {
    #[cfg(unix)]
    if memory.is_null() {
        end(size);
    }
    // Elsewhere an abort follows.
    memory
}

/// Ends the program with one line. Nothing here may ask for memory, wait for a lock or unwind.
#[cfg(unix)]
fn end(size: usize) -> ! {
    let mut line = [0_u8; 200];
    let mut rest = &mut line[..];
    // The line has room for it.
    let _ = writeln!(
        rest,
        "error: there is no memory for {} KB more; lower the counts or sizes that were asked for, or take a larger machine",
        size.div_ceil(1024)
    );
    let length = 200 - rest.len();
    #[allow(
        unsafe_code,
        reason = "a write that does not go through a lock, and an end without further ado"
    )]
    // SAFETY: the line is that long; `_exit` may be called at any time.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), length);
        libc::_exit(1)
    }
}

/// Keeps freed memory for the next tensor instead of giving it back to the system.
///
/// Tensors of 20 to 100 MB come and go at every step. By default glibc maps and unmaps each, and the page faults cost as
/// much as a tenth of a training step and a third of a matrix product (`saelab bench`). There are as many heaps as cores, not
/// glibc's eight for each: what a thread frees (a batch that was read ahead, say) is soon there for another, and threads rarely
/// wait for each other's (with one heap for all, the training of `make eval-ioi` took 97 s where it takes 60 s). Other systems keep their defaults.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let heaps = std::thread::available_parallelism().map_or(1, |n| i32::try_from(n.get()).unwrap_or(i32::MAX));
        #[allow(
            unsafe_code,
            reason = "three settings of the allocator, before any other thread exists"
        )]
        // SAFETY: `mallopt` takes any pair of numbers and reports what it refuses.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_ARENA_MAX, heaps);
        }
    }
}
