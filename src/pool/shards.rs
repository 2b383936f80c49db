//! What many threads outside a pool write, in several parts, so that fewer of them write the same cache lines.
//!
//! Each thread always uses the same part, so the tasks that one thread has submitted keep their order. Tasks of threads with different parts have no order among
//! each other, even if these threads synchronise. A pool of up to [`THREADS_EACH`] threads has one part, and then all its tasks are in one order.

use super::queue::Injector;
use crate::job::Task;
use crate::sync::thread_number;
use crossbeam_utils::CachePadded;

#[cfg(all(test, heist_loom))]
mod models;
#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests;

/// A pool has one part for each so many threads.
#[cfg(not(heist_loom))]
const THREADS_EACH: usize = 4;

/// The most parts.
#[cfg(not(heist_loom))]
const MOST: usize = 16;

/// In so many searches in a row a worker begins at the same part of a queue. Workers that started one after the other begin at different ones.
pub(super) const STAY: u32 = 8;

/// The number of parts of a pool of so many threads.
#[cfg(not(heist_loom))]
fn parts(threads: usize) -> usize {
    (threads / THREADS_EACH).clamp(1, MOST)
}

/// The number of parts that the model asks for.
#[cfg(heist_loom)]
fn parts(_: usize) -> usize {
    crate::sync::model::parts()
}

/// A value for each part. The first one is in place, so that a small pool pays for no indirection.
pub(crate) struct Shards<T> {
    first: CachePadded<T>,
    others: Box<[CachePadded<T>]>,
}

impl<T> Shards<T> {
    /// Makes the parts of a pool of so many threads.
    pub(crate) fn new(threads: usize, part: impl Fn() -> T) -> Self {
        let parts = parts(threads);
        let part = || CachePadded::new(part());
        Shards {
            first: part(),
            others: (1..parts).map(|_| part()).collect(),
        }
    }

    /// The part of the current thread.
    #[inline]
    pub(crate) fn own(&self) -> &T {
        if self.others.is_empty() {
            &self.first
        } else {
            self.by_thread()
        }
    }

    #[inline(never)]
    fn by_thread(&self) -> &T {
        match thread_number() % (self.others.len() + 1) {
            0 => &self.first,
            other => &self.others[other - 1],
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let others = self.others.iter().map(|part| &**part);
        std::iter::once(&*self.first).chain(others)
    }
}

impl Shards<Injector> {
    /// Takes the task that was queued first in its part. The search begins at the part with this number, counted round and round.
    #[inline]
    pub(super) fn steal(&self, first: u32) -> Option<Task> {
        if self.others.is_empty() {
            self.first.steal()
        } else {
            self.steal_from(first)
        }
    }

    #[inline(never)]
    fn steal_from(&self, first: u32) -> Option<Task> {
        let first = first as usize % (self.others.len() + 1);
        let mut parts = self.iter().skip(first).chain(self.iter().take(first));
        parts.find_map(Injector::steal)
    }
}
