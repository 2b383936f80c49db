//! Event counts. Each cell has one writer at a time, so that counting is a load and a store on a line that the writer
//! owns anyway.

// Not of the loom seam: counts carry no ordering, and a model that branches on them would only be slower.
use std::sync::atomic::{AtomicU64, Ordering};

/// A count with one writer at a time and any number of readers.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// The writer adds.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        // One writer. ORDERING: Release pairs with the Acquire in `get`: who reads that a task has ended reads, after that, that
        // it was made.
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Release);
    }

    /// Anybody adds.
    pub(crate) fn add_shared(&self, n: u64) {
        self.fetch_add_shared(n);
    }

    /// Anybody adds. Returns the count before.
    pub(crate) fn fetch_add_shared(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Release)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Release);
    }

    /// A reader raises the count to `n`. Returns the higher one.
    pub(crate) fn raise(&self, n: u64) -> u64 {
        self.0.fetch_max(n, Ordering::Relaxed).max(n)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What one slot has done. Written by its owner only.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: Count),* }
    };
}

impl Counters {
    /// Tasks that came to an end of any kind.
    pub(crate) fn ended(&self) -> u64 {
        self.completed.get() + self.failed.get() + self.cancelled.get()
    }
}

counters! {
    /// Tasks made: `submit`, `spawn`, scope tasks.
    submitted,
    /// Tasks that ended without a panic.
    completed,
    /// Tasks that panicked or missed their deadline.
    failed,
    /// Of them, those that missed their deadline.
    timed_out,
    /// Tasks dropped before they ran.
    cancelled,
    /// Tasks that were ended by their deadline and have left something to the pool: a closure to be dropped, callbacks.
    deferred,
    /// Those of which that has been done.
    deferred_done,
    /// Tasks that were begun or ended while their blocks stayed in a queue.
    left_behind,
    /// Such blocks that came out of their queues.
    swept_up,
    /// Panics that no handle and no scope saw.
    lost_panics,
    /// Tasks that a thread of the pool queued beyond the capacity.
    beyond_capacity,
    /// Blocks from queues and stolen forks that a thread set out to run here.
    executed,
    /// Of them, blocks without anything to run: their tasks had been run by a handle, cancelled, or were late; and the pool's own errands.
    not_executed,
    /// Forks and tasks taken from another slot.
    stolen,
    /// Times the thread went to sleep, free or bound.
    parks,
    /// Threads woken or started by this one.
    wakeups,
    /// Times a push was asked to look up.
    attentions,
    /// Items forced out of a ring, or tried to: one heavy fence each.
    forces,
    /// Heavy fences before going to sleep.
    barriers,
    /// Compare-and-swaps lost to another thief.
    conflicts,
    /// Nanoseconds of work that has ended.
    busy_ns,
    /// Since when the current work lasts, in nanoseconds after the pool's birth; 0: none.
    busy_since_ns,
    /// The most that a snapshot has shown as busy: two words are read one after the other, so a sum can be too high for a moment.
    busy_shown_ns,
}
