//! The submitted task that runs on a slot, and those in the middle of which it runs.

use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, hint, lock, try_lock};

/// The submitted task that runs on a slot, for reports on what a shutdown waits for.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// The number of the task, or 0 if none runs.
    id: AtomicU64,
    name: Mutex<TaskName>,
    /// Whether there is a name, which the owner reads without the lock.
    named: AtomicBool,
    /// The numbers of the tasks in the middle of which it runs, the outermost first, as far as there is room. From std in models too: they are only
    /// reported.
    outer: [hint::AtomicU64; OUTER],
    /// The number of these tasks.
    depth: hint::AtomicUsize,
}

/// The most tasks that a thread is known to be in the middle of.
const OUTER: usize = 32;

type TaskName = Option<std::sync::Arc<str>>;

impl Running {
    /// Owner: begins a task, which [`Running::back`] ends. Returns the number of the task in the middle of which it runs, or 0.
    #[inline]
    pub(crate) fn begin(&self, id: u64) -> u64 {
        // ORDERING: Relaxed: the number is only reported.
        let outer = self.id.load(Ordering::Relaxed);
        if outer != 0 {
            self.nest(outer);
        }
        self.id.store(id, Ordering::Relaxed);
        outer
    }

    /// Owner: returns to the task with this number, or to none.
    #[inline]
    pub(crate) fn back(&self, outer: u64) {
        // ORDERING: Release pairs with the Acquire in `is_some`: a thread that finds no running task sees what the task has done.
        self.id.store(outer, Ordering::Release);
        if outer != 0 {
            let depth = self.depth.load(Ordering::Relaxed);
            self.depth.store(depth - 1, Ordering::Relaxed);
        }
    }

    fn nest(&self, outer: u64) {
        let depth = self.depth.load(Ordering::Relaxed);
        if let Some(place) = self.outer.get(depth) {
            place.store(outer, Ordering::Relaxed);
        }
        self.depth.store(depth + 1, Ordering::Relaxed);
    }

    /// The number of the running task, or 0.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    /// The numbers of the tasks in the middle of which it runs.
    pub(crate) fn outer(&self) -> Vec<u64> {
        let depth = self.depth.load(Ordering::Relaxed).min(OUTER);
        let outer = self.outer[..depth].iter();
        outer.map(|id| id.load(Ordering::Relaxed)).collect()
    }

    /// Holds the lock, for a test.
    #[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
    pub(super) fn hold(&self) -> impl Drop {
        lock(&self.name)
    }

    /// The name of the running task, if nobody holds its lock.
    pub(crate) fn try_name(&self) -> TaskName {
        try_lock(&self.name)?.clone()
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
