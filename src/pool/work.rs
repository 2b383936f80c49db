//! What a thread has taken from a queue, before it runs it.

use crate::job::{ForkHeader, Task};
use crate::lineage::{Origin, Place};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// Work that the thread has taken and must run.
///
/// It is a pair of words, which searches return in registers. An enum of the three kinds would travel through memory on its way to the worker's loop, where a
/// worker then spends about a third of a tiny task's time. Dropping it leaks what was taken: its owner passes it to `Member::run`.
#[must_use = "no other thread runs what this one has taken"]
pub(super) struct Work {
    header: NonNull<()>,
    /// The place of a fork as a word, or [`TASK`], or [`BROADCAST`].
    kind: u64,
}

const TASK: u64 = 0;
const BROADCAST: u64 = 1;

/// [`Work`] that is about to be run.
pub(super) enum Taken {
    /// A fork, and its place.
    Fork(NonNull<ForkHeader>, Place),
    Task(Task),
}

impl Work {
    #[inline]
    pub(super) fn fork(job: NonNull<ForkHeader>, place: Place) -> Self {
        debug_assert!(place.word() > BROADCAST);
        Work {
            header: job.cast(),
            kind: place.word(),
        }
    }

    #[inline]
    pub(super) fn task(task: Task) -> Self {
        Work {
            header: ManuallyDrop::new(task).header().cast(),
            kind: TASK,
        }
    }

    /// A broadcast task from the worker's inbox.
    #[inline]
    pub(super) fn broadcast(task: Task) -> Self {
        Work {
            kind: BROADCAST,
            ..Work::task(task)
        }
    }

    pub(super) fn is_broadcast(&self) -> bool {
        self.kind == BROADCAST
    }

    /// What a task descends from. `None` for a fork and a broadcast task.
    pub(super) fn task_origin(&self) -> Option<Origin> {
        // SAFETY: (1) the header is that of a `Task`, as the kind says, which `task` has given up. (2) The task made here is not resolved, because it is
        // not dropped, so that one task owns the block.
        let task = || ManuallyDrop::new(unsafe { Task::from_header(self.header.cast()) });
        (self.kind == TASK).then(|| task().origin())
    }

    #[inline]
    pub(super) fn take(self) -> Taken {
        match Place::from_word(self.kind) {
            Some(place) if self.kind > BROADCAST => Taken::Fork(self.header.cast(), place),
            // SAFETY: the header is that of a `Task`, as the kind says, which `task` has given up. `self` is consumed, so that one task owns the block.
            _ => Taken::Task(unsafe { Task::from_header(self.header.cast()) }),
        }
    }
}
