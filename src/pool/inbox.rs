//! The inbox of a worker: broadcast tasks that only this worker may run.

use crate::job::Task;
use crate::sleep::Parker;
use crate::sync::{Arc, AtomicBool, Mutex, Ordering, lock};
use std::collections::VecDeque;

/// Broadcast tasks for one worker.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Whether there is a task, which the owner reads without the lock. Written under the lock.
    full: AtomicBool,
    tasks: Mutex<VecDeque<Task>>,
    /// The parker at which the owner waits instead of its own: as a guest of another pool, or from a second ring.
    elsewhere: Mutex<Option<Arc<Parker>>>,
}

impl Inbox {
    pub(crate) fn post(&self, task: Task) {
        let mut tasks = lock(&self.tasks);
        tasks.push_back(task);
        // ORDERING: Release pairs with the Acquire in `is_empty`. The parker sees to it that the owner wakes up.
        self.full.store(true, Ordering::Release);
    }

    /// From now on the owner waits at `parker`, or at its own parker if this is `None`.
    pub(crate) fn forward(&self, parker: Option<Arc<Parker>>) {
        *lock(&self.elsewhere) = parker;
    }

    /// Wakes the owner if it waits elsewhere. Must be called after a post: an owner that forwards looks at its inbox afterwards.
    pub(crate) fn wake_elsewhere(&self) {
        // The lock is free before the owner wakes up, which takes it.
        let parker = lock(&self.elsewhere).clone();
        if let Some(parker) = parker {
            parker.unpark();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.full.load(Ordering::Acquire)
    }

    pub(crate) fn take(&self) -> Option<Task> {
        if self.is_empty() {
            return None;
        }
        let mut tasks = lock(&self.tasks);
        let task = tasks.pop_front();
        self.full.store(!tasks.is_empty(), Ordering::Release);
        task
    }
}
