//! What the thread of a slot does, for those who look from outside: for a [dump](crate::ThreadPool::dump), and for the watch over stalls.
//!
//! Written when a thread parks and when it ends to, never by a fork or by a task that runs. A reader sees words of different moments.

use crate::clock;
use crate::sleep::Waited;
// From std in models too: what is only reported orders nothing.
use crate::sync::hint::AtomicU64;
use crate::sync::{MODEL, Ordering};
use crate::sys::{self, PerProcess};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// What the parked thread waits for, or 0 while it is not parked.
    waited: AtomicU64,
    /// When it began to wait, in nanoseconds of the [`clock`].
    since_ns: AtomicU64,
    /// The system's number of the thread that uses the slot, if it is one of the pool's or is parked.
    thread: AtomicU64,
    /// How many tasks of a scope are left.
    left: AtomicU64,
    /// The number of things that had run on the slot when the thread last began to be busy.
    busy_runs: AtomicU64,
    /// The number of the task for which it last waited, and the number of things that had run on the slot then. Read by the owner only.
    last: AtomicU64,
    last_runs: AtomicU64,
}

/// What a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `None` while the thread is not parked.
    pub(crate) waited: Option<Waited>,
    /// When the wait began, in nanoseconds of the [`clock`].
    pub(crate) since_ns: u64,
    /// The system's number of the thread. 0 if it is not known.
    pub(crate) thread: u64,
    /// How many tasks are left if it waits for a scope.
    pub(crate) left: u64,
    /// The number of things that had run on the slot when the thread last began to be busy.
    pub(crate) busy_runs: u64,
}

impl Activity {
    /// Owner: names the thread.
    pub(super) fn begin_thread(&self) {
        if !MODEL {
            self.thread.store(sys::thread::own_id(), Ordering::Relaxed);
        }
    }

    /// The current thread leaves the slot, which another one may own already.
    pub(super) fn end_thread(&self) {
        if !MODEL {
            let (own, order) = (sys::thread::own_id(), Ordering::Relaxed);
            let _ = self.thread.compare_exchange(own, 0, order, order);
        }
    }

    /// Owner: begins to be busy, after `runs` things have run on the slot.
    pub(super) fn begin_busy(&self, runs: u64) {
        self.busy_runs.store(runs, Ordering::Relaxed);
    }

    /// Owner: shows what it waits for until the guard is dropped. A guest names its thread.
    ///
    /// `runs` is the number of things that have run on the slot. A wait for a task is one wait if it goes on after a pause in which nothing ran.
    pub(super) fn show(&self, waited: Waited, left: u64, runs: u64, is_guest: bool) -> Shown<'_> {
        if MODEL {
            return Shown(None);
        }
        let before = self.see();
        let task = waited.as_task().unwrap_or(0);
        let goes_on = task != 0
            && self.last.load(Ordering::Relaxed) == task
            && self.last_runs.load(Ordering::Relaxed) == runs;
        if !goes_on {
            self.since_ns.store(clock::now_ns(), Ordering::Relaxed);
            self.last.store(task, Ordering::Relaxed);
            self.last_runs.store(runs, Ordering::Relaxed);
        }
        self.left.store(left, Ordering::Relaxed);
        if is_guest {
            self.begin_thread();
        }
        // ORDERING: Release pairs with the Acquire in `see`: the time is that of this wait, or of a later one.
        self.waited.store(waited.word(), Ordering::Release);
        Shown(Some((self, before)))
    }

    pub(crate) fn see(&self) -> Seen {
        let waited = Waited::from_word(self.waited.load(Ordering::Acquire));
        Seen {
            waited,
            since_ns: self.since_ns.load(Ordering::Relaxed),
            thread: self.thread.load(Ordering::Relaxed),
            left: self.left.load(Ordering::Relaxed),
            busy_runs: self.busy_runs.load(Ordering::Relaxed),
        }
    }
}

/// A wait that is shown, and what was shown before.
pub(super) struct Shown<'a>(Option<(&'a Activity, Seen)>);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some((activity, before)) = self.0 {
            activity.thread.store(before.thread, Ordering::Relaxed);
            let outer = before.waited.map_or(0, Waited::word);
            if outer != 0 {
                activity.since_ns.store(before.since_ns, Ordering::Relaxed);
            }
            activity.waited.store(outer, Ordering::Release);
        }
    }
}

/// The threads that take part in no pool and wait for a task, as far as there is room. A forked child begins with none.
static OUTSIDE: PerProcess<Table> = PerProcess::new();

struct Table([Outside; 64]);

impl Default for Table {
    fn default() -> Self {
        Table(std::array::from_fn(|_| Outside::default()))
    }
}

/// A thread that takes part in no pool, or nothing.
#[derive(Debug, Default)]
struct Outside {
    /// The system's number of the thread. 0 if the entry is free.
    thread: AtomicU64,
    /// The number of the task, or 0 while the entry is not complete.
    task: AtomicU64,
    since_ns: AtomicU64,
}

/// What a thread that takes part in no pool waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) thread: u64,
    pub(crate) task: u64,
    pub(crate) since_ns: u64,
}

/// How many entries a thread tries.
const TRIES: usize = 8;

/// Shows what the current thread, which takes part in no pool, waits for until the guard is dropped: a task, if there is room.
pub(super) fn show_outside(waited: Waited) -> Option<impl Drop> {
    let task = waited.as_task().filter(|_| !MODEL)?;
    let (thread, entries) = (sys::thread::own_id(), &OUTSIDE.get().0);
    let order = Ordering::Relaxed;
    let place = (0..TRIES).find_map(|n| {
        let entry = &entries[(thread as usize + n) % entries.len()];
        let claimed = entry.thread.compare_exchange(0, thread, order, order);
        claimed.ok().map(|_| entry)
    })?;
    place.since_ns.store(clock::now_ns(), order);
    // ORDERING: Release pairs with the Acquire in `outside`: thread and time are those of this wait, or of a later one.
    place.task.store(task, Ordering::Release);
    Some(ShownOutside(place))
}

struct ShownOutside(&'static Outside);

impl Drop for ShownOutside {
    fn drop(&mut self) {
        self.0.task.store(0, Ordering::Relaxed);
        self.0.thread.store(0, Ordering::Release);
    }
}

/// The threads that take part in no pool and wait for a task.
pub(crate) fn outside() -> Vec<Waiter> {
    let waiter = |entry: &Outside| {
        let task = entry.task.load(Ordering::Acquire);
        (task != 0).then(|| Waiter {
            thread: entry.thread.load(Ordering::Relaxed),
            task,
            since_ns: entry.since_ns.load(Ordering::Relaxed),
        })
    };
    OUTSIDE.get().0.iter().filter_map(waiter).collect()
}
