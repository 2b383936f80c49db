//! The submitted task that runs on a slot.

use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, lock};

/// The submitted task that runs on a slot, for reports on what a shutdown waits for.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// The number of the task, or 0 if none runs.
    id: AtomicU64,
    name: Mutex<TaskName>,
    /// Whether there is a name, which the owner reads without the lock.
    named: AtomicBool,
}

type TaskName = Option<std::sync::Arc<str>>;

impl Running {
    /// Owner: begins a task, which [`Running::back`] ends. Returns the number of the task in the middle of which it runs, or 0.
    #[inline]
    pub(crate) fn begin(&self, id: u64) -> u64 {
        // ORDERING: Relaxed: the number is only reported.
        let outer = self.id.load(Ordering::Relaxed);
        self.id.store(id, Ordering::Relaxed);
        outer
    }

    /// Owner: returns to the task with this number, or to none.
    #[inline]
    pub(crate) fn back(&self, outer: u64) {
        // ORDERING: Release pairs with the Acquire in `is_some`: a thread that finds no running task sees what the task has done.
        self.id.store(outer, Ordering::Release);
    }

    /// Whether a task runs.
    pub(crate) fn is_some(&self) -> bool {
        self.id.load(Ordering::Acquire) != 0
    }

    /// Owner: whether the running task, or one further down the stack, has a name.
    pub(crate) fn is_named(&self) -> bool {
        self.named.load(Ordering::Relaxed)
    }

    /// Owner: names the running task. Returns the previous name.
    pub(crate) fn set_name(&self, name: TaskName) -> TaskName {
        self.named.store(name.is_some(), Ordering::Relaxed);
        std::mem::replace(&mut *lock(&self.name), name)
    }

    /// The number and name of the running task.
    pub(crate) fn get(&self) -> Option<(u64, TaskName)> {
        let id = self.id.load(Ordering::Relaxed);
        (id != 0).then(|| (id, lock(&self.name).clone()))
    }
}
