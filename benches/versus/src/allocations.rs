//! Counts heap allocations while a measurement runs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system's allocator with a counter. At rest it costs one load of a flag that nobody writes.
pub struct Counting;

/// What was allocated, by any thread, while some work ran.
#[derive(Clone, Copy)]
pub struct Allocated {
    /// The number of allocations.
    pub count: u64,
    /// The number of bytes that they asked for.
    pub bytes: u64,
    /// The bytes in blocks of one size: that of at most 4 KiB which takes up most.
    pub main_size_bytes: u64,
}

static ENABLED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Allocations of each small size.
static SIZES: [AtomicU64; SMALL + 1] = [const { AtomicU64::new(0) }; SMALL + 1];
const SMALL: usize = 4096;

/// Runs `work` and returns how many allocations all threads make meanwhile.
pub fn count(work: impl FnOnce()) -> u64 {
    measure(work).count
}

/// Runs `work` and returns what all threads allocate meanwhile.
pub fn measure(work: impl FnOnce()) -> Allocated {
    for counter in [&COUNT, &BYTES].into_iter().chain(&SIZES) {
        counter.store(0, Ordering::SeqCst);
    }
    ENABLED.store(true, Ordering::SeqCst);
    work();
    ENABLED.store(false, Ordering::SeqCst);
    Allocated {
        count: COUNT.load(Ordering::SeqCst),
        bytes: BYTES.load(Ordering::SeqCst),
        main_size_bytes: (0..)
            .zip(&SIZES)
            .map(|(size, count)| size * count.load(Ordering::SeqCst))
            .max()
            .unwrap_or(0),
    }
}

#[inline]
fn note(size: usize) {
    if ENABLED.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(size as u64, Ordering::Relaxed);
        if let Some(counter) = SIZES.get(size) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: `GlobalAlloc` requires blocks that fit their layout and stay until they are freed, and no unwinding. Each method passes its
// arguments to `System` unchanged and returns its answer; the counters do not panic.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: `alloc` requires a layout of non-zero size, which our caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: `alloc_zeroed` requires a layout of non-zero size, which our caller guarantees.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: `realloc` requires that `pointer` was allocated by `System` with `layout`, and that `size` is not zero and fits. Our caller
        // guarantees both for this allocator, which allocates by `System` only.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `dealloc` requires that `pointer` was allocated by `System` with `layout`. Our caller guarantees it for this allocator, which
        // allocates by `System` only.
        unsafe { System.dealloc(pointer, layout) }
    }
}
