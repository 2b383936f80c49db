//! Counted cache lines: in a build with `heist_lines` each access says on which line it is, and by whom. See `tests/shuttle/lines.rs`.
//!
//! A model of coherence keeps, for each line, which threads have a copy. A read by a thread that has none *moves* the line, and so does a write or a
//! read-modify-write by a thread that is not the only one with a copy. The first access to a line moves nothing. Each shuttle thread stands for a core of
//! its own with a cache that forgets nothing. So the counts are exact and can be repeated, and say nothing about time.
//!
//! The atomics have the size and the place that they have in a build for users. What a mutex guards lies elsewhere, and locking counts as two
//! read-modify-writes of one word. Not seen are plain data, reference counts of `Arc`, the allocator, and `OnceLock`. The deques of crossbeam are
//! charged by [`Deque`] with the accesses that their source shows.

#![allow(
    dead_code,
    reason = "one macro makes the methods of all atomics, and some need few of them"
)]

use shuttle::sync::{LockResult, MutexGuard, TryLockResult};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::atomic::{self as plain, Ordering};
use std::time::Duration;
use std::{fmt, ptr};

/// The size of a cache line.
const LINE: usize = 64;

/// The kind of an access.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
    /// A read-modify-write.
    Change,
    /// A compare-and-swap which has just been counted as a change, and failed.
    Fail,
}

/// Accesses of one thread, or of one line of the source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Read-modify-writes.
    pub changes: u64,
    /// How many of them were compare-and-swaps that failed.
    pub failed: u64,
    /// Other accesses.
    pub others: u64,
    /// How many of them moved the line.
    pub moves: u64,
}

impl Tally {
    fn add(&mut self, access: Access, moves: bool) {
        match access {
            Access::Change => self.changes += 1,
            Access::Fail => self.failed += 1,
            Access::Read | Access::Write => self.others += 1,
        }
        self.moves += u64::from(moves);
    }
}

/// What was done on one cache line.
#[derive(Clone, Debug, Default)]
pub struct LineTally {
    /// By thread, as shuttle numbers them.
    pub threads: BTreeMap<usize, Tally>,
    /// By place in the source, and thread.
    pub sites: BTreeMap<Site, Tally>,
}

/// A place in the source where a thread accesses a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// The file, as the compiler names it.
    pub file: &'static str,
    /// The line of the file.
    pub line: u32,
    /// The thread.
    pub thread: usize,
}

impl LineTally {
    /// Whether more than one thread has accessed the line.
    pub fn is_shared(&self) -> bool {
        self.threads.len() > 1
    }
}

#[derive(Default)]
struct Lines {
    /// The threads that have a copy of each line.
    copies: BTreeMap<usize, BTreeSet<usize>>,
    /// Threads whose accesses are not seen at the moment.
    unseen: BTreeSet<usize>,
    /// What was done since [`begin`].
    window: Option<BTreeMap<usize, LineTally>>,
}

thread_local! {
    // Of std: all threads of shuttle are one thread of the system.
    static LINES: RefCell<Lines> = RefCell::default();
}

/// Begins to count, for all threads.
pub fn begin() {
    LINES.with_borrow_mut(|lines| lines.window = Some(BTreeMap::new()));
}

/// Ends what [`begin`] has begun. Returns the lines that were accessed, in no order that means anything.
pub fn end() -> Vec<LineTally> {
    let window = LINES.with_borrow_mut(|lines| lines.window.take());
    window.unwrap_or_default().into_values().collect()
}

/// Forgets all lines. Called between two executions.
pub fn forget() {
    LINES.take();
}

/// Calls `f` without seeing what this thread does in it, such as a look at statistics.
pub fn unseen<R>(f: impl FnOnce() -> R) -> R {
    let thread = me();
    LINES.with_borrow_mut(|lines| lines.unseen.insert(thread));
    let result = f();
    LINES.with_borrow_mut(|lines| lines.unseen.remove(&thread));
    result
}

fn me() -> usize {
    shuttle::current::me().into()
}

#[track_caller]
fn note<T>(word: *const T, access: Access) {
    let (line, thread, site) = (word.addr() / LINE, me(), Location::caller());
    LINES.with_borrow_mut(|lines| {
        if lines.unseen.contains(&thread) {
            return;
        }
        let copies = lines.copies.entry(line).or_default();
        let had = copies.contains(&thread);
        let moves = match access {
            Access::Read => !had && !copies.is_empty(),
            Access::Write | Access::Change => copies.len() > usize::from(had),
            Access::Fail => false,
        };
        if access != Access::Read {
            copies.clear();
        }
        copies.insert(thread);
        if let Some(window) = &mut lines.window {
            let tally = window.entry(line).or_default();
            tally.threads.entry(thread).or_default().add(access, moves);
            let site = Site {
                file: site.file(),
                line: site.line(),
                thread,
            };
            tally.sites.entry(site).or_default().add(access, moves);
        }
    });
}

/// The methods that all atomics have. Before each access of a type that `switches`, shuttle may run another thread.
macro_rules! counted {
    ($switches:expr, [$($generics:tt)*] $name:ty, $inner:ty, $value:ty) => {
        impl $($generics)* $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(<$inner>::new(value))
            }
            #[track_caller]
            fn at(&self, access: Access) -> &$inner {
                if $switches {
                    shuttle::thread::sleep(Duration::ZERO);
                }
                note(ptr::from_ref(self), access);
                &self.0
            }
            #[track_caller]
            pub(crate) fn load(&self, _: Ordering) -> $value {
                self.at(Access::Read).load(Ordering::Relaxed)
            }
            #[track_caller]
            pub(crate) fn store(&self, value: $value, _: Ordering) {
                self.at(Access::Write).store(value, Ordering::Relaxed);
            }
            #[track_caller]
            pub(crate) fn swap(&self, value: $value, _: Ordering) -> $value {
                self.at(Access::Change).swap(value, Ordering::Relaxed)
            }
            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                from: $value,
                to: $value,
                _: Ordering,
                _: Ordering,
            ) -> Result<$value, $value> {
                let word = self.at(Access::Change);
                let changed = word.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
                if changed.is_err() {
                    note(ptr::from_ref(self), Access::Fail);
                }
                changed
            }
            #[track_caller]
            pub(crate) fn fetch_update(
                &self,
                set: Ordering,
                read: Ordering,
                mut update: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                let mut seen = self.load(read);
                while let Some(next) = update(seen) {
                    match self.compare_exchange(seen, next, set, read) {
                        Ok(seen) => return Ok(seen),
                        Err(now) => seen = now,
                    }
                }
                Err(seen)
            }
            pub(crate) fn get_mut(&mut self) -> &mut $value {
                self.0.get_mut()
            }
            pub(crate) fn into_inner(self) -> $value {
                self.0.into_inner()
            }
        }
        impl $($generics)* fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// Read-modify-writes of integers.
macro_rules! fetches {
    ($name:ident, $value:ty: $($fetch:ident)*) => {
        impl $name {
            $(
                #[track_caller]
                pub(crate) fn $fetch(&self, value: $value, _: Ordering) -> $value {
                    self.at(Access::Change).$fetch(value, Ordering::Relaxed)
                }
            )*
        }
    };
}

macro_rules! integers {
    ($switches:expr; $($name:ident($value:ty): $($fetch:ident)*;)*) => {
        $(
            #[derive(Default)]
            pub(crate) struct $name(plain::$name);
            counted!($switches, [] $name, plain::$name, $value);
            fetches!($name, $value: $($fetch)*);
        )*
    };
}

integers! { true;
    AtomicBool(bool): fetch_and fetch_or;
    AtomicI64(i64): fetch_add fetch_sub fetch_and;
    AtomicU64(u64): fetch_add fetch_sub fetch_and fetch_or fetch_max;
    AtomicUsize(usize): fetch_add fetch_sub fetch_and fetch_or fetch_max;
}

pub(crate) struct AtomicPtr<T>(plain::AtomicPtr<T>);
counted!(true, [<T>] AtomicPtr<T>, plain::AtomicPtr<T>, *mut T);

impl<T> Default for AtomicPtr<T> {
    fn default() -> Self {
        Self::new(ptr::null_mut())
    }
}

/// Atomics at which shuttle changes no threads: those of counts and hints.
pub(crate) mod hint {
    use crate::sync::lines::{Access, note, plain};
    use std::sync::atomic::Ordering;
    use std::time::Duration;
    use std::{fmt, ptr};

    integers! { false;
        AtomicBool(bool): fetch_and fetch_or;
        AtomicU64(u64): fetch_add fetch_sub fetch_and fetch_or fetch_max;
        AtomicUsize(usize): fetch_add fetch_sub fetch_and fetch_or fetch_max;
    }

    pub(crate) struct AtomicPtr<T>(plain::AtomicPtr<T>);
    counted!(false, [<T>] AtomicPtr<T>, plain::AtomicPtr<T>, *mut T);
}

/// A mutex of the size of that of std. What it guards lies elsewhere.
#[repr(C)]
pub(crate) struct Mutex<T> {
    inner: Box<shuttle::sync::Mutex<T>>,
    /// Never accessed.
    hole: MaybeUninit<T>,
}

// SAFETY: the part that is not `Sync` is never accessed.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex {
            inner: Box::new(shuttle::sync::Mutex::new(value)),
            hole: MaybeUninit::uninit(),
        }
    }

    #[track_caller]
    pub(crate) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let guard = self.inner.lock();
        // Counts one read-modify-write for the lock and one for the unlock.
        note(ptr::from_ref(self), Access::Change);
        note(ptr::from_ref(self), Access::Change);
        guard
    }

    #[track_caller]
    pub(crate) fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        note(ptr::from_ref(self), Access::Change);
        note(ptr::from_ref(self), Access::Change);
        self.inner.try_lock()
    }

    pub(crate) fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }

    pub(crate) fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// What the operations of a deque of crossbeam do: both of its indices are on one line, the pointer to its buffer is on another one, and its tasks
/// are taken to be on one more.
#[derive(Clone)]
pub(crate) struct Deque(std::sync::Arc<[DequeLine; 3]>);

#[derive(Default)]
#[repr(align(64))]
struct DequeLine(#[expect(dead_code, reason = "only its address counts")] u8);

impl Deque {
    pub(crate) fn new() -> Self {
        Deque(std::sync::Arc::default())
    }

    #[track_caller]
    fn note(&self, line: usize, access: Access) {
        note(ptr::from_ref(&self.0[line]), access);
    }

    #[track_caller]
    pub(crate) fn push(&self) {
        self.note(0, Access::Read);
        self.note(2, Access::Write);
        self.note(0, Access::Write);
    }

    /// The owner takes a task of `len`, with a compare-and-swap if it is the last one, or if the deque `is_fifo`.
    #[track_caller]
    pub(crate) fn pop(&self, len: impl FnOnce() -> usize, is_fifo: bool) {
        let len = len();
        self.note(0, Access::Read);
        if len == 0 {
            return;
        }
        self.note(0, Access::Write);
        self.note(2, Access::Read);
        if len == 1 || is_fifo {
            self.note(0, Access::Change);
        }
    }

    #[track_caller]
    pub(crate) fn look(&self) {
        self.note(0, Access::Read);
    }

    /// An attempt to steal. Beside this it pins an epoch, on lines of the thread's own.
    #[track_caller]
    pub(crate) fn steal(&self) {
        self.note(0, Access::Read);
        self.note(1, Access::Read);
        self.note(2, Access::Read);
        self.note(0, Access::Change);
    }
}
