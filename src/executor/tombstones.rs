//! *Tombstones*: blocks in a queue whose tasks have begun or ended elsewhere.
//!
//! A handle that runs or cancels its task cannot take the block out of the middle of a queue. So that a loop does not leave a block for each task, a queue is
//! swept when half of its blocks may be tombstones.

use super::task::{Header, TaskRef};
use super::{complete, entry, future_entry};
use crate::job::Task;
use crate::pool::{self, Member, Role, SWEEP_LEAST, context};

/// Returns whether the block is the cell of a task that has begun or ended. A future is dead only when it has ended, because the block of one that is polled elsewhere
/// serves as its entry when it is woken.
pub(super) fn is_dead(task: &Task) -> bool {
    let header = task.header().cast::<Header>();
    let is_closure = task.is_ended_by(complete::resolve);
    if !is_closure && !task.is_ended_by(complete::resolve_future) {
        return false;
    }
    // SAFETY: (1) these functions end cells only, so the block is one. (2) It is alive as long as `task`.
    let state = &unsafe { header.as_ref() }.state;
    if is_closure {
        !state.is_queued()
    } else {
        state.is_ending()
    }
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
    let is_tombstone =
        |task: &Task| is_dead(task) || entry::is_dead(task) || future_entry::is_dead(task);
    member.sweep(is_tombstone);
    // A future of a scope that was woken is in no deque.
    member
        .registry
        .add_scope_tombstones(SWEEP_LEAST as u64, is_tombstone);
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
