//! *Tombstones*: blocks in a queue whose tasks have begun or ended elsewhere.
//!
//! A handle that runs or cancels its task cannot take the block out of the middle of a queue. So that a loop does not leave a block for each task, a queue is
//! swept when half of its blocks may be tombstones.

use super::task::TaskRef;
use super::{complete, entry, future_entry};
use crate::job::Task;
use crate::pool::{self, Member, Role, SWEEP_LEAST, context};
use std::mem::ManuallyDrop;

/// Returns whether the block is the entry of a task that has begun or ended. A future is dead only when it has ended, because the entry of one that is polled elsewhere
/// serves again when it is woken, and that of one that is [left](super::state) ends it.
pub(super) fn is_dead(entry: &Task) -> bool {
    let is_dead = |task: &TaskRef| match task.state.is_future() {
        true => task.state.is_finished(),
        false => !task.state.is_queued(),
    };
    with_task(entry, is_dead).unwrap_or(false)
}

/// Calls `f` with the submitted task for which the entry stands, if it stands for one.
pub(super) fn with_task<R>(entry: &Task, f: impl FnOnce(&TaskRef) -> R) -> Option<R> {
    if entry.is_ended_by(complete::resolve) || entry.is_ended_by(complete::resolve_future) {
        // SAFETY: (1) these functions end cells only, so the block is one. (2) It is alive as long as `entry`. (3) The reference is not given away, since it is not
        // dropped.
        let task = ManuallyDrop::new(unsafe { TaskRef::from_header(entry.header().cast()) });
        return Some(f(&task));
    }
    entry::task_of(entry)
        .or_else(|| future_entry::task_of(entry))
        .map(f)
}

/// Records that this member of the task's pool has queued a task with a deadline. The deadline can end it in the member's deque, where only the owner sweeps.
#[cold]
pub(super) fn note_deadline(member: Member<'_>) {
    if member.role() != Role::Guest && member.add_tombstone() {
        sweep(member);
    }
}

#[cold]
fn sweep(member: Member<'_>) {
    member.sweep(is_dead);
    // A future of a scope that was woken is in no deque.
    member
        .registry
        .add_scope_tombstones(SWEEP_LEAST as u64, is_dead);
    if member.role() == Role::Guest {
        // A guest's deques hold only tasks of its scopes, so its submitted tasks are in the injector.
        member.registry.add_tombstones(SWEEP_LEAST as u64, is_dead);
    }
}

impl TaskRef {
    /// Counts and records that the task was ended while a queue holds its block.
    pub(super) fn leave_tombstone(&self) {
        self.count_tombstone(|counters| &counters.tombstones);
        match context::member().filter(|member| member.registry.id == self.pool()) {
            Some(member) => self.leave_tombstone_at(member),
            // A task of a scope is not in the injector.
            None if !self.state.is_gated() => {}
            None => {
                pool::with_pool(self.pool(), |registry| registry.add_tombstones(1, is_dead));
            }
        }
    }

    /// Records a tombstone that is counted already, for this member of the task's pool. It is in the injector or in the member's deques, which are swept if it is
    /// time.
    #[inline]
    pub(super) fn leave_tombstone_at(&self, member: Member<'_>) {
        if self.state.is_in_injector() && member.role() != Role::Guest {
            member.registry.add_tombstones(1, is_dead);
        } else if member.add_tombstone() {
            sweep(member);
        }
    }
}
