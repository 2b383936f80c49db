//! How a task is ended from outside: by a cancel or by a deadline.
//!
//! A deadline ends a task on the timer's thread, which serves all pools and runs none of the user's code. That code is *deferred*: another thread drops the
//! closure ([`late`]), and the pool calls the callbacks.

use super::complete::{note_nothing_run, report_lost_panic};
use super::error::Cause;
use super::extra::Waiter;
use super::late::{self, DeferredDrop};
use super::state::{ExpireOutcome, Stop, Whereabouts};
use super::task::TaskRef;
use crate::job::{Fate, Task};
use crate::pool::{self, Priority, Registry, context, worker};
use crate::record::Entry;
use crate::sync::lock;
use crate::unwind;
use std::ptr;

/// Implements [`TaskRef::cancel`].
pub(super) fn cancel(task: &TaskRef, cause: Cause) -> bool {
    let cancelled = task.cancel_unrun(cause);
    if cancelled {
        task.leave_tombstone();
    }
    cancelled
}

/// Implements [`TaskRef::cancel`] for a future. It is dropped on a thread of the pool: on this one, or by the next one that is free. If a thread that takes part in the
/// pool waits for the future or its scope, it may be the only one that can: it drops the future itself.
pub(super) fn stop(task: &TaskRef, cause: Cause) -> bool {
    match task.state.stop() {
        Stop::TooLate => false,
        // A shutdown counts it after the poll, if it is dropped then.
        Stop::LeftToRunner => cause != Cause::ShutDown,
        Stop::Unready(place) => {
            settle_entry(task, place);
            let registry = pool::pool(task.pool());
            match registry {
                Some(registry) if !worker::is_pool_thread(&registry) => {
                    // Until the future is dropped and its callbacks were called, the pool is not idle.
                    registry.count(|counters| &counters.deferred, 1);
                    task.state.leave(cause == Cause::ShutDown);
                    task.queue_left(&registry);
                }
                _ => task.finish_unrun(cause),
            }
            true
        }
    }
}

/// Updates the counts of the place from which a task has been moved to completing.
fn settle_entry(task: &TaskRef, place: Whereabouts) {
    match place {
        Whereabouts::New => {
            task.release_admission();
            task.leave_tombstone();
        }
        Whereabouts::Woken => task.leave_tombstone(),
        Whereabouts::Suspended => {
            pool::with_pool(task.pool(), |registry| {
                registry.count(|counters| &counters.resumed, 1);
            });
        }
    }
}

/// Implements [`TaskRef::expire`]. Called on the timer's thread, or on the runner's if the deadline has passed before the run or during it.
pub(super) fn expire(task: &TaskRef) {
    let place = match task.state.expire() {
        ExpireOutcome::Unready(place) => Some(place),
        ExpireOutcome::Completing => None,
        ExpireOutcome::LeftToRunner | ExpireOutcome::TooLate => return,
    };
    finish_late(task, place, Cause::Deadline);
    if let Some(token) = task.extra().and_then(|extra| extra.token.as_ref()) {
        for task in token.raise() {
            if task.state.is_future() {
                task.cancel(Cause::Cancelled);
            } else if let Some(place) = task.state.claim_unrun() {
                finish_late(&task, Some(place), Cause::Cancelled);
            }
        }
    }
}

/// Finishes, with an error, a task that the current thread has moved to completing, and defers what is the user's code. `place` says where the task was if the
/// closure is still in the cell.
fn finish_late(task: &TaskRef, place: Option<Whereabouts>, cause: Cause) {
    // SAFETY: (1) the operations are those of this cell. (2) The current thread has moved the task from queued to completing, so the cell holds the closure.
    let closure = place.and_then(|_| unsafe { (task.ops.defer_drop)(task.header()) });
    // SAFETY: (1) the operations are those of this cell. (2) The current thread has moved the task to completing, and the closure is gone.
    unsafe { (task.ops.fail)(task.header(), task.error(cause)) };
    let registry = pool::pool(task.pool());
    if let Some(registry) = &registry {
        if let Some(place) = place {
            settle_entry(task, place);
        }
        count_end(task, registry, closure.is_some(), cause);
    }
    let extra = task.extra_or_new();
    extra.deregister(task.id);
    let (waiters, wanted) = {
        let mut list = lock(&extra.list);
        // While callbacks are deferred, a callback that is added is appended to them, so that all are called in the order in which they were added.
        list.deferred = !list.callbacks.is_empty();
        (std::mem::take(&mut list.waiters), task.state.finish())
    };
    if let Some(registry) = registry.as_ref().filter(|_| !waiters.is_empty()) {
        registry.with_recorder(|recorder| recorder.finished(task.record_id()));
    }
    waiters.into_iter().for_each(Waiter::wake);
    if !wanted {
        task.discard(registry.as_deref());
    }
    if let Some(closure) = closure {
        drop_late(task, closure, registry.as_deref());
    }
    let calls_back = lock(&extra.list).deferred;
    match registry {
        Some(registry) if calls_back => {
            let task = task.clone();
            run_soon(&registry, move || run_deferred(&task, cause));
        }
        _ => run_deferred(task, cause),
    }
}

/// Counts the end of a task, and before that what is deferred: until it is done, the pool is not idle and a shutdown waits.
fn count_end(task: &TaskRef, registry: &Registry, has_closure: bool, cause: Cause) {
    registry.count(|counters| &counters.deferred, 1 + u64::from(has_closure));
    if has_closure {
        registry.begin_late();
    }
    if cause == Cause::Deadline {
        registry.count(|counters| &counters.failed, task.tasks());
        // Counted after `failed`, which includes `timed_out`; a snapshot reads them in the opposite order, so `timed_out <= failed` always holds.
        registry.count(|counters| &counters.timed_out, task.tasks());
        registry.record(Entry::TimedOut {
            id: task.record_id(),
        });
    } else {
        registry.count(|counters| &counters.cancelled, task.tasks());
        registry.record(Entry::Cancelled {
            id: task.record_id(),
        });
    }
}

/// Makes another thread drop the closure of a task. A future is dropped on a thread of the pool.
fn drop_late(task: &TaskRef, closure: DeferredDrop, registry: Option<&Registry>) {
    let pool = task.pool();
    let job = move || {
        // As a part of the pool: the destructor must not wait for the pool, because the pool waits for the destructor.
        let dropped = context::with_left(pool, || unwind::catch(closure));
        report_lost_panic(dropped.err(), pool::pool(pool).as_deref());
        pool::with_pool(pool, |registry| {
            registry.count(|counters| &counters.deferred_done, 1);
            registry.end_late();
        });
    };
    let job: DeferredDrop = Box::new(job);
    let left = if task.state.is_future() {
        Err(job)
    } else {
        late::run(job)
    };
    match (left, registry) {
        (Ok(()), _) => {}
        (Err(job), Some(registry)) => run_soon(registry, job),
        (Err(job), None) => job(),
    }
}

/// Calls the callbacks of a task that the timer has finished, if there are some, and counts that they were called.
fn run_deferred(task: &TaskRef, cause: Cause) {
    let registry = pool::pool(task.pool());
    let extra = task.extra_or_new();
    loop {
        let callbacks = {
            let mut list = lock(&extra.list);
            list.deferred = !list.callbacks.is_empty();
            std::mem::take(&mut list.callbacks)
        };
        if callbacks.is_empty() {
            break;
        }
        for callback in callbacks {
            let (call, error) = (task.ops.call, task.error(cause));
            // SAFETY: (1) the operations are those of this cell. (2) The callback was added to this task, so it takes an outcome of this cell's type.
            let called = unwind::catch(|| unsafe { call(callback, error) });
            report_lost_panic(called.err(), registry.as_deref());
        }
    }
    if let Some(registry) = registry {
        registry.count(|counters| &counters.deferred_done, 1);
        registry.look_idle();
    }
}

/// Queues `f` with high priority. It is not counted as a task.
fn run_soon(registry: &Registry, f: impl FnOnce() + Send + 'static) {
    let run = move |fate: Fate| {
        if fate.runs() {
            note_nothing_run();
        }
        f();
    };
    // SAFETY: (1) `f` is `'static` and borrows nothing. (2) There is no group. (3) `run` does not unwind, because what it calls catches the user's panics.
    let task = unsafe { Task::new(ptr::null(), None, run) };
    registry.inject([task], Priority::High);
}
