//! Queue entries for futures: the cell itself, or, for a future of a scope, a block that refers to it. The scope waits for the future, not for its entries, some of which
//! can be left in queues when the scope has ended.

use super::task::TaskRef;
use crate::blocks::{self, Blocks};
use crate::job::{Fate, Group, Task, TaskHeader};
use std::alloc::Layout;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// The entry of a future of a scope.
#[repr(C)]
struct ScopeEntry {
    header: TaskHeader,
    task: TaskRef,
}

const LAYOUT: Layout = Layout::new::<ScopeEntry>();

impl TaskRef {
    /// Whether the task is one of a scope.
    pub(super) fn is_scoped(&self) -> bool {
        self.extra().is_some_and(|extra| extra.group.is_some())
    }

    /// Converts a reference to a future into a queue entry. That of a future of a scope belongs to the scope's group.
    pub(super) fn into_entry(self) -> Task {
        let group = self.extra().and_then(|extra| extra.group.as_ref());
        match group.map(ptr::from_ref) {
            Some(group) => in_group(group, self),
            None => into_task(self),
        }
    }
}

/// Makes an entry in `group`, which lives as long as the future.
fn in_group(group: *const Group, task: TaskRef) -> Task {
    let block = blocks::allocate(LAYOUT, None).cast::<ScopeEntry>();
    let header = TaskHeader::new(resolve, group);
    // SAFETY: the block was allocated for this layout, and nobody else knows it.
    unsafe { block.write(ScopeEntry { header, task }) };
    // SAFETY: (1) the header is the entry's first field. (2) `resolve` ends an entry, on any thread.
    unsafe { Task::from_header(block.cast()) }
}

/// Resolves the future of an entry that comes out of a queue.
///
/// # Safety
/// (1) `task` begins a [`ScopeEntry`]. (2) It is resolved once.
unsafe fn resolve(task: NonNull<TaskHeader>, fate: Fate, blocks: Option<&Blocks>) -> bool {
    let block = task.cast::<ScopeEntry>();
    // SAFETY: as the caller asserts, (1) the block is an entry, and (2) nobody else moves its value out.
    let ScopeEntry { task, .. } = unsafe { block.read() };
    // SAFETY: (1) `in_group` has allocated the block with this layout. (2) Its value was moved out.
    unsafe { blocks::release(block.cast(), LAYOUT, None) };
    into_task(task).resolve(fate, blocks)
}

/// The future of a block that is an entry of a scope's future.
pub(super) fn task_of(entry: &Task) -> Option<&TaskRef> {
    if !entry.is_ended_by(resolve) {
        return None;
    }
    // SAFETY: (1) `resolve` ends entries only, so the block is one. (2) It is alive as long as `entry`, whose borrow the result has.
    Some(&unsafe { entry.header().cast::<ScopeEntry>().as_ref() }.task)
}

/// Converts a reference to a future into a task of the scheduler, whose block is the cell.
pub(super) fn into_task(task: TaskRef) -> Task {
    let task = ManuallyDrop::new(task);
    // SAFETY: (1) a header begins with a `TaskHeader`, whose function ends such cells. (2) The reference is given away, since it is not dropped.
    unsafe { Task::from_header(task.header().cast()) }
}

/// Converts a task whose block is the cell of a future into a reference.
pub(super) fn into_ref(entry: Task) -> TaskRef {
    let entry = ManuallyDrop::new(entry);
    // SAFETY: (1) the entry is that of a future, so its header begins a live cell. (2) It owns a reference, which is given away, since it is not dropped.
    unsafe { TaskRef::from_header(entry.header().cast()) }
}
