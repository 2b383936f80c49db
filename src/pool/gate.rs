//! Who may queue tasks: nobody after the shutdown, and no more than the capacity.

use super::worker::Event;
use crate::sleep::Parker;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, fence, lock};
use std::collections::VecDeque;

/// What [`submit`](crate::ThreadPool::submit) does when as many tasks are queued as
/// [`queue_capacity`](crate::ThreadPoolBuilder::queue_capacity) allows. It binds threads outside the pool only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// Waits for room.
    #[default]
    Block,
    /// Refuses: the handle resolves to an error at once.
    Reject,
    /// Runs the task on the submitting thread.
    CallerRuns,
}

/// Why a task was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// Counts what is queued, if there is a limit to it.
#[derive(Debug)]
pub(crate) struct Gate {
    capacity: Option<usize>,
    pub(crate) when_full: WhenFull,
    closed: AtomicBool,
    queued: AtomicUsize,
    /// How many wait for room. Changed under the lock.
    waiting: AtomicUsize,
    waiters: Mutex<VecDeque<Arc<Parker>>>,
}

impl Gate {
    pub(super) fn new(capacity: Option<usize>, when_full: WhenFull) -> Self {
        Gate {
            capacity,
            when_full,
            closed: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
        }
    }

    /// One more task is queued. `beyond`: even if that makes too many.
    #[inline]
    pub(crate) fn enter(&self, beyond: bool) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        // ORDERING: Relaxed, a count; it hands nothing over.
        self.queued
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| {
                (beyond || queued < capacity).then_some(queued + 1)
            })
            .map(drop)
            .map_err(|_| Refusal::Full)
    }

    /// A task has begun, or was dropped.
    #[inline]
    pub(crate) fn leave(&self) {
        if self.capacity.is_some() {
            self.leave_bounded();
        }
    }

    #[cold]
    fn leave_bounded(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        // Dekker: {queued; fence; waiting} here, {waiting; fence; queued} in `register`.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            let waiter = {
                let mut waiters = lock(&self.waiters);
                let waiter = waiters.pop_front();
                self.waiting.store(waiters.len(), Ordering::Relaxed);
                waiter
            };
            if let Some(waiter) = waiter {
                waiter.unpark();
            }
        }
    }

    /// Nothing is let in from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // As in `leave_bounded`; and with the fence in `Registry::retire`.
        fence(Ordering::SeqCst);
        let waiters = std::mem::take(&mut *lock(&self.waiters));
        for waiter in waiters {
            waiter.unpark();
        }
    }

    pub(crate) fn is_bounded(&self) -> bool {
        self.capacity.is_some()
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// There is room, or there will never be.
impl Event for Gate {
    fn is_set(&self) -> bool {
        self.is_closed()
            || self
                .capacity
                .is_none_or(|capacity| self.queued.load(Ordering::Relaxed) < capacity)
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        let mut waiters = lock(&self.waiters);
        waiters.push_back(Arc::clone(parker));
        self.waiting.store(waiters.len(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.is_set() {
            Self::remove(&mut waiters, &self.waiting, parker);
            return false;
        }
        true
    }

    fn unregister(&self, parker: &Arc<Parker>) {
        let next = {
            let mut waiters = lock(&self.waiters);
            if Self::remove(&mut waiters, &self.waiting, parker) {
                None
            } else {
                // Our token was for one place. We may be late for it, or not want it: somebody else looks too.
                let next = if self.is_set() {
                    waiters.pop_front()
                } else {
                    None
                };
                self.waiting.store(waiters.len(), Ordering::Relaxed);
                next
            }
        };
        if let Some(next) = next {
            next.unpark();
        }
    }
}

impl Gate {
    fn remove(
        waiters: &mut VecDeque<Arc<Parker>>,
        waiting: &AtomicUsize,
        parker: &Arc<Parker>,
    ) -> bool {
        let place = waiters.iter().position(|other| Arc::ptr_eq(other, parker));
        if let Some(place) = place {
            waiters.remove(place);
            waiting.store(waiters.len(), Ordering::Relaxed);
        }
        place.is_some()
    }
}
