//! Running tasks on their publishers where no thread can be started.

use super::member::as_guest;
use super::registry::Registry;
use super::slot::Slot;
use crate::sync::{Ordering, fence};

impl Registry {
    /// Runs detached tasks on the calling thread if the pool has no thread and can start none. The caller has fenced, after its push or after
    /// its failed start.
    pub(crate) fn run_stranded(&self) {
        while self.is_deserted() && (self.injector.len() > 0 || self.has_detached()) {
            // If the lock is taken, another thread, or this one further down its stack, runs what is queued now.
            let Ok(alone) = self.stranded.try_lock() else {
                return;
            };
            let in_deque = |slot: &Slot| slot.detached.steal().or_else(|| slot.ready.steal());
            let in_deques = || self.slots().find_map(in_deque);
            while self.is_deserted()
                && let Some(task) = self.injector.steal().or_else(in_deques)
            {
                as_guest(self, |guest| guest.run_task(task));
            }
            drop(alone);
            // Store-load pair: {lock; fence; injector} here, {injector; fence; lock} in a thread that found the lock taken.
            fence(Ordering::SeqCst);
        }
    }

    /// Runs what no other thread may run, on the last thread of the pool, which waits for nothing: also scope tasks, whose owners may be
    /// outside.
    pub(super) fn run_last(&self) {
        while self.is_deserted()
            && let Some(task) = self.scope_injector.steal()
        {
            as_guest(self, |guest| guest.run_task(task));
        }
        self.run_stranded();
    }
}
