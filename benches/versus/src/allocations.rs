//! Counts heap allocations, while asked to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The system's allocator with a counter. At rest it costs one load of a flag that nobody writes.
pub struct Counting;

/// What was allocated, by any thread, while some work ran.
#[derive(Clone, Copy)]
pub struct Allocated {
    /// Allocations.
    pub count: u64,
    /// All bytes that they asked for.
    pub bytes: u64,
    /// The most frequent size among those of at most 512 bytes.
    pub usual_size: usize,
}

static ENABLED: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Allocations of each small size.
static SIZES: [AtomicU64; SMALL + 1] = [const { AtomicU64::new(0) }; SMALL + 1];
const SMALL: usize = 512;

/// Returns how many allocations, by any thread, happen while `work` runs.
pub fn count(work: impl FnOnce()) -> u64 {
    measure(work).count
}

/// Returns what is allocated, by any thread, while `work` runs.
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
        usual_size: (0..=SMALL)
            .max_by_key(|&size| SIZES[size].load(Ordering::SeqCst))
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

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
