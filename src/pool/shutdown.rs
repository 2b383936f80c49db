//! Shutting a pool down, and changing its size.

use super::config::{automatic_size, processors};
use super::context;
use super::registry::Registry;
use crate::job::Fate;
use crate::sleep::{MAX_THREADS, Parker};
use crate::sync::{Arc, Ordering, fence, lock, now};
use std::time::Instant;

impl Registry {
    /// Lets the threads run what is queued and end. Waits for them unless the caller is one of them.
    pub(crate) fn shut_down(&self) {
        if self.forked() || (self.is_here() && !self.roster.is_used()) {
            self.close_and_let_go();
        } else if self.is_here() {
            self.leave();
        } else {
            self.wait_futures(None);
            self.close();
            self.join_threads();
            self.wait_late(None);
        }
    }

    /// Lets the threads end, as soon as no future is left that has not ended.
    pub(crate) fn close_in_time(&self) {
        if self.roster.is_used() {
            self.leave();
        } else {
            self.close();
        }
    }

    /// Waits until the pool is idle if it was ever given a future, at most until `deadline`. A suspended future needs a thread when it is woken, so the threads must
    /// not end before. Returns whether the pool is idle.
    pub(crate) fn wait_futures(&self, deadline: Option<Instant>) -> bool {
        self.end_daemons();
        !self.roster.is_used() || self.wait_until(|| self.is_idle(), deadline)
    }

    /// Closes the pool after its last handle was dropped.
    pub(crate) fn last_handle_gone(&self) {
        if self.config.leave_on_drop {
            self.leave();
        } else {
            self.shut_down();
        }
    }

    /// Ends the futures that would never end by themselves.
    fn end_daemons(&self) {
        if self.roster.is_used() {
            for task in self.roster.take_daemons() {
                task.resolve(Fate::Evict, None);
            }
        }
    }

    /// Closes the pool as soon as nothing is queued, suspended or running.
    fn leave(&self) {
        self.end_daemons();
        {
            // The lock keeps a waiter that leaves the list from clearing the bit.
            let _parkers = lock(&self.idle_parkers);
            self.leaving.store(true, Ordering::Relaxed);
            self.sleep.set_idle_awaited(true);
        }
        // Store-load pair: {leaving, awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
        fence(Ordering::SeqCst);
        self.leave_if_idle();
    }

    /// Whether the current thread is one of the pool's, or takes part in it at the moment.
    pub(crate) fn is_here(&self) -> bool {
        let here = context::member_of(self).is_some();
        here || context::home_in(self).is_some() || context::left() == self.id
    }

    /// Waits for the threads of a closed pool, and runs the tasks for which no thread can be started.
    pub(crate) fn join_threads(&self) {
        // Repeated, because what runs here can start another thread.
        loop {
            let handle = lock(&self.threads).handles.pop();
            match handle {
                // The result says nothing: a pool thread catches the panics of user code.
                Some(handle) => drop(handle.join()),
                // Another thread that shuts the pool down joins them.
                None if self.alive() > 0 => drop(self.wait_threads(None)),
                None if !self.has_detached() => break,
                // Worker 0 runs what is left when it next waits or yields.
                None if self.config.current_thread && !self.admission.is_closed() => break,
                None => {
                    fence(Ordering::SeqCst);
                    self.run_stranded();
                    crate::sync::yield_thread();
                }
            }
        }
    }

    /// Waits until the threads of a closed pool have ended, at most until `deadline`. Returns whether they have.
    pub(crate) fn wait_threads(&self, deadline: Option<Instant>) -> bool {
        self.wait_until(|| self.alive() == 0, deadline)
    }

    /// Counts the closure of a late task, which a thread outside the pool drops before it calls [`end_late`](Self::end_late).
    pub(crate) fn begin_late(&self) {
        // ORDERING: Relaxed: the task's own word orders its end with a shutdown.
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    /// Declares that the closure of a late task has been dropped.
    pub(crate) fn end_late(&self) {
        // ORDERING: Release pairs with the Acquire in `wait_late`: what the destructor did is visible after the wait.
        self.late.fetch_sub(1, Ordering::Release);
        self.look_idle();
    }

    /// Waits until the closures of late tasks have been dropped, at most until `deadline`. Returns whether they have.
    pub(crate) fn wait_late(&self, deadline: Option<Instant>) -> bool {
        // ORDERING: Acquire pairs with the Release in `end_late`.
        let is_over = || self.late.load(Ordering::Acquire) == 0;
        is_over() || self.wait_until(is_over, deadline)
    }

    /// Waits until `is_over`, at most until `deadline`. A thread that makes it so calls `look_idle` afterwards. Returns whether it is so.
    fn wait_until(&self, is_over: impl Fn() -> bool, deadline: Option<Instant>) -> bool {
        let parker = Arc::new(Parker::default());
        let over = loop {
            // In each round, because an idle moment takes the parker off the list.
            self.add_idle_waiter(&parker);
            // Store-load pair: {awaited; fence; what `is_over` reads} here, {that; fence; awaited} in `look_idle`.
            fence(Ordering::SeqCst);
            if is_over() {
                break true;
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                break false;
            }
            parker.park_until(deadline);
        };
        self.forget_idle_waiter(&parker);
        over
    }

    /// Changes the number of workers, to the automatic number if `count` is 0. Returns the previous number.
    pub(crate) fn set_num_threads(&self, count: usize) -> usize {
        let most = MAX_THREADS - self.config.spares();
        let count = match count {
            // An invalid variable does not matter: the pool exists already.
            0 => automatic_size().unwrap_or_else(|_| processors()),
            count => count,
        };
        let (before, woken) = self.sleep.set_target(count.clamp(1, most));
        self.wake_all(woken);
        // Publishers have not asked for the room that a larger pool has.
        self.wake_for_capacity();
        before
    }

    /// Makes sure that no thread starts any more. Called after [`join_threads`](Self::join_threads).
    pub(crate) fn retire(&self) {
        self.sleep.retire();
        self.retired.store(true, Ordering::Relaxed);
        // Store-load pair: {retired; fence; injector} here, {injector; fence (in `published`); retired} in `injected`.
        fence(Ordering::SeqCst);
        self.cancel_queued();
        // The start of a thread may have been under way when the pool retired.
        self.join_threads();
    }
}
