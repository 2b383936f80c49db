//! How long tasks wait in the pool's queues, measured on a sample of them.
//!
//! A sampled task has a place here while it waits, and a flag in its own state, so that a thread that begins another task reads no clock and
//! accesses nothing here. There are few places. While its place is taken, a task is not measured.

// From std in models too: measurements need no ordering beyond that of the queues through which the task itself goes.
use crate::sync::{Ordering, hint::AtomicU64};

/// One task in this many is measured, once its submitter has submitted [`ALL`]. A measurement costs about 100 ns, as much as submitting and
/// running a task. With one in 64, a submit from outside took 2 % longer; with one in 256, no difference shows (measured 2026-11, 2 cores).
const SAMPLE: u64 = 256;

/// The first this many tasks of each thread of the pool, and of all threads outside together, are all measured, so that a program with few
/// tasks sees something.
const ALL: u64 = 64;

/// The most tasks that are measured at the same time.
const PLACES: usize = 32;

/// The number of buckets, one for each power of two in nanoseconds. The last one begins at nine minutes.
pub(crate) const BUCKETS: usize = 40;

/// Whether to measure a task. `before` is the number of tasks that were submitted before it, by the same thread of the pool or by all threads
/// outside. Models have no time to measure.
#[inline]
pub(crate) fn is_sampled(before: u64) -> bool {
    !crate::sync::MODEL && (before < ALL || before.is_multiple_of(SAMPLE))
}

/// The measured waits of one pool. See the module.
pub(crate) struct QueueWaits {
    places: [Place; PLACES],
    /// The number of measured waits, by the highest set bit of their nanoseconds.
    buckets: [AtomicU64; BUCKETS],
    total_ns: AtomicU64,
    longest_ns: AtomicU64,
}

/// The record of one task that waits.
#[derive(Default)]
struct Place {
    /// The number of the task, or 0 if the place is free.
    task: AtomicU64,
    /// When the wait began. Written by the submitter, read by the thread that begins the task.
    since_ns: AtomicU64,
}

impl QueueWaits {
    pub(crate) fn new() -> Self {
        QueueWaits {
            places: Default::default(),
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            total_ns: AtomicU64::new(0),
            longest_ns: AtomicU64::new(0),
        }
    }

    fn place(&self, task: u64) -> &Place {
        // The sampled tasks are neighbours at first, then every 256th.
        &self.places[((task ^ (task / SAMPLE)) % PLACES as u64) as usize]
    }

    /// Begins to measure a task that is about to be queued. Returns `false` if its place is taken, so that it is not measured.
    pub(crate) fn begin(&self, task: u64, now_ns: u64) -> bool {
        let Place { task: id, since_ns } = self.place(task);
        // ORDERING: Acquire pairs with the Release in `leave`: the previous task's time has been read.
        let taken = id.compare_exchange(0, task, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_ok() {
            since_ns.store(now_ns, Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Records the wait of a measured task that begins to run.
    pub(crate) fn end(&self, task: u64, now_ns: u64) {
        let since_ns = self.place(task).since_ns.load(Ordering::Relaxed);
        self.leave(task);
        let wait_ns = now_ns.saturating_sub(since_ns);
        let bucket = wait_ns.checked_ilog2().unwrap_or(0) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.total_ns.fetch_add(wait_ns, Ordering::Relaxed);
        self.longest_ns.fetch_max(wait_ns, Ordering::Relaxed);
    }

    /// Frees the place of a measured task, which runs or will not run.
    pub(crate) fn leave(&self, task: u64) {
        self.place(task).task.store(0, Ordering::Release);
    }

    /// The number of waits in each bucket.
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
