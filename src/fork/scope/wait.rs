//! How a scope counts its tasks, and how its owner waits for them.

use super::{ONE, PARKED, Scope};
use crate::job::Task;
use crate::lineage::Origin;
use crate::pool::worker::{self, Awaited, Look};
use crate::pool::{Member, Slot};
use crate::record::Wait;
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
            let wanted = |task: &Task| task.is_of(self.group());
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

    /// Counts a task that the current thread spawns. Returns whether the thread is the owner.
    #[inline]
    pub(super) fn count_up(&self, member: Option<Member<'_>>) -> bool {
        match member {
            Some(member) if ptr::eq(member.slot, self.owner) => {
                self.own.set(self.own.get() + 1);
                return true;
            }
            Some(member) if member.credits().are_of(self.group()) => {
                if !member.credits().spend() {
                    self.add(member.credits().grant());
                }
            }
            _ => {
                self.add(1);
            }
        }
        false
    }

    /// Counts the end of a task. This is the task's last access to the scope.
    #[inline]
    pub(super) fn count_down(&self, member: Option<Member<'_>>) {
        match member {
            Some(member) if ptr::eq(member.slot, self.owner) => {
                self.own.set(self.own.get() - 1);
            }
            Some(member) if member.credits().are_of(self.group()) => member.credits().earn(),
            _ => self.subtract(1),
        }
    }

    /// Adds `tasks`, which is negative for ends, to the word. Returns the new word.
    #[inline]
    fn add(&self, tasks: i64) -> i64 {
        // A task counts what it spawns before it counts its own end, so the sum does not reach zero while a task is left. ORDERING: AcqRel: Release
        // publishes a task's effects to the Acquire in `is_done`.
        self.word.fetch_add(tasks * ONE, Ordering::AcqRel) + tasks * ONE
    }

    /// Subtracts `tasks` from the word, and wakes the thread that waits if none is left. This is the last access to the scope.
    #[inline]
    pub(super) fn subtract(&self, tasks: i64) {
        if let Some(latch) = self.outside.clone() {
            if self.add(-tasks) == 0 {
                latch.count_down();
            }
            return;
        }
        let (registry, owner) = (self.registry, self.owner);
        if self.add(-tasks) == PARKED {
            // SAFETY: the scope may be gone, but registry and slot are not: this thread takes part in the pool or keeps it alive.
            let (registry, owner) = (unsafe { &*registry }, unsafe { &*owner });
            registry.wake(owner.id);
        }
    }
}

impl Awaited for Scope<'_> {
    fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `add`.
        self.own.get() * ONE + (self.word.load(Ordering::Acquire) & !PARKED) == 0
    }

    fn kind(&self) -> (Wait, u64) {
        (Wait::Scope, 0)
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
            if task.is_of(self.group()) {
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
