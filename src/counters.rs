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
        // ORDERING: Relaxed, one writer; readers want the number only.
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Anybody adds.
    pub(crate) fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What one slot has done. Written by its owner only.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: Count),* }
    };
}

counters! {
    /// Tasks made: `spawn` and scope tasks.
    submitted,
    /// Tasks that ended without a panic.
    completed,
    /// Tasks that panicked.
    failed,
    /// Tasks dropped before they ran.
    cancelled,
    /// Tasks and stolen forks that ran here.
    executed,
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
}
