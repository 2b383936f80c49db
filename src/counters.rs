//! Event counts. Most have one writer at a time, so that counting is a load and a store on a cache line that the writer owns anyway.

// From std in models too: what a count orders is not modelled, and a model that branches at each count would be slower.
use crate::sync::{Ordering, hint::AtomicU64};

/// A count with any number of readers. It has one writer at a time, or else all of its writers use [`add_shared`](Self::add_shared).
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// Adds to a count whose only writer is the caller.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        self.set(self.0.load(Ordering::Relaxed) + n);
    }

    /// Takes back what the caller, the only writer, has added.
    pub(crate) fn take_back(&self, n: u64) {
        self.set(self.0.load(Ordering::Relaxed).saturating_sub(n));
    }

    /// Adds to a count that any thread may write.
    pub(crate) fn add_shared(&self, n: u64) {
        self.fetch_add_shared(n);
    }

    /// Adds to a count that any thread may write. Returns the previous value.
    pub(crate) fn fetch_add_shared(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Release)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn set(&self, n: u64) {
        // ORDERING: Release pairs with the Acquire in `get`: a thread that reads that a task has ended, and then whether it was submitted, reads
        // that it was.
        self.0.store(n, Ordering::Release);
    }

    /// Raises the count to `n`, on behalf of a reader. Returns the higher value.
    pub(crate) fn raise(&self, n: u64) -> u64 {
        self.0.fetch_max(n, Ordering::Relaxed).max(n)
    }
}

/// The events on one slot, written by the slot's owner only; or those of all threads outside, which share the counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Tasks that were submitted or spawned, scope tasks included.
    pub(crate) submitted: Count,
    /// Tasks that ended without a panic.
    pub(crate) completed: Count,
    /// Tasks that panicked or missed their deadline.
    pub(crate) failed: Count,
    /// Tasks that missed their deadline, which `failed` counts too.
    pub(crate) timed_out: Count,
    /// Tasks dropped before they ran.
    pub(crate) cancelled: Count,
    /// Tasks that their deadline has ended and that left the pool something to do: a closure to drop, or callbacks.
    pub(crate) deferred: Count,
    /// Tasks counted by `deferred` for which that has been done.
    pub(crate) deferred_done: Count,
    /// Futures that were suspended, each time.
    pub(crate) suspended: Count,
    /// Futures that were woken or ended while they were suspended, each time.
    pub(crate) resumed: Count,
    /// Tombstones: tasks that were begun or ended while their blocks stayed in a queue.
    pub(crate) tombstones: Count,
    /// Tombstones that were taken out of their queues.
    pub(crate) tombstones_removed: Count,
    /// Panics that no handle and no scope observed.
    pub(crate) lost_panics: Count,
    /// Tasks that a thread of the pool queued beyond the capacity.
    pub(crate) beyond_capacity: Count,
    /// Tasks from queues and stolen forks that a thread has begun on this slot. A tombstone, and a task that only serves the pool itself, is counted
    /// when it is taken, and taken back as soon as that is known.
    pub(crate) executed: Count,
    /// Forks and tasks taken from another slot.
    pub(crate) stolen: Count,
    /// Times the thread went to sleep, free or bound.
    pub(crate) parks: Count,
    /// Threads woken or started by this one.
    pub(crate) wakeups: Count,
    /// Share requests that were answered.
    pub(crate) share_requests: Count,
    /// Attempts to take a fork out of a ring by force, each with one heavy fence.
    pub(crate) forces: Count,
    /// Heavy fences before going to sleep.
    pub(crate) barriers: Count,
    /// Compare-and-swaps that failed because of another thief.
    pub(crate) conflicts: Count,
    /// The duration of past work in nanoseconds.
    pub(crate) busy_ns: Count,
    /// The beginning of the current work in nanoseconds after the pool's creation, or 0 if there is none.
    pub(crate) busy_since_ns: Count,
    /// The longest busy time that a snapshot has shown. Since a snapshot reads two words one after the other, their sum may be too high for a moment.
    pub(crate) busy_shown_ns: Count,
}

impl Counters {
    /// The tasks that have ended in any way.
    pub(crate) fn ended(&self) -> u64 {
        self.completed.get() + self.failed.get() + self.cancelled.get()
    }
}
