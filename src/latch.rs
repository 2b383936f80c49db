//! A count that somebody waits for. It points at a parker, never at a pool.

use crate::sleep::Parker;
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};

#[cfg(all(test, loom))]
mod models;

/// Counts down to zero; one thread may wait for that. Clones are the same latch, so that the one who counts down last
/// never touches memory that the waiter has given up.
#[derive(Clone, Debug)]
pub(crate) struct Latch {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    left: AtomicUsize,
    waiter: Mutex<Option<Arc<Parker>>>,
}

impl Latch {
    /// Set after `count` calls of [`Latch::count_down`].
    pub(crate) fn new(count: usize) -> Self {
        Latch {
            shared: Arc::new(Shared {
                left: AtomicUsize::new(count),
                waiter: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn count_down(&self) {
        // ORDERING: AcqRel: Release publishes what was done to the Acquire in `is_set`.
        if self.shared.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The lock is free again before the waiter runs, who takes it.
            let waiter = lock(&self.shared.waiter).take();
            if let Some(waiter) = waiter {
                waiter.unpark();
            }
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.shared.left.load(Ordering::Acquire) == 0
    }

    /// From now on the last count wakes `parker`. False: it is set already.
    pub(crate) fn register(&self, parker: &Arc<Parker>) -> bool {
        let mut waiter = lock(&self.shared.waiter);
        // Under the lock: a count to zero that comes later finds the waiter there.
        if self.is_set() {
            return false;
        }
        *waiter = Some(Arc::clone(parker));
        true
    }

    pub(crate) fn unregister(&self) {
        *lock(&self.shared.waiter) = None;
    }
}
