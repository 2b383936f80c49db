//! What a future awaits, for a thread that waits for the future.
//!
//! A wait runs only what it waits for. A thread that joins a future, or polls one in `block_on`, leaves the tasks whose handles the future awaits to other threads. If
//! no other thread can begin one, the thread runs it itself: what a future awaits is no unrelated task. It finds the task by the wakers among the waiters of the tasks
//! in the queues, which lead to the future directly or by way of other futures and sets of tasks.

use super::arrivals::Arrivals;
use super::extra::Waiter;
use super::suspend::task_of_waker;
use super::task::TaskRef;
use super::tombstones;
use crate::pool::{Member, Registry, worker};
use crate::sync::{Arc, MODEL, lock};
use std::cell::RefCell;
use std::task::Waker;
use std::time::Duration;

/// What a thread waits for that waits for futures.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// A call of this waker, which is that of a future or of a call of `block_on`.
    Waker(&'a Waker),
    /// The end of a task of a set, one of which belongs to the pool with this number.
    Set(&'a Arc<Arrivals>, u64),
}

impl Target<'_> {
    fn is(self, waiter: &Waiter) -> bool {
        match (self, waiter) {
            // Tables of functions may have several addresses.
            (Target::Waker(waker), waiter) => waiter
                .with_waker(|other| other.data() == waker.data())
                .unwrap_or(false),
            (Target::Set(set, _), Waiter::Set(other, _)) => Arc::ptr_eq(set, other),
            (Target::Set(..), _) => false,
        }
    }

    /// The number of a pool that may hold what leads to the target.
    pub(super) fn pool(self) -> Option<u64> {
        match self {
            Target::Waker(waker) => task_of_waker(waker).map(|task| task.pool()),
            Target::Set(_, pool) => Some(pool),
        }
    }
}

/// How long a wait leaves what it waits for to other threads, if there are threads that can begin it. A wake-up or the start of a thread takes far less.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// The longest time for which a wait for a future relies on other threads without looking whether there are some.
pub(super) const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// The most tasks through which a search for the awaited one goes.
const MOST: usize = 1 << 16;

/// Returns whether another thread than the current one is awake in the pool, or could be woken or started there.
pub(super) fn others_can_begin(registry: &Registry) -> bool {
    let counts = registry.sleep.counts();
    let own = usize::from(worker::is_pool_thread(registry));
    counts.available > 0 || counts.workers > own
}

/// Finds the queued tasks of the member's pool whose end leads to the target, if no other thread of the pool can begin them.
pub(super) fn find(member: Member<'_>, target: Target<'_>) -> Vec<TaskRef> {
    let registry = member.registry;
    if worker::waits_any(registry) || others_can_begin(registry) {
        return Vec::new();
    }
    find_all(member, target)
}

/// Finds the queued tasks of the member's pool whose end leads to the target. `O(n)` for `n` queued tasks, times the length of a chain of futures that await one
/// another.
pub(super) fn find_all(member: Member<'_>, target: Target<'_>) -> Vec<TaskRef> {
    member.registry.check_fork();
    // The models leave the search out, whose steps would multiply theirs.
    if MODEL {
        return Vec::new();
    }
    let found = RefCell::new(Vec::new());
    member.visit_queued(|entry| {
        let visit = |task: &TaskRef| {
            if task.state.is_to_run() && leads_to(task, target) {
                found.borrow_mut().push(task.clone());
            }
        };
        tombstones::with_task(entry, visit);
        tombstones::is_dead(entry)
    });
    found.into_inner()
}

/// Returns whether the end of the task leads to the target.
fn leads_to(task: &TaskRef, target: Target<'_>) -> bool {
    if task.extra().is_none() {
        return false;
    }
    let mut tasks = vec![task.clone()];
    for _ in 0..MOST {
        let Some(task) = tasks.pop() else {
            return false;
        };
        let Some(extra) = task.extra() else { continue };
        let list = lock(&extra.list);
        let wakes = |waiter: &Waiter| {
            tasks.extend(waiter.with_waker(task_of_waker).flatten());
            target.is(waiter)
        };
        if list.waiters.iter().any(wakes) {
            return true;
        }
    }
    false
}
