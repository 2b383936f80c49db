//! How a scope counts its tasks, and how its owner waits for them.

use super::{ONE, PARKED, Scope};
use crate::job::Task;
use crate::lineage::Origin;
use crate::pool::worker::{self, Awaited, Look};
use crate::pool::{Member, Slot};
use crate::sleep::Waited;
use crate::sync::Ordering;
use std::ptr;

impl Scope<'_> {
    /// Runs the queued tasks of a scope from outside.
    #[cold]
    pub(super) fn run_all(&self, member: Member<'_>) {
        let base = member.position();
        loop {
            let own = (member.position() > base)
                .then(|| member.pop_task())
                .flatten();
            let wanted = |task: &Task| task.is_of(&self.group);
            match own.or_else(|| worker::find_task(member, wanted, |_| true, usize::MAX)) {
                Some(task) if wanted(&task) => member.run_task(task),
                Some(task) => self.registry().inject_scope_task(task),
                None => return,
            }
        }
    }

    /// Returns whether the task belongs to this scope or descends from one that does.
    fn is_ours(&self, task: &Task) -> bool {
        self.registry().descends(task.origin(), self.group.origin())
    }

    /// Adds `tasks`, which is negative for ends, to the count of the current thread: to `own` on the owner's thread, to the word on other threads. Returns the
    /// new word if that has changed.
    #[inline]
    pub(super) fn count(&self, member: Option<Member<'_>>, tasks: i64) -> Option<i64> {
        if member.is_some_and(|member| ptr::eq(member.slot, self.owner)) {
            self.own.set(self.own.get() + tasks);
            return None;
        }
        // A task counts what it spawns before it counts its own end, so the sum does not reach zero while a task is left. ORDERING: AcqRel: Release
        // publishes a task's effects to the Acquire in `is_done`.
        Some(self.word.fetch_add(tasks * ONE, Ordering::AcqRel) + tasks * ONE)
    }

    /// Counts the end of a task. This is the task's last access to the scope.
    #[inline]
    pub(super) fn count_down(&self, member: Option<Member<'_>>) {
        if let Some(latch) = self.outside.clone() {
            if self.count(member, -1) == Some(0) {
                latch.count_down();
            }
            return;
        }
        let (registry, owner) = (self.registry, self.owner);
        if self.count(member, -1) == Some(PARKED) {
            // SAFETY: the scope may be gone, but registry and slot are not: this thread takes part in the pool or keeps it alive.
            let (registry, owner) = (unsafe { &*registry }, unsafe { &*owner });
            registry.wake(owner.id);
        }
    }
}

impl Awaited for Scope<'_> {
    fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `count`.
        self.own.get() * ONE + (self.word.load(Ordering::Acquire) & !PARKED) == 0
    }

    fn below(&self) -> Option<Origin> {
        Some(self.group.origin())
    }

    fn waited(&self) -> Waited {
        self.group.origin().waited()
    }

    fn left(&self) -> u64 {
        let word = self.word.load(Ordering::Relaxed) & !PARKED;
        u64::try_from(self.own.get() + word / ONE).unwrap_or(0)
    }

    fn must_find_tasks(&self) -> bool {
        true
    }

    /// Runs tasks that this thread has spawned itself.
    fn help(&self, member: Member<'_>, _: Look) -> bool {
        let any = worker::waits_any(self.registry());
        let mut helped = false;
        while member.position() > self.base && (any || member.inbox.is_empty()) {
            if any && self.is_done() {
                break;
            }
            let Some(task) = member.pop_task() else { break };
            if task.is_of(&self.group) {
                member.run_in_place(task);
            } else if self.is_ours(&task) {
                member.run_task(task);
            } else if any {
                member.run_unrelated_task(task);
            } else {
                // This thread has spawned the task, but the task does not descend from the scope.
                self.registry().inject_scope_task(task);
                continue;
            }
            helped = true;
        }
        helped || self.is_done()
    }

    /// Always looks, because all other threads can be blocked on a lock that this one holds.
    fn find_task(&self, member: Member<'_>, _: Look) -> Option<Task> {
        worker::find_task(member, |task| self.is_ours(task), |_| true, usize::MAX)
    }

    fn announce(&self, slot: &Slot) -> bool {
        let own = self.own.replace(0) * ONE;
        slot.set_awaits_tasks(true);
        // ORDERING: AcqRel: a later count reads the bit.
        if self.word.fetch_add(own + PARKED, Ordering::AcqRel) + own == 0 {
            self.withdraw(slot);
            return false;
        }
        true
    }

    fn withdraw(&self, slot: &Slot) {
        self.word.fetch_and(!PARKED, Ordering::AcqRel);
        slot.set_awaits_tasks(false);
    }
}
