//! Queue entries for tasks that were submitted in a scope. The scope waits for the entry, which holds a reference to the task.

use super::complete::note_nothing_run;
use super::error::Cause;
use super::extra::Waiter;
use super::task::TaskRef;
use crate::blocks::{self, Blocks};
use crate::fork::ScopePtr;
use crate::job::{Fate, Group, Task, TaskHeader};
use crate::pool::context;
use std::alloc::Layout;
use std::ptr::NonNull;

#[repr(C)]
struct Entry {
    header: TaskHeader,
    task: TaskRef,
    scope: ScopePtr<'static>,
}

const LAYOUT: Layout = Layout::new::<Entry>();

/// Makes an entry for `task` in `group`, the group of the scope. The entry takes over the queue's reference to the task.
pub(super) fn make(
    group: *const Group,
    blocks: Option<&Blocks>,
    task: TaskRef,
    scope: ScopePtr<'static>,
) -> Task {
    let block = blocks::allocate(LAYOUT, blocks).cast::<Entry>();
    let entry = Entry {
        header: TaskHeader::new(resolve, group),
        task,
        scope,
    };
    // SAFETY: the block was allocated for this layout, and nobody else knows it.
    unsafe { block.write(entry) };
    // SAFETY: (1) the header is the entry's first field. (2) `resolve` ends an entry, on any thread.
    unsafe { Task::from_header(block.cast()) }
}

/// Ends an entry that comes out of a queue. Returns whether it ended the task.
///
/// # Safety
/// (1) `task` begins an entry. (2) It is resolved once.
unsafe fn resolve(task: NonNull<TaskHeader>, fate: Fate, blocks: Option<&Blocks>) -> bool {
    let block = task.cast::<Entry>();
    // SAFETY: as the caller asserts, (1) the block is an entry, and (2) nobody else moves its value out.
    let Entry { task, scope, .. } = unsafe { block.read() };
    // SAFETY: (1) `make` has allocated the block with this layout. (2) Its value was moved out.
    unsafe { blocks::release(block.cast(), LAYOUT, blocks) };
    let live = match (fate, context::member()) {
        (fate, Some(member)) if fate.runs() && task.claim_closure() => {
            task.run_claimed(member);
            true
        }
        _ if fate == Fate::Drop && task.cancel(Cause::ShutDown) => true,
        _ => {
            if fate.runs() {
                note_nothing_run();
            }
            // The handle has begun or cancelled the task, possibly further down on this stack. If the task has not finished, its end counts the
            // entry down, so that the scope waits for it.
            if task.at_end(|list| list.waiters.push(Waiter::Scope(scope.copy()))) {
                return false;
            }
            false
        }
    };
    // SAFETY: (1) the entry has not been counted down, so the scope still waits. (2) This is the only call for the entry: the scope was not left as a waiter.
    // (3) The current thread takes part in the pool or keeps it alive, as every caller of `resolve` does.
    unsafe { scope.end_one() };
    live
}

/// The task of a block that is an entry.
pub(super) fn task_of(entry: &Task) -> Option<&TaskRef> {
    if !entry.is_ended_by(resolve) {
        return None;
    }
    // SAFETY: (1) `resolve` ends entries only, so the block is one. (2) It is alive as long as `entry`, whose borrow the result has.
    Some(&unsafe { entry.header().cast::<Entry>().as_ref() }.task)
}
