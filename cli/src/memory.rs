//! How the allocator treats the large buffers of tensors.

/// Keeps freed memory for the next tensor instead of giving it back to the system.
///
/// Tensors of 20 to 100 MB come and go at every step. By default glibc maps and unmaps each, and the page faults cost as
/// much as a tenth of a training step and a third of a matrix product (`saelab bench`). All threads share one heap, so that
/// what one frees (a batch that was read ahead, say) is there for another. Other systems keep their defaults.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(
            unsafe_code,
            reason = "three settings of the allocator, before any other thread exists"
        )]
        // SAFETY: `mallopt` takes any pair of numbers and reports what it refuses.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }
}
