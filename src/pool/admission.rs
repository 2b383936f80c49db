//! Admission of detached tasks: none after the shutdown, and no more than the queue's capacity.

use super::config::WhenFull;
use crate::sleep::{Event, Parker, Waited};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, fence, lock};
use crossbeam_utils::CachePadded;
use std::collections::VecDeque;

/// The reason why a task was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

/// Decides which tasks may be queued. Counts the queued tasks if their number is limited.
#[derive(Debug)]
pub(crate) struct Admission {
    capacity: Option<usize>,
    pub(crate) when_full: WhenFull,
    closed: AtomicBool,
    /// Written for each task of a queue with a capacity, so that nothing that workers read is beside it.
    queued: CachePadded<AtomicUsize>,
    /// The number of threads that wait for room. Changed under the lock of `waiters`.
    waiting: AtomicUsize,
    waiters: Mutex<VecDeque<Arc<Parker>>>,
}

impl Admission {
    pub(super) fn new(capacity: Option<usize>, when_full: WhenFull) -> Self {
        Admission {
            capacity,
            when_full,
            closed: AtomicBool::new(false),
            queued: CachePadded::new(AtomicUsize::new(0)),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
        }
    }

    /// Admits one more task, if the capacity permits it or the caller may exceed it (`beyond`).
    #[inline]
    pub(crate) fn enter(&self, beyond: bool) -> Result<(), Refusal> {
        if self.is_closed() {
            return Err(Refusal::Closed);
        }
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        // ORDERING: Relaxed: a count that publishes nothing.
        self.queued
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |queued| {
                (beyond || queued < capacity).then_some(queued + 1)
            })
            .map(drop)
            .map_err(|_| Refusal::Full)
    }

    /// Makes room: a queued task has begun or was dropped.
    #[inline]
    pub(crate) fn leave(&self) {
        if self.capacity.is_some() {
            self.leave_bounded();
        }
    }

    #[cold]
    fn leave_bounded(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        // Store-load pair: {queued; fence; waiting} here, {waiting; fence; queued} in `register`.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) > 0
            && let Some(waiter) = self.change_waiters(VecDeque::pop_front)
        {
            waiter.unpark();
        }
    }

    /// Admits nothing from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Store-load pair: {closed; fence; waiters} here, {waiting; fence; closed} in `register`; and with the fence in `Registry::retire`.
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

    /// Changes the list of waiters and its published length. The lock is free when this returns, so that a waiter that is woken next can take it.
    fn change_waiters<R>(&self, change: impl FnOnce(&mut VecDeque<Arc<Parker>>) -> R) -> R {
        let mut waiters = lock(&self.waiters);
        let result = change(&mut waiters);
        self.waiting.store(waiters.len(), Ordering::Relaxed);
        result
    }
}

/// Set when there is room, and when there will never be any.
impl Event for Admission {
    fn is_set(&self) -> bool {
        let has_room = |capacity| self.queued.load(Ordering::Relaxed) < capacity;
        self.is_closed() || self.capacity.is_none_or(has_room)
    }

    fn register(&self, parker: &Arc<Parker>) -> bool {
        let mut waiters = lock(&self.waiters);
        waiters.push_back(Arc::clone(parker));
        self.waiting.store(waiters.len(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_set = self.is_set();
        if is_set {
            // The lock is still held, so the last entry is this one.
            waiters.pop_back();
            self.waiting.store(waiters.len(), Ordering::Relaxed);
        }
        !is_set
    }

    fn unregister(&self, parker: &Arc<Parker>) {
        let next = self.change_waiters(|waiters| {
            match waiters.iter().position(|other| Arc::ptr_eq(other, parker)) {
                Some(place) => {
                    waiters.remove(place);
                    None
                }
                // This waiter was woken for one place in the queue. It may come too late for the place, or no longer want it, so that
                // another waiter must look as well.
                None if self.is_set() => waiters.pop_front(),
                None => None,
            }
        });
        if let Some(next) = next {
            next.unpark();
        }
    }

    fn waited(&self) -> Waited {
        Waited::ROOM
    }
}
