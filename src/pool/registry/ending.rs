//! Idleness, a change of size, the end.

use super::Registry;
use crate::counters::Counters;
use crate::pool::builder::{automatic_size, processors};
use crate::pool::{context, threads};
use crate::sleep::{MAX_THREADS, Parker};
use crate::sync::{Arc, Ordering, fence, lock, now};
use std::ptr;
use std::time::Instant;

impl Registry {
    /// Lets the threads run what is queued and end; waits for them unless the caller is one of them.
    pub(crate) fn shut_down(&self) {
        if self.forked() || self.is_here() {
            self.close_and_let_go();
        } else {
            self.close();
            self.join_threads();
        }
    }

    /// Threads end when they find nothing more to do, and nobody joins them: where the registry itself stays, for a current thread's sake,
    /// the system would keep their stacks.
    fn close_and_let_go(&self) {
        self.close();
        if !self.forked() {
            lock(&self.threads).handles.clear();
        }
    }

    /// No handle is left.
    pub(crate) fn last_handle_gone(&self) {
        if self.config.wait_on_drop {
            return self.shut_down();
        }
        {
            let _no_waiter_forgets = lock(&self.idle_parkers);
            self.leaving.store(true, Ordering::Relaxed);
            self.sleep.set_awaited(true);
        }
        // Dekker: {leaving, awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
        fence(Ordering::SeqCst);
        self.leave_if_idle();
    }

    pub(super) fn leave_if_idle(&self) {
        if self.leaving.load(Ordering::Relaxed) && self.is_idle() {
            self.leaving.store(false, Ordering::Relaxed);
            self.close_and_let_go();
        }
    }

    /// Whether the current thread is one of the pool's, or acts as a part of it at the moment.
    pub(crate) fn is_here(&self) -> bool {
        let here = context::slot().is_some_and(|slot| ptr::eq(slot.registry(), self));
        here || context::home_in(self).is_some() || context::left() == self.id
    }

    /// Threads end when they find nothing more to do.
    pub(crate) fn close(&self) {
        for slot in self.sleep.close() {
            self.wake(slot);
        }
    }

    /// After `close`: waits for the threads, and runs what none can be started for.
    pub(crate) fn join_threads(&self) {
        // What runs here on the way may start another thread.
        loop {
            let handle = lock(&self.threads).handles.pop();
            match handle {
                Some(handle) => threads::join(handle),
                // Somebody else joins them, who shuts down too.
                None if self.alive() > 0 => drop(self.wait_threads(None)),
                None if !self.has_detached() => break,
                // What nobody takes is worker 0's, when it next waits or yields.
                None if self.config.current_thread && !self.gate.is_closed() => break,
                None => {
                    fence(Ordering::SeqCst);
                    self.run_stranded();
                    crate::sync::yield_thread();
                }
            }
        }
    }

    /// After `close`: waits until the threads have ended, at most until `deadline`. Returns whether they have.
    pub(crate) fn wait_threads(&self, deadline: Option<Instant>) -> bool {
        let parker = Arc::new(Parker::default());
        self.add_idle_waiter(&parker);
        let over = loop {
            // Dekker: {awaited; fence; alive} here, {alive; fence; awaited} in `look_idle`.
            fence(Ordering::SeqCst);
            if self.alive() == 0 {
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

    /// Changes the number of workers; 0: the automatic one. Returns how many there were.
    pub(crate) fn set_num_threads(&self, count: usize) -> usize {
        let most = MAX_THREADS - self.config.spare_threads;
        let count = match count {
            // The pool exists: an invalid variable is no reason to fail now.
            0 => automatic_size().unwrap_or_else(|_| processors()),
            count => count,
        };
        let (before, woken) = self.sleep.set_target(count.clamp(1, most));
        for slot in woken {
            self.wake(slot);
        }
        // Where there is more room than before, whoever published has not asked for it.
        self.fill_vacancy();
        before
    }

    /// After `join_threads`: no thread starts any more.
    pub(crate) fn retire(&self) {
        self.sleep.retire();
        self.retired.store(true, Ordering::Relaxed);
        // Dekker: {retired; fence; lanes} here, {lanes; fence (in `published`); retired} in `inject`.
        fence(Ordering::SeqCst);
        self.cancel_queued();
        // One that was being started when it was too late for that.
        self.join_threads();
    }

    /// Whether nothing is queued or runs that is counted.
    pub(super) fn is_idle(&self) -> bool {
        // Ends before beginnings: then the sums are equal only if nothing was under way.
        let ended: u64 = self.counters().map(Counters::ended).sum();
        let begun: u64 = self
            .counters()
            .map(|counters| counters.submitted.get())
            .sum();
        // An end is counted before the last step of its task.
        ended == begun && !self.slots().any(|slot| slot.running.is_some())
    }

    /// Waits until nothing is queued or runs.
    pub(crate) fn wait_idle(&self) {
        let parker = Arc::new(Parker::default());
        self.add_idle_waiter(&parker);
        loop {
            // Dekker: {awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
            fence(Ordering::SeqCst);
            if self.is_idle() {
                break;
            }
            parker.park();
        }
        self.forget_idle_waiter(&parker);
    }

    pub(super) fn add_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        parkers.push(Arc::clone(parker));
        self.sleep.set_awaited(true);
    }

    pub(super) fn forget_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        parkers.retain(|other| !Arc::ptr_eq(other, parker));
        let leaving = self.leaving.load(Ordering::Relaxed);
        self.sleep.set_awaited(leaving || !parkers.is_empty());
    }

    /// A thread found nothing to do, or a task was ended by somebody else: those who wait for that look again.
    pub(crate) fn look_idle(&self) {
        fence(Ordering::SeqCst);
        if self.sleep.is_awaited() {
            self.tell_idle_waiters();
        }
    }

    #[cold]
    pub(crate) fn tell_idle_waiters(&self) {
        self.leave_if_idle();
        // The lock is free again before they run, who take it.
        let parkers = lock(&self.idle_parkers).clone();
        for parker in parkers {
            parker.unpark();
        }
    }
}
