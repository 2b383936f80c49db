//! A set of tasks whose ends one thread waits for, one after the other.
//!
//! The set lists the tasks that have finished, and its waiter may run one that has not begun. A wait for all tasks runs them one by one, because all have to
//! end. A wait for the first task does not, because it is unknown which one that is, and a long task would delay the results of all others. Such a waiter leaves
//! the tasks to other threads, and runs one itself only if no other thread can: at once if the pool has no thread that is awake or could be woken or started,
//! and after [`PATIENCE`] if there are other threads but nothing has finished. The other threads may be blocked by what the waiter holds, or may all be busy
//! with long tasks.
//!
//! A future can be queued again and again until it has finished. A waiter that takes part in a pool, and finds no task that has not begun, polls the futures of the
//! set that are queued, as a join does.

use super::arrivals::{Arrivals, Due};
use super::awaited::{PATIENCE, others_can_begin};
use super::extra::Waiter;
use super::handle::JoinHandle;
use super::help::{self, Glances, Target, run_here};
use super::task::TaskRef;
use super::timer;
use crate::pool::{self, context, worker};
use crate::sync::{Arc, now};
use crate::sys;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// The least value to which the patience is halved while no other thread runs the tasks of a set.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);

/// When a wait ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// One of the tasks has finished.
    Any,
    /// One of the tasks has finished. Even if the waits of its pool may run anything, the waiter leaves the tasks to other threads for [`PATIENCE`]. It runs one
    /// at once only if no other thread can begin it.
    AnyElsewhere,
    /// All of the tasks have finished.
    All,
}

/// What a set holds for each task, such as its handle.
pub(super) trait HasTask {
    fn task(&self) -> &TaskRef;
}

impl<T> HasTask for JoinHandle<T> {
    fn task(&self) -> &TaskRef {
        self.task()
    }
}

impl<H: HasTask> HasTask for &H {
    fn task(&self) -> &TaskRef {
        (**self).task()
    }
}

/// A set of tasks. See the [module documentation](self).
pub(super) struct Pending<H> {
    /// The items that were not taken, by index. Indices count from 0 and are not used again.
    items: HashMap<usize, H, BuildHasherDefault<IndexHasher>>,
    /// The list of tasks that have finished and were not taken.
    pub(super) arrivals: Arc<Arrivals>,
    /// The tasks with indices outside this range have begun.
    unbegun: Range<usize>,
    /// Of the futures with indices below this one the waiter is told when they are queued.
    joined: usize,
    /// Tasks that the futures of the set await, for which no other thread was found.
    awaited: Vec<TaskRef>,
    glances: Glances,
    /// The pool of the newest task.
    pool: u64,
    /// The index of the next task.
    next: usize,
    patience: Duration,
}

impl<H> Default for Pending<H> {
    fn default() -> Self {
        Pending {
            items: HashMap::default(),
            arrivals: Arc::default(),
            unbegun: 0..0,
            joined: 0,
            awaited: Vec::new(),
            glances: Glances::default(),
            pool: 0,
            next: 0,
            patience: PATIENCE,
        }
    }
}

impl<H: HasTask> Pending<H> {
    pub(super) fn of(items: impl IntoIterator<Item = H>) -> Self {
        let mut set = Self::default();
        for item in items {
            set.push(item);
        }
        set
    }

    /// Adds a task, with the next index.
    pub(super) fn push(&mut self, item: H) {
        let index = self.next;
        self.next += 1;
        self.unbegun.end = self.next;
        let waiter = || Waiter::Set(Arc::clone(&self.arrivals), index);
        if !item.task().at_end(|list| list.waiters.push(waiter())) {
            self.arrivals.arrive(index);
        }
        self.pool = item.task().pool();
        self.items.insert(index, item);
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items that were not taken, in any order.
    pub(super) fn items(&self) -> impl Iterator<Item = &H> {
        self.items.values()
    }

    /// Takes the task that finished first among those that have finished, with its index.
    pub(super) fn take_finished(&mut self) -> Option<(usize, H)> {
        let index = self.arrivals.next()?;
        self.items.remove_entry(&index)
    }

    /// Takes the task that finishes next, with its index, or `None` if the set is empty.
    pub(super) fn poll_finished(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, H)>> {
        timer::check_deadlines();
        if !self.is_empty() && self.arrivals.poll(context).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.take_finished())
    }

    /// Takes all items, in the order of their indices.
    pub(super) fn take_all(&mut self) -> Vec<H> {
        let mut items: Vec<_> = self.items.drain().collect();
        items.sort_unstable_by_key(|&(index, _)| index);
        items.into_iter().map(|(_, item)| item).collect()
    }

    /// Removes the set from the waiters of its tasks.
    pub(super) fn deregister(&self) {
        for item in self.items.values() {
            item.task().remove_waiters(
                |waiter| matches!(waiter, Waiter::Set(other, _) if Arc::ptr_eq(other, &self.arrivals)),
            );
        }
    }

    /// Blocks until a task has finished. Returns false if the deadline has passed.
    pub(super) fn block(&self, deadline: Option<Instant>) -> bool {
        timer::block(&*self.arrivals, deadline)
    }

    /// Performs one step of a wait: runs a task, polls a future, or blocks for a while. Returns false if the deadline has passed. If one task is left, a wait for any is a wait for
    /// all.
    ///
    /// # Panics
    ///
    /// Panics in a forked child, where no thread would end the tasks.
    pub(super) fn wait(&mut self, until: Until, deadline: Option<Instant>) -> bool {
        if sys::forks() != 0 {
            self.items().for_each(|item| item.task().check_fork());
        }
        // With a deadline the waiter runs no task, because that could take longer than the time that is left.
        let Some(member) = context::member().filter(|_| deadline.is_none()) else {
            return self.block(deadline);
        };
        let Some(pool) = self.oldest().map(|task| task.pool()) else {
            self.poll_one();
            return true;
        };
        let at_once = match until {
            Until::AnyElsewhere => false,
            Until::Any if self.len() > 1 => worker::waits_any(member.registry),
            Until::Any | Until::All => true,
        };
        if at_once || !pool::with_pool(pool, others_can_begin).unwrap_or(false) {
            self.unbegun.start += 1;
            self.run(self.unbegun.start - 1);
        } else if self.block(now().checked_add(self.patience)) {
            self.patience = PATIENCE;
        } else if self.find_newest() {
            // Other threads take the oldest tasks first.
            self.unbegun.end -= 1;
            self.patience = (self.patience / 2).max(LEAST_PATIENCE);
            self.run(self.unbegun.end);
        }
        true
    }

    /// Polls a future that is queued, or runs a task that one awaits, or else blocks until a future is queued or a task has finished.
    fn poll_one(&mut self) {
        for index in self.joined..self.next {
            let task = self.items.get(&index).map(HasTask::task);
            if let Some(task) = task.filter(|task| task.state.is_future()) {
                task.state.set_joined();
                if task.state.is_to_run() {
                    self.arrivals.note_due(index);
                }
            }
        }
        self.joined = self.next;
        let target = Target::Set(&self.arrivals, self.pool);
        if let Some(index) = self.arrivals.next_due() {
            self.run(index);
            self.glances.run_awaited(target);
        } else if let Some(task) = self.awaited.pop() {
            run_here(&task);
        } else {
            self.awaited = help::block_or_find(&Due(&self.arrivals), target);
            // Found from the oldest one on.
            self.awaited.reverse();
        }
    }

    fn run(&self, index: usize) {
        if let Some(item) = self.items.get(&index) {
            run_here(item.task());
        }
    }

    /// Returns the first task that has not begun. Its index becomes the first of `unbegun`.
    pub(super) fn oldest(&mut self) -> Option<&TaskRef> {
        while !self.unbegun.is_empty() && !self.is_queued(self.unbegun.start) {
            self.unbegun.start += 1;
        }
        let first = self.unbegun.clone().next()?;
        self.items.get(&first).map(HasTask::task)
    }

    /// Returns whether there is a task that has not begun. The index of the last such task becomes the last of `unbegun`.
    fn find_newest(&mut self) -> bool {
        while !self.unbegun.is_empty() && !self.is_queued(self.unbegun.end - 1) {
            self.unbegun.end -= 1;
        }
        !self.unbegun.is_empty()
    }

    fn is_queued(&self, index: usize) -> bool {
        self.items
            .get(&index)
            .is_some_and(|item| item.task().state.is_queued())
    }
}

/// A hash of consecutive indices, which needs no protection against chosen keys.
#[derive(Default)]
struct IndexHasher(u64);

impl Hasher for IndexHasher {
    fn write(&mut self, _: &[u8]) {
        unreachable!("heist: indices are of type usize");
    }

    fn write_usize(&mut self, index: usize) {
        // The fractional part of the golden ratio, times 2^64.
        self.0 = (index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
