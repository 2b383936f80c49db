//! Credits: how a worker counts the tasks of a scope without an atomic read-modify-write (RMW) for each of them.
//!
//! A *credit* is a task that the scope's count includes although nobody has spawned it yet. A worker that runs tasks of a scope holds credits of that scope. Each
//! spawn uses up one, and each task that ends leaves one, so neither changes the scope's count, which all workers share. A worker that has none left takes
//! several at once, by one RMW. Once it has run what it has queued meanwhile, it gives back the rest, by another one.
//!
//! So a scope's count is never less than the number of its tasks, and is exact when no worker holds credits. A worker holds credits of a scope only while it
//! runs a task of that scope, or between two of them. Hence a scope never waits for credits alone.
//!
//! Only a free worker takes credits, at the bottom of its stack, so a slot holds those of one scope at a time. Runs of the same scope that nest in its waits use
//! them too.

use crate::job::Group;
use std::cell::Cell;
use std::ptr;

/// How many credits a worker takes the first time: few tasks spawn more. Each further time it takes twice as many as the last time, so that a task that spawns
/// n others takes credits about log n times.
const FIRST_GRANT: i64 = if cfg!(heist_loom) { 2 } else { 8 };

/// The most credits that a worker takes at once. The count has room for many more from each worker.
const GRANT_MOST: i64 = 1 << 16;

/// The credits that the owner of a slot holds.
pub(crate) struct Credits {
    /// The core of the scope whose tasks the owner runs, or null.
    group: Cell<*const Group>,
    left: Cell<i64>,
    next_grant: Cell<i64>,
}

impl Default for Credits {
    fn default() -> Self {
        Credits {
            group: Cell::new(ptr::null()),
            left: Cell::new(0),
            next_grant: Cell::new(FIRST_GRANT),
        }
    }
}

impl Credits {
    /// Holds no credits, but those of this scope from now on.
    pub(super) fn open(&self, group: *const Group) {
        debug_assert!(self.group.get().is_null(), "credits of one scope at a time");
        self.group.set(group);
        self.next_grant.set(FIRST_GRANT);
    }

    /// Returns the credits that are left, which the caller gives back.
    pub(super) fn close(&self) -> i64 {
        self.group.set(ptr::null());
        self.left.replace(0)
    }

    /// Whether the credits are those of this scope.
    #[inline]
    pub(crate) fn are_of(&self, group: *const Group) -> bool {
        ptr::eq(self.group.get(), group)
    }

    /// Uses up one credit. Returns `false` if none is left.
    #[inline]
    pub(crate) fn spend(&self) -> bool {
        let left = self.left.get();
        self.left.set(left - i64::from(left > 0));
        left > 0
    }

    /// Adds a credit: a task has ended.
    #[inline]
    pub(crate) fn earn(&self) {
        self.left.update(|left| left + 1);
    }

    /// Returns how many credits to add to the scope's count. One of them is used up already.
    pub(crate) fn grant(&self) -> i64 {
        let grant = self.next_grant.get();
        self.next_grant.set(GRANT_MOST.min(2 * grant));
        self.left.update(|left| left + grant - 1);
        grant
    }
}
