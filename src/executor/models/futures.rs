//! Loom models of futures: their wakers against polls, cancels and waits.
//!
//! A guest polls the futures by `resolve`, as a worker does with an entry from a queue. Most pools have no thread and start none, so that a thread which queues an
//! entry polls the future itself.

use super::{Dropped, queued, runner};
use crate::barrier::Flavour;
use crate::executor::error::Cause;
use crate::executor::future_cell;
use crate::executor::handle::JoinHandle;
use crate::executor::options::Options;
use crate::executor::several::as_completed;
use crate::executor::suspend::{FutureKind, with_waker};
use crate::executor::task::TaskRef;
use crate::fork::Scope;
use crate::job::{Fate, Task};
use crate::pool::models::{as_owner, end, model, outsider, pool, small_model};
use crate::pool::{Priority, ThreadPool, context};
use crate::sync::AtomicUsize;
use crate::testing::{Place, Seen};
use loom::thread;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
// Tallies are not part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

/// What a model knows of a future.
#[derive(Default)]
pub(super) struct Watch {
    /// Set by other threads before they wake the future. It orders nothing by itself.
    flags: AtomicUsize,
    /// Not atomic, so that loom fails a model in which two polls, or the last one and the drop, are not in order.
    pub(super) steps: Place<u32>,
    drops: Arc<Tally>,
    /// The drops of results.
    results: Arc<Tally>,
}

impl Watch {
    /// Sets a flag, and then wakes the future.
    pub(super) fn raise(&self, flag: usize, waker: Waker) {
        self.flags.fetch_or(flag, Relaxed);
        waker.wake();
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.drops.load(Relaxed) == 1
    }
}

/// A future that is ready in the poll that sees all of its flags.
pub(super) struct Until {
    flags: usize,
    watch: Arc<Watch>,
}

impl Until {
    pub(super) fn new(flags: usize, watch: &Arc<Watch>) -> Self {
        let watch = Arc::clone(watch);
        Until { flags, watch }
    }
}

impl Future for Until {
    type Output = Dropped;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Dropped> {
        let watch = &self.watch;
        assert_eq!(watch.drops.load(Relaxed), 0, "polled after it was dropped");
        watch.steps.set(watch.steps.get() + 1);
        if watch.flags.load(Relaxed) & self.flags == self.flags {
            Poll::Ready(Dropped(Arc::clone(&watch.results)))
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Until {
    fn drop(&mut self) {
        self.watch.steps.set(self.watch.steps.get() + 1);
        self.watch.drops.fetch_add(1, Relaxed);
    }
}

/// A pool without threads, which starts none. A thread that queues a task runs it.
pub(super) fn threadless() -> Arc<ThreadPool> {
    let pool = pool(1, 0);
    pool.registry().sleep.retire();
    Arc::new(pool)
}

/// Makes a task of a future, which is in no queue.
fn future<F>(pool: &ThreadPool, options: Options, future: F) -> (Task, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let registry = pool.registry();
    registry.roster.begin_use();
    let (extra, flags) = options.lower();
    let kind = FutureKind {
        priority: Priority::Normal,
        is_daemon: false,
    };
    // SAFETY: future and result are `'static`.
    let (task, handle) =
        unsafe { future_cell::make_joinable(registry.id, kind, flags, extra, None, future) };
    registry.count(|counters| &counters.submitted, 1);
    (task.into_task(), handle)
}

/// Makes a task of a future that waits for these flags.
pub(super) fn until(
    pool: &ThreadPool,
    options: Options,
    flags: usize,
) -> (Task, JoinHandle<Dropped>, Arc<Watch>) {
    let watch = Arc::new(Watch::default());
    let (task, handle) = future(pool, options, Until::new(flags, &watch));
    (task, handle, watch)
}

pub(super) fn waker(handle: &JoinHandle<Dropped>) -> Waker {
    with_waker(handle.task(), Waker::clone)
}

/// Polls a new future, in one order of events only.
pub(super) fn suspend(pool: &ThreadPool, task: Task) {
    loom::stop_exploring();
    as_owner(|| pool.install(|| task.resolve(Fate::Run, None)));
    loom::explore();
}

/// Starts a thread that sets a flag and wakes the future of `handle`.
pub(super) fn raiser(
    number: usize,
    flag: usize,
    handle: &JoinHandle<Dropped>,
    watch: &Arc<Watch>,
) -> thread::JoinHandle<()> {
    let (watch, waker) = (Arc::clone(watch), waker(handle));
    outsider(number, move || watch.raise(flag, waker))
}

// ---- a wake-up against a poll ----

/// A future is woken before its first poll, during a poll, or while it is suspended. It is polled afterwards, and that poll sees what was written before.
fn a_wake_against_a_first_poll(mark: &Seen, is_busy: bool) {
    let pool = threadless();
    let (task, handle, watch) = until(&pool, Options::default(), 1);
    let own = Arc::clone(&pool);
    let runner = outsider(0, move || {
        own.install(|| {
            let member = context::member().expect("a guest");
            if is_busy {
                // The thread has something else to do, so it does not poll the future again at once.
                member.push_detached(queued(&own, || ()).0);
            }
            task.resolve(Fate::Run, None);
            while let Some(task) = member.pop_detached() {
                member.run_task(task);
            }
        });
    });
    watch.raise(1, waker(&handle));
    runner.join().unwrap();
    assert!(handle.is_finished() && watch.is_dropped());
    mark.mark(match watch.steps.get() {
        2 => "polled once",
        _ => "polled twice",
    });
    assert_eq!(pool.stats().suspended, 0);
}

#[test]
fn a_wake_against_a_poll_of_an_idle_thread() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        a_wake_against_a_first_poll(&mark, false);
    });
    seen.check(&["polled once", "polled twice"]);
}

#[test]
fn a_wake_against_a_poll_of_a_busy_thread() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        a_wake_against_a_first_poll(&mark, true);
    });
    seen.check(&["polled once", "polled twice"]);
}

/// A future is woken twice, for two things that it waits for, while another thread polls it. It is queued once for each at most.
#[test]
fn two_wakes_against_a_poll() {
    model(Flavour::Strict, || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 3);
        let runner = runner(&pool, 0, task);
        watch.raise(1, waker(&handle));
        watch.raise(2, waker(&handle));
        runner.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        let stats = pool.stats();
        assert_eq!((stats.suspended, stats.queued), (0, 0));
    });
}

/// Two threads wake a suspended future at the same time, one with a waker of its own and one by reference. It has one entry afterwards.
#[test]
fn two_wakes_of_a_suspended_future() {
    model(Flavour::Strict, || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 3);
        suspend(&pool, task);
        let other = raiser(0, 1, &handle, &watch);
        watch.flags.fetch_or(2, Relaxed);
        waker(&handle).wake_by_ref();
        other.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        assert_eq!(pool.stats().suspended, 0);
        // It has left the roster.
        pool.registry().roster.each(|_| unreachable!());
    });
}

// ---- a wake-up against other ends ----

/// A suspended future is woken and cancelled. It is ready or cancelled, and dropped once.
#[test]
fn a_wake_against_cancel() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 1);
        suspend(&pool, task);
        let other = raiser(0, 1, &handle, &watch);
        let cancelled = handle.cancel();
        other.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        let is_ready = handle.join().is_ok();
        assert!(is_ready || cancelled);
        mark.mark(match (cancelled, is_ready) {
            (true, true) => "ready in spite of the cancel",
            (true, false) => "cancelled",
            _ => "ready",
        });
        assert_eq!(pool.stats().suspended, 0);
    });
    seen.check(&["ready in spite of the cancel", "cancelled", "ready"]);
}

/// A future is cancelled before, during or after its first poll. It is dropped once, and not polled afterwards.
#[test]
fn cancel_against_a_poll() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 1);
        let runner = runner(&pool, 0, task);
        assert!(handle.cancel());
        runner.join().unwrap();
        assert!(handle.is_finished() && handle.is_cancelled() && watch.is_dropped());
        mark.mark(match watch.steps.get() {
            1 => "never polled",
            _ => "polled",
        });
        assert_eq!(pool.stats().suspended, 0);
    });
    seen.check(&["never polled", "polled"]);
}

/// The handle of a suspended future is dropped while the future is woken by its last waker.
#[test]
fn a_wake_against_the_drop_of_the_handle() {
    small_model(Flavour::Strict, || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 1);
        suspend(&pool, task);
        let other = raiser(0, 1, &handle, &watch);
        drop(handle);
        other.join().unwrap();
        assert!(watch.is_dropped());
        assert_eq!(watch.results.load(Relaxed), 1);
    });
}

/// A joining handle polls a future in place, while its entry stays in the queue. The future is woken meanwhile, and the thread that wakes it comes upon both entries.
#[test]
fn a_wake_against_a_poll_in_place() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 1);
        let other = raiser(0, 1, &handle, &watch);
        as_owner(|| {
            pool.install(|| {
                // A guest leaves the entry in its deque when it polls the future.
                context::member().expect("a guest").push_detached(task);
                drop(handle.join().unwrap());
            });
        });
        mark.mark(match watch.steps.get() {
            2 => "polled once",
            _ => "polled twice",
        });
        other.join().unwrap();
        assert!(watch.is_dropped());
        let stats = pool.stats();
        assert_eq!((stats.suspended, stats.queued), (0, 0));
    });
    seen.check(&["polled once", "polled twice"]);
}

/// A handle has polled a future in place. Another thread takes the entry that is left over, while the future is woken.
#[test]
fn a_wake_against_an_entry_that_is_left_over() {
    model(Flavour::Strict, || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 1);
        loom::stop_exploring();
        as_owner(|| {
            pool.install(|| {
                handle
                    .task()
                    .run_queued(context::member().expect("a guest"))
            });
        });
        loom::explore();
        let runner = runner(&pool, 0, task);
        watch.raise(1, waker(&handle));
        runner.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        let stats = pool.stats();
        assert_eq!((stats.suspended, stats.queued), (0, 0));
    });
}

// ---- threads that wait ----

/// A worker wakes a future of its own pool, which it polls next, and a thread outside joins the future.
#[test]
fn a_wake_on_a_worker_against_a_join() {
    model(Flavour::Strict, || {
        loom::stop_exploring();
        let pool = pool(1, 0);
        let watch = Arc::new(Watch::default());
        let handle = pool.submit_async(Until::new(1, &watch));
        while pool.stats().suspended == 0 {
            thread::yield_now();
        }
        loom::explore();
        let (own, waker) = (Arc::clone(&watch), waker(&handle));
        pool.spawn(move || own.raise(1, waker));
        assert!(handle.join().is_ok() && watch.is_dropped());
        end(pool);
    });
}

/// A thread outside wakes a future for which a scope's owner waits.
#[test]
fn a_wake_against_the_owner_of_a_scope() {
    model(Flavour::Strict, || {
        let pool = threadless();
        let watch = Arc::new(Watch::default());
        let mut other = None;
        as_owner(|| {
            pool.scope(|s| {
                let handle = s.submit_async(Until::new(1, &watch)).into_inner();
                other = Some(raiser(0, 1, &handle, &watch));
            });
            assert!(watch.is_dropped());
        });
        other.map(|other| other.join().unwrap());
    });
}

/// Lets the only thread of a pool wait for a suspended future. All orders of events are tried from then on. `act` is called on another thread.
fn the_only_worker_waits(
    wait: impl FnOnce(JoinHandle<Dropped>) + Send + 'static,
    act: impl FnOnce(&TaskRef, &Arc<Watch>),
) {
    loom::stop_exploring();
    let pool = pool(1, 0);
    let watch = Arc::new(Watch::default());
    let handle = pool.submit_async(Until::new(1, &watch));
    while pool.stats().suspended == 0 {
        thread::yield_now();
    }
    let task = handle.task().clone();
    let begun = Arc::new(Tally::new(0));
    let begins = Arc::clone(&begun);
    let waited = pool.submit(move || {
        begins.store(1, Relaxed);
        loom::explore();
        wait(handle);
        loom::stop_exploring();
    });
    while begun.load(Relaxed) == 0 {
        thread::yield_now();
    }
    act(&task, &watch);
    assert!(waited.join().is_ok() && watch.is_dropped());
    end(pool);
}

/// The only worker of a pool waits for a set of one. A thread outside wakes the future, which the worker polls.
#[test]
fn a_wake_against_a_wait_for_several() {
    small_model(Flavour::Strict, || {
        the_only_worker_waits(
            |handle| {
                assert!(
                    as_completed([handle])
                        .next()
                        .is_some_and(|(_, result)| result.is_ok())
                )
            },
            |task, watch| watch.raise(1, with_waker(task, Waker::clone)),
        );
    });
}

/// The only worker of a pool joins a future. A thread outside cancels the future, which the worker drops.
#[test]
fn a_cancel_against_a_join() {
    small_model(Flavour::Strict, || {
        the_only_worker_waits(
            |handle| assert!(handle.join().is_err_and(|error| error.is_cancelled())),
            |task, _| assert!(task.cancel(Cause::Cancelled)),
        );
    });
}

/// The only worker of a pool waits for a set of one. A thread outside cancels the future, which the worker drops.
#[test]
fn a_cancel_against_a_wait_for_several() {
    small_model(Flavour::Strict, || {
        the_only_worker_waits(
            |handle| {
                assert!(
                    as_completed([handle])
                        .next()
                        .is_some_and(|(_, result)| result.is_err())
                )
            },
            |task, _| assert!(task.cancel(Cause::Cancelled)),
        );
    });
}

/// Submits a future to the scope of a guest, and polls it, in one order of events only.
fn suspended_in(scope: &Scope<'_>, watch: &Arc<Watch>) -> JoinHandle<Dropped> {
    loom::stop_exploring();
    let handle = scope.submit_async(Until::new(1, watch)).into_inner();
    let member = context::member().expect("a guest");
    let entry = member.pop_task().expect("the entry");
    member.run_task(entry);
    loom::explore();
    handle
}

/// A thread outside cancels a suspended future for which a scope's owner waits.
#[test]
fn a_cancel_against_the_owner_of_a_scope() {
    small_model(Flavour::Strict, || {
        let pool = threadless();
        let watch = Arc::new(Watch::default());
        let mut other = None;
        as_owner(|| {
            pool.scope(|s| {
                let handle = suspended_in(s, &watch);
                let task = handle.task().clone();
                other = Some(outsider(0, move || task.cancel(Cause::Cancelled)));
            });
            assert!(watch.is_dropped());
        });
        other.map(|other| assert!(other.join().unwrap()));
    });
}

/// A scope's owner cancels a suspended future of the scope while a thread outside wakes it. That thread may queue the future when the scope is gone. The owner
/// takes the entry then, in another scope.
#[test]
fn a_wake_against_cancel_in_a_scope() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        let pool = threadless();
        let watch = Arc::new(Watch::default());
        let mut other = None;
        as_owner(|| {
            pool.scope(|s| {
                let handle = suspended_in(s, &watch);
                other = Some(raiser(0, 1, &handle, &watch));
                handle.cancel();
            });
            assert!(watch.is_dropped());
            other.map(|other| other.join().unwrap());
            let left = pool.registry().scope_injector.steal();
            mark.mark(if left.is_some() {
                "an entry left"
            } else {
                "none"
            });
            pool.install(|| {
                let member = context::member().expect("a guest");
                left.map(|entry| member.run_task(entry));
            });
        });
    });
    seen.check(&["an entry left", "none"]);
}
