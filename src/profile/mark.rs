//! Where thieves see that a fork was made in an unmeasured `join`.

use super::skipped::Orphans;
use crate::sync::Ordering;
use crate::sync::hint::{AtomicPtr, AtomicUsize};
use std::ptr;

/// The part of a slot that says which of its forks were made in an unmeasured `join`: those from an index on.
///
/// The owner sets it before it makes such forks, and resets it after all of them have ended. So a thief that has taken a fork reads the values of the time at
/// which the fork was made.
#[derive(Debug)]
pub(crate) struct Mark {
    /// The first index, or `usize::MAX`.
    base: AtomicUsize,
    orphans: AtomicPtr<()>,
}

impl Default for Mark {
    fn default() -> Self {
        Mark {
            base: AtomicUsize::new(usize::MAX),
            orphans: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

impl Mark {
    /// Owner: declares that the forks from `base` on, until the guard is dropped, are made in an unmeasured `join`. Does nothing if this was declared already,
    /// for a `join` around.
    ///
    /// The guard must be dropped before the orphans, after these forks have ended.
    #[inline]
    pub(crate) fn set<'a>(&'a self, base: usize, orphans: &'a Orphans<'_>) -> Option<Marked<'a>> {
        // ORDERING: Relaxed: only the owner writes. What makes the fork visible to a thief makes these visible too.
        if self.base.load(Ordering::Relaxed) != usize::MAX {
            return None;
        }
        let orphans = ptr::from_ref(orphans).cast_mut().cast();
        self.orphans.store(orphans, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        Some(Marked(self))
    }

    /// Thief: where to report the fork at `index`, if it was made in an unmeasured `join`.
    ///
    /// # Safety
    /// The caller has taken that fork, and it does not use the result after [`Orphans::end`], nor after the end of the fork if it has not called
    /// [`Orphans::begin`] before it.
    pub(crate) unsafe fn orphans<'a>(&self, index: usize) -> Option<&'a Orphans<'a>> {
        // ORDERING: Relaxed: the steal has acquired what the owner did before it made the fork.
        if index < self.base.load(Ordering::Relaxed) {
            return None;
        }
        let orphans = self.orphans.load(Ordering::Relaxed).cast::<Orphans<'a>>();
        // SAFETY: a base that is not above the fork's index was set before the fork was made, with this address, and is reset after the fork has ended. The
        // orphans live until those that have begun have ended.
        Some(unsafe { &*orphans })
    }
}

/// Resets a [`Mark`] when it is dropped.
pub(crate) struct Marked<'a>(&'a Mark);

impl Drop for Marked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.base.store(usize::MAX, Ordering::Relaxed);
    }
}
