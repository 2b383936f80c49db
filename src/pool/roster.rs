//! The roster: the futures of a pool that have been suspended and have not ended.
//!
//! A suspended future is in no queue, and only its wakers refer to it. The roster keeps it alive, and a pool that drops what has not ended finds it here.
//!
//! A future enters the roster when it is suspended for the first time, and leaves it when it ends. So a future that is ready in its first poll never enters it, and
//! one that is suspended often enters it once.

use crate::job::Task;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, fence, lock};
use crossbeam_utils::CachePadded;

/// The number of parts, each with a lock of its own.
const PARTS: usize = 8;

/// The futures of one pool, without those of scopes, which end with their scopes. See the [module documentation](self).
#[derive(Default)]
pub(crate) struct Roster {
    parts: [CachePadded<Mutex<Part>>; PARTS],
    /// Whether the pool was ever given a future.
    is_used: AtomicBool,
    /// The number of futures that were dropped after a poll because the pool drops its futures.
    dropped: AtomicUsize,
    /// Whether a thread has fenced since `is_used` was set.
    is_announced: AtomicBool,
}

#[derive(Default)]
struct Part {
    tasks: Vec<Option<Task>>,
    free: Vec<u32>,
    /// The indices of the futures that end with the pool.
    daemons: Vec<u32>,
    ends_daemons: bool,
    is_closed: bool,
}

impl Roster {
    /// Records that the pool is about to be given a future. Called before the admission is asked.
    pub(crate) fn begin_use(&self) {
        // ORDERING: Acquire pairs with the Release store of the flag at the end: what the caller reads next, it reads after the fence of the thread that has stored the flag.
        if !self.is_announced.load(Ordering::Acquire) {
            self.is_used.store(true, Ordering::Relaxed);
            // Store-load pair: {used; fence; closed} here, {closed; fence (in `Admission::close`); used} in a thread that closes the pool.
            fence(Ordering::SeqCst);
            self.is_announced.store(true, Ordering::Release);
        }
    }

    /// Returns whether the pool was ever given a future.
    pub(crate) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Adds a future and returns its index. `hint` selects the part. A daemon is a future that ends with the pool. Returns the future if the pool drops its futures,
    /// or its daemons if it is one.
    pub(crate) fn insert(&self, hint: usize, task: Task, is_daemon: bool) -> Result<u32, Task> {
        let part = hint % PARTS;
        let mut locked = lock(&self.parts[part]);
        let ends = locked.is_closed || (locked.ends_daemons && is_daemon);
        if ends {
            return Err(task);
        }
        let index = match locked.free.pop() {
            Some(index) => {
                locked.tasks[index as usize] = Some(task);
                index
            }
            None => {
                locked.tasks.push(Some(task));
                u32::try_from(locked.tasks.len() - 1).expect("heist: too many futures")
            }
        };
        if is_daemon {
            locked.daemons.push(index);
        }
        Ok(index * PARTS as u32 + part as u32)
    }

    /// Removes the future at an index that `insert` has returned. Returns `None` if it was taken by [`close`](Self::close).
    pub(crate) fn remove(&self, index: u32) -> Option<Task> {
        let (part, index) = (index as usize % PARTS, index as usize / PARTS);
        let mut locked = lock(&self.parts[part]);
        locked.free.push(index as u32);
        locked.daemons.retain(|daemon| *daemon as usize != index);
        locked.tasks[index].take()
    }

    /// Calls `f` with each future.
    pub(crate) fn each(&self, mut f: impl FnMut(&Task)) {
        for part in &self.parts {
            lock(part).tasks.iter().flatten().for_each(&mut f);
        }
    }

    /// Holds the locks, for a test.
    #[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
    pub(super) fn hold(&self) -> Vec<impl Drop> {
        self.parts.iter().map(|part| lock(part)).collect()
    }

    /// Returns whether the pool drops its futures.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.parts[0]).is_closed
    }

    /// Refuses daemons from now on, and takes those that are there.
    pub(super) fn take_daemons(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for part in &self.parts {
            let locked = &mut *lock(part);
            locked.ends_daemons = true;
            let daemons = locked.daemons.drain(..);
            tasks.extend(daemons.filter_map(|index| locked.tasks[index as usize].take()));
        }
        tasks
    }

    /// Records that a future was dropped after a poll, because the pool drops its futures.
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many futures were dropped after a poll and were not returned before.
    pub(crate) fn take_dropped(&self) -> usize {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Refuses futures from now on, and takes those that are there.
    pub(super) fn close(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        for part in &self.parts {
            let mut locked = lock(part);
            locked.is_closed = true;
            tasks.extend(locked.tasks.iter_mut().filter_map(Option::take));
        }
        tasks
    }
}
