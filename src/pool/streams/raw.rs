//! Items of a stream for which there is no task yet.

use crate::job::Task;
use crate::sync::{AtomicUsize, MODEL, Ordering};
use crate::sys::{TICKS_PER_MICROSECOND, ticks};
use std::fmt;
// From std: hints.
use std::sync::atomic::AtomicU64;

/// How long after its last change the consumer no longer counts as one that runs the raw items. Less than the [`WATCH_TIME`](super::WATCH_TIME), so that the worker that
/// watches finds out at its second look.
const ABANDONED_TIME: u64 = 700 * TICKS_PER_MICROSECOND;

/// The time in ticks, which stands still in a model.
pub(crate) fn rough_now() -> u64 {
    if MODEL { 1 } else { ticks() }
}

/// Items of a stream that were pulled, and for which there is no task yet. They come after those in the stream's queue.
pub(crate) trait RawItems: fmt::Debug + Send + Sync {
    /// The number of the items. Takes the lock under which the consumer adds and takes items.
    fn len(&self) -> usize;

    /// Makes a task of each item, and passes the tasks to `push` in their order. Runs none of the user's code.
    fn submit(&self, push: &mut dyn FnMut(Task));
}

/// What is known about the raw items of a stream without a lock.
#[derive(Debug, Default)]
pub(crate) struct RawCount {
    /// The number of raw items. Changed under the lock of the items.
    len: AtomicUsize,
    /// How often the consumer has added or taken an item. Written by the consumer only.
    changes: AtomicU64,
    /// The number of changes that a worker has seen last, and when it has seen that number first, in ticks.
    seen: AtomicU64,
    seen_since: AtomicU64,
}

// ORDERING: Relaxed: hints. What must be seen in time is read under the lock of the items.
impl RawCount {
    /// Consumer: notes the number of items, after a change.
    pub(crate) fn change(&self, len: usize) {
        self.len.store(len, Ordering::Relaxed);
        let changes = self.changes.load(Ordering::Relaxed);
        self.changes.store(changes + 1, Ordering::Relaxed);
    }

    /// Notes that no item is raw any more.
    pub(crate) fn clear(&self) {
        self.len.store(0, Ordering::Relaxed);
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether the consumer has not added or taken an item for a while.
    pub(super) fn is_abandoned(&self) -> bool {
        let (changes, now) = (self.changes.load(Ordering::Relaxed), rough_now());
        if self.seen.swap(changes, Ordering::Relaxed) != changes {
            self.seen_since.store(now, Ordering::Relaxed);
        }
        MODEL || now.wrapping_sub(self.seen_since.load(Ordering::Relaxed)) > ABANDONED_TIME
    }
}
