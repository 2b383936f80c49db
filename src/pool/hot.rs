//! The hot task of a thread: the future that it has woken last, which it polls next.
//!
//! Two futures that wake each other thus stay on one thread, with what they share in its cache. Other threads leave the hot task alone at first, because its thread
//! most likely takes it very soon. A thread that has searched in vain for some time takes it, since then its owner is busy with something long.
//!
//! **Invariant.** If there is a hot task, its owner is awake: the owner takes it before it sleeps, or queues it where others find it. So no thread that goes to
//! sleep needs to look here.

use crate::job::{Task, TaskHeader};
use crate::sync::{AtomicPtr, Ordering};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// A place for one task.
#[derive(Debug)]
pub(crate) struct Hot(AtomicPtr<TaskHeader>);

impl Default for Hot {
    fn default() -> Self {
        Hot(AtomicPtr::new(ptr::null_mut()))
    }
}

impl Hot {
    /// Owner: puts a task there. Returns the one that was there.
    pub(super) fn replace(&self, task: Task) -> Option<Task> {
        let header = ManuallyDrop::new(task).header();
        self.swap(header.as_ptr())
    }

    /// Takes the task.
    pub(super) fn take(&self) -> Option<Task> {
        // Without a write to the line if there is nothing.
        if self.is_empty() {
            return None;
        }
        self.swap(ptr::null_mut())
    }

    pub(super) fn is_empty(&self) -> bool {
        // ORDERING: Relaxed: a hint for others than the owner, which has written the word itself or sees that a thief has.
        self.0.load(Ordering::Relaxed).is_null()
    }

    fn swap(&self, header: *mut TaskHeader) -> Option<Task> {
        // ORDERING: AcqRel: Release publishes the task, Acquire receives the one that was there.
        let before = NonNull::new(self.0.swap(header, Ordering::AcqRel))?;
        // SAFETY: the word held a task that was given away, and this thread alone has taken it out.
        Some(unsafe { Task::from_header(before) })
    }
}

impl Drop for Hot {
    fn drop(&mut self) {
        drop(self.take());
    }
}
