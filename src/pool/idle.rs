//! Idleness: threads that wait until nothing is queued or running, and pools that close then.

use super::registry::Registry;
use super::slot::Slot;
use crate::sleep::Parker;
use crate::sync::{Arc, Ordering, fence, lock};

impl Registry {
    /// Whether no task is queued or running, and nothing is left that a deadline has deferred.
    pub(super) fn is_idle(&self) -> bool {
        // The ends are read before the beginnings, so that the sums are equal only if nothing was under way.
        let ended = self.total(|counters| counters.ended() + counters.deferred_done.get());
        let begun = self.total(|counters| counters.submitted.get() + counters.deferred.get());
        // The end of a task is counted before its last step.
        ended == begun && !self.all_slots().any(|slot| slot.running.is_some())
    }

    /// Waits until nothing is queued or running. One such moment is enough, even if something else is submitted before the caller runs
    /// again.
    pub(crate) fn wait_idle(&self) {
        let parker = Arc::new(Parker::default());
        self.add_idle_waiter(&parker);
        loop {
            // Store-load pair: {awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
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
        !is_listed(&lock(&self.idle_parkers), parker)
    }

    pub(super) fn add_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        if !is_listed(&parkers, parker) {
            parkers.push(Arc::clone(parker));
        }
        self.sleep.set_idle_awaited(true);
    }

    pub(super) fn forget_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        parkers.retain(|other| !Arc::ptr_eq(other, parker));
        self.awaited_by(&parkers);
    }

    /// Updates the sleep word after a change of the list, whose lock the caller holds.
    fn awaited_by(&self, parkers: &[Arc<Parker>]) {
        let leaving = self.leaving.load(Ordering::Relaxed);
        self.sleep.set_idle_awaited(leaving || !parkers.is_empty());
    }

    /// Lets the threads that wait for idleness look again, after a thread found nothing to do or a task has ended.
    pub(crate) fn look_idle(&self) {
        fence(Ordering::SeqCst);
        if self.sleep.is_idle_awaited() {
            self.tell_idle_waiters();
        }
    }

    #[cold]
    pub(crate) fn tell_idle_waiters(&self) {
        self.leave_if_idle();
        // The lock is free before the woken threads run, which take it.
        let parkers = match self.released() {
            released if released.is_empty() => lock(&self.idle_parkers).clone(),
            released => released,
        };
        for parker in parkers {
            parker.unpark();
        }
    }

    /// Releases the threads that wait for idleness if the pool is idle at this moment, even if no worker has noticed that. The thread of `slot`, or a
    /// thread from outside if that is `None`, calls this before it submits something, which ends the moment.
    #[inline]
    pub(crate) fn end_idle_moment(&self, slot: Option<&Slot>) {
        // The pool is not idle while a task runs. This is checked first, since all threads share the sleep word.
        let in_task = slot.is_some_and(|slot| slot.running.is_some());
        // ORDERING: Relaxed: a thread that begins to wait after this look has missed nothing.
        if !in_task && self.sleep.is_idle_awaited() {
            self.release_idle_waiters();
        }
    }

    #[cold]
    fn release_idle_waiters(&self) {
        for parker in self.released() {
            parker.unpark();
        }
    }

    /// Takes the waiting threads off the list if the pool is idle now. They find out when they run.
    fn released(&self) -> Vec<Arc<Parker>> {
        // Checked under the lock, through which each thread on the list has come: what the thread submitted before that is counted here.
        let mut parkers = lock(&self.idle_parkers);
        if parkers.is_empty() || !self.is_idle() {
            return Vec::new();
        }
        let released = std::mem::take(&mut *parkers);
        self.awaited_by(&released[..0]);
        released
    }

    /// Closes the pool and detaches its threads. The system would keep the stacks of threads that are never joined if the registry
    /// stays in memory, as it does for a current thread.
    pub(super) fn close_and_let_go(&self) {
        self.close();
        if !self.forked() {
            lock(&self.threads).handles.clear();
        }
    }

    pub(super) fn leave_if_idle(&self) {
        if self.leaving.load(Ordering::Relaxed) && self.is_idle() {
            self.leaving.store(false, Ordering::Relaxed);
            self.close_and_let_go();
        }
    }

    /// Lets the threads end when they find nothing more to do.
    pub(crate) fn close(&self) {
        self.wake_all(self.sleep.close());
    }
}

fn is_listed(parkers: &[Arc<Parker>], parker: &Arc<Parker>) -> bool {
    parkers.iter().any(|other| Arc::ptr_eq(other, parker))
}
