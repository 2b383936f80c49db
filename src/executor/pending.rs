//! The tasks of a set that may not have begun, and when the thread that waits for the set begins one of them itself.
//!
//! A wait for all of the tasks runs them one by one: each has to end anyway. A wait for the first of them does not: nobody knows which one that
//! is, and a task that takes long would hold back the results of all others. Such a waiter leaves its place to other threads, and runs a
//! task itself where no other thread can: at once if the pool has none that is awake or could be woken or started, and after some
//! [`PATIENCE`] if there are others and nothing has finished. Those may be blocked by what the waiter holds, or they may all have long tasks.

use super::arrivals::Arrivals;
use super::cell::TaskRef;
use super::handle::run_here;
use super::timer;
use crate::pool::{self, context, worker};
use crate::sync::now;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a wait for the first of several tasks leaves them to other threads. Far longer than a wake-up or the start of a thread takes.
const PATIENCE: Duration = Duration::from_millis(50);

/// To what the patience falls, by halves, while nobody else runs the tasks of a set.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);

/// What a wait waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Any of the tasks has finished.
    Any,
    /// All of them have, or the only one that is left has.
    All,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pending {
    /// Tasks with other indices have begun.
    indices: Range<usize>,
    patience: Duration,
}

impl Pending {
    /// Of tasks with the indices from 0 to `len`.
    pub(super) fn new(len: usize) -> Self {
        Pending {
            indices: 0..len,
            patience: PATIENCE,
        }
    }

    /// Another task, with the next index.
    pub(super) fn push(&mut self, index: usize) {
        self.indices.end = index + 1;
    }

    /// Spends one step of a wait: runs a task, or blocks until one has arrived. False: the deadline has passed. `task`: the one with this
    /// index, if it has not arrived yet.
    pub(super) fn wait<'a>(
        &mut self,
        arrivals: &Arrivals,
        until: Until,
        deadline: Option<Instant>,
        task: impl Fn(usize) -> Option<&'a TaskRef>,
    ) -> bool {
        if deadline.is_some() {
            // What runs here could take longer than the time that is left.
            return timer::block(arrivals, deadline);
        }
        let Some(slot) = context::slot() else {
            return timer::block(arrivals, None);
        };
        let queued = |index| task(index).filter(|task| task.is_queued());
        let Some(oldest) = self.oldest(&queued) else {
            return timer::block(arrivals, None);
        };
        if until == Until::All || worker::waits_any(slot.registry()) || !others_can_begin(oldest) {
            self.indices.start += 1;
            run_here(oldest);
            return true;
        }
        if timer::block(arrivals, now().checked_add(self.patience)) {
            self.patience = PATIENCE;
        } else if let Some(newest) = self.newest(&queued) {
            // Other threads take the oldest first.
            self.indices.end -= 1;
            self.patience = (self.patience / 2).max(LEAST_PATIENCE);
            run_here(newest);
        }
        true
    }

    /// The first one that has not begun.
    fn oldest<'a>(
        &mut self,
        queued: &impl Fn(usize) -> Option<&'a TaskRef>,
    ) -> Option<&'a TaskRef> {
        while !self.indices.is_empty() {
            if let Some(task) = queued(self.indices.start) {
                return Some(task);
            }
            self.indices.start += 1;
        }
        None
    }

    /// The last one that has not begun.
    fn newest<'a>(
        &mut self,
        queued: &impl Fn(usize) -> Option<&'a TaskRef>,
    ) -> Option<&'a TaskRef> {
        while !self.indices.is_empty() {
            if let Some(task) = queued(self.indices.end - 1) {
                return Some(task);
            }
            self.indices.end -= 1;
        }
        None
    }
}

/// Whether another thread than the current one is awake in the task's pool, or could be woken or started there.
fn others_can_begin(task: &TaskRef) -> bool {
    pool::with_pool(task.pool(), |registry| {
        registry.is_some_and(|registry| {
            let counts = registry.sleep.counts();
            let own = usize::from(worker::is_pool_thread(registry));
            counts.available > 0 || counts.workers > own
        })
    })
}
