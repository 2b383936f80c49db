//! How long tasks wait in the pool's queues, measured on a sample of them.
//!
//! A task of the sample has a place here while it waits, and a flag in its own state, so that whoever begins another task reads no clock and
//! touches nothing of this. There are few places: while all are taken, tasks go unmeasured, and none is forgotten.

// Not of the loom seam: measurements carry no ordering but that of the queues through which the task itself goes.
use std::sync::atomic::{AtomicU64, Ordering};

/// One of so many tasks is measured, once its submitter has submitted [`ALL`]. A measurement costs about 100 ns, as much as a submit and its run. With
/// one of 64 a submit from outside took 2 % longer, with one of 256 no difference shows (measured 2026-11, 2 cores).
const SAMPLE: u64 = 256;

/// The first tasks of each thread of the pool are all measured, and the first that come from outside, so that a program with few tasks sees something.
const ALL: u64 = 64;

/// How many tasks are measured at the same time.
const PLACES: usize = 32;

/// One for each power of two, in nanoseconds: the last one begins at nine minutes.
pub(crate) const BUCKETS: usize = 40;

/// Whether to measure a task before which the same thread of the pool, or all those outside, have submitted so many. Models have no time to measure.
#[inline]
pub(crate) fn is_sampled(before: u64) -> bool {
    !crate::sync::MODEL && (before < ALL || before.is_multiple_of(SAMPLE))
}

/// See the module.
pub(crate) struct QueueWaits {
    places: [Place; PLACES],
    /// How many waits were measured, by the highest set bit of their nanoseconds.
    buckets: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
}

/// Where a task is noted while it waits.
struct Place {
    /// Its number; 0: the place is free.
    task: AtomicU64,
    /// Since when it waits. Written by whoever has taken the place, read by whoever begins the task.
    since_ns: AtomicU64,
}

impl QueueWaits {
    pub(crate) fn new() -> Self {
        QueueWaits {
            places: std::array::from_fn(|_| Place {
                task: AtomicU64::new(0),
                since_ns: AtomicU64::new(0),
            }),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            total_ns: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
        }
    }

    fn place(&self, task: u64) -> &Place {
        // Neighbours at first, then every 256th.
        &self.places[((task ^ (task / SAMPLE)) % PLACES as u64) as usize]
    }

    /// The task is about to be queued. False: its place is taken, and it is not measured.
    pub(crate) fn begin(&self, task: u64, now_ns: u64) -> bool {
        let place = self.place(task);
        // ORDERING: Acquire pairs with the Release in `leave`: the one before has read its time.
        let taken = place
            .task
            .compare_exchange(0, task, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_ok() {
            place.since_ns.store(now_ns, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// A measured task begins to run.
    pub(crate) fn end(&self, task: u64, now_ns: u64) {
        let since_ns = self.place(task).since_ns.load(Ordering::Relaxed);
        self.leave(task);
        let wait_ns = now_ns.saturating_sub(since_ns);
        let bucket = wait_ns.checked_ilog2().unwrap_or(0) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(wait_ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(wait_ns, Ordering::Relaxed);
    }

    /// A measured task will not run.
    pub(crate) fn leave(&self, task: u64) {
        self.place(task).task.store(0, Ordering::Release);
    }

    /// How many waits fell into each bucket.
    pub(crate) fn buckets(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|n| self.buckets[n].load(Ordering::Relaxed))
    }

    pub(crate) fn total_ns(&self) -> u64 {
        self.total_ns.load(Ordering::Relaxed)
    }

    pub(crate) fn longest_ns(&self) -> u64 {
        self.longest_ns.load(Ordering::Relaxed)
    }
}
