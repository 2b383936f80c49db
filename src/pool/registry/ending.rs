//! Idleness, a change of size, the end.

use super::Registry;
use crate::pool::builder::{automatic_size, processors};
use crate::pool::slot::Slot;
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
        let over = loop {
            // An idle moment takes it off the list.
            self.add_idle_waiter(&parker);
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

    /// Whether nothing is queued or runs that is counted, and nothing is left that a deadline has deferred.
    pub(super) fn is_idle(&self) -> bool {
        // Ends before beginnings: then the sums are equal only if nothing was under way.
        let ended: u64 = self
            .counters()
            .map(|counters| counters.ended() + counters.deferred_done.get())
            .sum();
        let begun: u64 = self
            .counters()
            .map(|counters| counters.submitted.get() + counters.deferred.get())
            .sum();
        // An end is counted before the last step of its task.
        ended == begun && !self.slots().any(|slot| slot.running.is_some())
    }

    /// Waits until nothing is queued or runs. A moment in which that is so is enough, even if something else is submitted before the
    /// caller runs again.
    pub(crate) fn wait_idle(&self) {
        let parker = Arc::new(Parker::default());
        self.add_idle_waiter(&parker);
        loop {
            // Dekker: {awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
            fence(Ordering::SeqCst);
            if self.is_idle() || self.is_released(&parker) {
                break;
            }
            parker.park();
        }
        self.forget_idle_waiter(&parker);
    }

    /// Whether an idle moment has taken this waiter off the list.
    fn is_released(&self, parker: &Arc<Parker>) -> bool {
        let parkers = lock(&self.idle_parkers);
        !parkers.iter().any(|other| Arc::ptr_eq(other, parker))
    }

    fn add_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        if !parkers.iter().any(|other| Arc::ptr_eq(other, parker)) {
            parkers.push(Arc::clone(parker));
        }
        self.sleep.set_awaited(true);
    }

    fn forget_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        parkers.retain(|other| !Arc::ptr_eq(other, parker));
        self.awaited_by(&parkers);
    }

    /// After a change of the list, which is locked.
    fn awaited_by(&self, parkers: &[Arc<Parker>]) {
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
        let parkers = match self.released() {
            released if released.is_empty() => lock(&self.idle_parkers).clone(),
            released => released,
        };
        for parker in parkers {
            parker.unpark();
        }
    }

    /// Something is about to be submitted by the thread of this slot, or from outside. If the pool is idle, those who wait for that are released
    /// first: no worker may have noticed.
    #[inline]
    pub(crate) fn end_idle_moment(&self, slot: Option<&Slot>) {
        // In a task the pool is not idle. Asked first: the word is shared by all threads.
        let in_task = slot.is_some_and(|slot| slot.running.is_some());
        // ORDERING: Relaxed: who begins to wait after this look has missed nothing.
        if !in_task && self.sleep.is_awaited() {
            self.release_idle_waiters();
        }
    }

    #[cold]
    fn release_idle_waiters(&self) {
        for parker in self.released() {
            parker.unpark();
        }
    }

    /// Takes those who wait for an idle moment off the list if there is one now: they find themselves released when they run.
    fn released(&self) -> Vec<Arc<Parker>> {
        // Under the lock: who is on the list has submitted before it came, and that is counted.
        let mut parkers = lock(&self.idle_parkers);
        if parkers.is_empty() || !self.is_idle() {
            return Vec::new();
        }
        let released = std::mem::take(&mut *parkers);
        self.awaited_by(&released[..0]);
        released
    }
}
