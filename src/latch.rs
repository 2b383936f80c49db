//! A latch: a count for which one thread waits. It refers to a parker, never to a pool.

use crate::sleep::{Event, Parker};
use crate::sync::{Arc, AtomicUsize, Mutex, Ordering, lock};

#[cfg(all(test, heist_loom))]
mod models;

/// A count down to zero, for which one thread may wait. Clones share the count, so that the thread that counts down last never accesses memory
/// that the waiting thread has freed.
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
    /// Creates a latch that is set after `count` calls of [`Latch::count_down`].
    pub(crate) fn new(count: usize) -> Self {
        Latch {
            shared: Arc::new(Shared {
                left: AtomicUsize::new(count),
                waiter: Mutex::new(None),
            }),
        }
    }

    pub(crate) fn count_down(&self) {
        // ORDERING: AcqRel: Release pairs with the Acquire in `is_set`, so that what was done before each count is visible there.
        if self.shared.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The lock is free before the woken thread runs, which takes it.
            let waiter = lock(&self.shared.waiter).take();
            if let Some(waiter) = waiter {
                waiter.unpark();
            }
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.shared.left.load(Ordering::Acquire) == 0
    }
}

impl Event for Latch {
    fn is_set(&self) -> bool {
        Latch::is_set(self)
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        let mut waiter = lock(&self.shared.waiter);
        // Checked under the lock: a later count to zero finds the waiter.
        if self.is_set() {
            return false;
        }
        *waiter = Some(Arc::clone(parker));
        true
    }

    fn unregister(&self, _: &Arc<Parker>) {
        *lock(&self.shared.waiter) = None;
    }
}
