//! Loom models of tasks with handles: each race that the state word decides, and the waits for the ends of tasks.
//!
//! A guest runs the tasks by `resolve`, as a worker does with a task from a queue. The pools start threads only in the models that are about these threads.

use super::handle::JoinHandle;
use super::options::Options;
use super::pending::Pending;
use super::several::as_completed;
use super::submit;
use super::token::CancelToken;
use crate::barrier::Flavour;
use crate::fork::{current_thread_index, yield_now};
use crate::job::{Fate, Task};
use crate::pool::models::{
    Gate, as_owner, end, model, outsider, pool, pool_that_cannot_start, small_model,
};
use crate::pool::worker;
use crate::pool::{ThreadPool, WhenFull, context};
use crate::sleep::Parker;
use crate::sync::Arc;
use crate::testing::{Place, Seen};
use loom::thread;
use std::future::Future;
use std::pin::Pin;
// Tallies are not part of what is modelled.
use std::sync::atomic::{AtomicUsize as Tally, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

mod endings;
mod futures;

/// A value that counts how often it is dropped.
struct Dropped(std::sync::Arc<Tally>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn idle_pool() -> std::sync::Arc<ThreadPool> {
    std::sync::Arc::new(pool_that_cannot_start(1, 0))
}

/// Starts a thread that runs the task, as if it had taken the task out of a queue.
fn runner(pool: &std::sync::Arc<ThreadPool>, number: usize, task: Task) -> thread::JoinHandle<()> {
    let pool = std::sync::Arc::clone(pool);
    outsider(number, move || {
        pool.install(|| {
            task.resolve(Fate::Run, None);
        });
    })
}

/// Makes a task with these options, which is in no queue.
fn with<T: Send + 'static>(
    pool: &ThreadPool,
    options: Options,
    f: impl FnOnce() -> T + Send + 'static,
) -> (Task, JoinHandle<T>) {
    let registry = pool.registry();
    let (task, handle) = submit::make(registry, None, options, f);
    registry.count(|counters| &counters.submitted, 1);
    task.get().register_cancellers();
    (task.into_task(), handle)
}

/// Makes a task without options, which is in no queue.
fn queued<T: Send + 'static>(
    pool: &ThreadPool,
    f: impl FnOnce() -> T + Send + 'static,
) -> (Task, JoinHandle<T>) {
    with(pool, Options::default(), f)
}

/// Makes a task whose closure and result are counted when they are dropped.
fn counted(pool: &ThreadPool) -> (Task, JoinHandle<Dropped>, std::sync::Arc<Tally>) {
    let drops = std::sync::Arc::new(Tally::new(0));
    let (closure, result) = (Dropped(drops.clone()), Dropped(drops.clone()));
    let (task, handle) = queued(pool, move || {
        drop(closure);
        result
    });
    (task, handle, drops)
}

#[test]
fn run_against_cancel() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        let pool = idle_pool();
        let (task, handle, drops) = counted(&pool);
        let runner = runner(&pool, 0, task);
        let cancelled = handle.cancel();
        let outcome = handle.join();
        assert_eq!(outcome.is_err(), cancelled);
        mark.mark(if cancelled { "cancelled" } else { "run" });
        drop(outcome);
        runner.join().unwrap();
        assert_eq!(drops.load(Relaxed), 2);
    });
    seen.check(&["cancelled", "run"]);
}

/// The result is published to the thread that reads the phase, and the waiter is woken.
#[test]
fn end_against_a_waiter() {
    small_model(Flavour::Strict, || {
        let pool = idle_pool();
        let place = Arc::new(Place::default());
        let write = Arc::clone(&place);
        let (task, handle) = queued(&pool, move || write.set(7));
        let runner = runner(&pool, 0, task);
        handle.join().unwrap();
        assert_eq!(place.get(), 7);
        runner.join().unwrap();
    });
}

#[test]
fn end_against_detach() {
    small_model(Flavour::Strict, || {
        let pool = idle_pool();
        let (task, handle, drops) = counted(&pool);
        let runner = runner(&pool, 0, task);
        drop(handle);
        runner.join().unwrap();
        assert_eq!(drops.load(Relaxed), 2);
    });
}

#[test]
fn cancel_against_cancel_and_run() {
    model(Flavour::Strict, || {
        let pool = idle_pool();
        let (task, handle, drops) = counted(&pool);
        let handle = std::sync::Arc::new(handle);
        let runner = runner(&pool, 0, task);
        let other = handle.clone();
        let second = thread::spawn(move || other.cancel());
        handle.cancel();
        second.join().unwrap();
        runner.join().unwrap();
        assert!(handle.is_finished());
        drop(handle);
        assert_eq!(drops.load(Relaxed), 2);
    });
}

#[derive(Default)]
struct Woken(Parker);

impl Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

/// A thread and a waker wait for the end of one task.
#[test]
fn end_against_a_waker_and_a_waiter() {
    model(Flavour::Strict, || {
        let pool = idle_pool();
        let (task, mut handle) = queued(&pool, || 7);
        let runner = runner(&pool, 0, task);
        let flag = std::sync::Arc::new(Woken::default());
        let waker = Waker::from(flag.clone());
        let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        match polled {
            Poll::Ready(result) => assert_eq!(result.unwrap(), 7),
            Poll::Pending => {
                assert_eq!(handle.join().unwrap(), 7);
                // The end wakes the waker too.
                flag.0.park();
            }
        }
        runner.join().unwrap();
    });
}

#[test]
fn end_against_on_finish() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        let pool = idle_pool();
        let called = std::sync::Arc::new(Tally::new(0));
        let (task, mut handle) = queued(&pool, || 7);
        let runner = runner(&pool, 0, task);
        let call = called.clone();
        handle.on_finish(move |outcome| {
            assert_eq!(*outcome.as_ref().unwrap(), 7);
            call.fetch_add(1, Relaxed);
        });
        mark.mark(if called.load(Relaxed) == 1 {
            "here"
        } else {
            "there"
        });
        assert_eq!(handle.join().unwrap(), 7);
        // The callback has returned before the handle reports the end.
        assert_eq!(called.load(Relaxed), 1);
        runner.join().unwrap();
    });
    seen.check(&["here", "there"]);
}

/// A deadline ends a task that is queued or running, or comes too late. The outcome is dropped once.
#[test]
fn end_against_deadline() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        // The pool has ended, so what it would drop later is dropped at once.
        loom::stop_exploring();
        let pool = idle_pool();
        pool.shutdown();
        loom::explore();
        let drops = std::sync::Arc::new(Tally::new(0));
        let (closure, result) = (Dropped(drops.clone()), Dropped(drops.clone()));
        // The deadline is so far away that the timer is not told of it. The model expires the task.
        let options = Options {
            deadline: Some(Duration::MAX),
            ..Options::default()
        };
        let (task, handle) = with(&pool, options, move || {
            drop(closure);
            result
        });
        let timer = handle.task().clone();
        let runner = runner(&pool, 0, task);
        timer.expire();
        drop(timer);
        let outcome = handle.join();
        mark.mark(if outcome.is_ok() { "in time" } else { "late" });
        drop(outcome);
        runner.join().unwrap();
        assert_eq!(drops.load(Relaxed), 2);
    });
    seen.check(&["in time", "late"]);
}

#[test]
fn two_ends_against_a_wait_for_both() {
    model(Flavour::Strict, || {
        let pool = idle_pool();
        let (one, first) = queued(&pool, || 1);
        let (two, second) = queued(&pool, || 2);
        let runners = [runner(&pool, 0, one), runner(&pool, 1, two)];
        let sum: i32 = as_completed([first, second])
            .map(|(_, result)| result.unwrap())
            .sum();
        assert_eq!(sum, 3);
        for runner in runners {
            runner.join().unwrap();
        }
    });
}

#[test]
fn an_arrival_against_park() {
    small_model(Flavour::Strict, || {
        let pool = idle_pool();
        let (task, handle) = queued(&pool, || 1);
        let runner = runner(&pool, 0, task);
        let mut pending = Pending::of([&handle]);
        assert!(pending.block(None));
        assert!(pending.take_finished().is_some());
        assert!(pending.take_finished().is_none());
        assert_eq!(handle.join().unwrap(), 1);
        runner.join().unwrap();
    });
}

#[test]
fn a_token_against_a_run() {
    small_model(Flavour::Strict, || {
        let pool = idle_pool();
        let token = CancelToken::new();
        let drops = std::sync::Arc::new(Tally::new(0));
        let result = Dropped(drops.clone());
        let options = Options {
            token: Some(token.clone()),
            ..Options::default()
        };
        let (task, handle) = with(&pool, options, move || result);
        let runner = runner(&pool, 0, task);
        token.cancel();
        let _ = handle.join();
        runner.join().unwrap();
        assert_eq!(drops.load(Relaxed), 1);
    });
}

/// A submitter waits for room in a full queue while a task leaves it, and while the pool is closed.
#[test]
fn a_full_gate_against_leave_and_close() {
    small_model(Flavour::Strict, || {
        let pool = bounded();
        pool.registry().admission.enter(false).unwrap();
        let other = pool.clone();
        let leaver = thread::spawn(move || other.registry().admission.leave());
        worker::block(&pool.registry().admission, None);
        assert!(pool.registry().admission.enter(false).is_ok());
        leaver.join().unwrap();
    });
    small_model(Flavour::Strict, || {
        let pool = bounded();
        pool.registry().admission.enter(false).unwrap();
        let other = pool.clone();
        let closer = thread::spawn(move || other.registry().admission.close());
        worker::block(&pool.registry().admission, None);
        assert!(pool.registry().admission.enter(false).is_err());
        closer.join().unwrap();
    });
}

/// Two submitters wait for room in turn.
#[test]
fn two_submitters_against_a_full_gate() {
    model(Flavour::Strict, || {
        let pool = bounded();
        pool.registry().admission.enter(false).unwrap();
        let submitters: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || {
                    while pool.registry().admission.enter(false).is_err() {
                        worker::block(&pool.registry().admission, None);
                    }
                    pool.registry().admission.leave();
                })
            })
            .collect();
        pool.registry().admission.leave();
        for submitter in submitters {
            submitter.join().unwrap();
        }
    });
}

fn bounded() -> std::sync::Arc<ThreadPool> {
    let pool = ThreadPool::builder()
        .num_threads(1)
        .spare_threads(0)
        .queue_capacity(1)
        .when_full(WhenFull::Block)
        .build();
    std::sync::Arc::new(pool.expect("a pool of one thread"))
}

/// The last thread that finds no work wakes the thread that waits for an idle pool.
#[test]
fn a_task_against_wait_idle() {
    model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let ran = std::sync::Arc::new(Tally::new(0));
        let run = ran.clone();
        pool.spawn(move || {
            run.fetch_add(1, Relaxed);
        });
        pool.wait_idle();
        assert_eq!(ran.load(Relaxed), 1);
    });
}

/// A task that is submitted during a shutdown is run or cancelled.
#[test]
fn submit_against_shutdown() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        loom::stop_exploring();
        let pool = std::sync::Arc::new(pool(1, 0));
        // The worker has a thread.
        pool.broadcast(|_| ());
        loom::explore();
        let other = pool.clone();
        let submitter = outsider(0, move || other.submit(|| 7));
        pool.shutdown();
        let handle = submitter.join().unwrap();
        // Both have returned, so the task has ended.
        assert!(handle.is_finished());
        mark.mark(match handle.join() {
            Ok(_) => "run",
            Err(_) => "cancelled",
        });
    });
    seen.check(&["run", "cancelled"]);
}

/// While tombstones are swept out of a deque, a task that stays is in no queue for a moment. A worker that looks then, finds nothing and parks, is woken for the
/// task: the sweeper does nothing until the task has run.
#[test]
fn a_sweep_against_a_thief_that_parks() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = pool(2, 0);
        let gate = Gate::default();
        let open = gate.clone();
        as_owner(|| {
            pool.scope(|s| {
                let dead = s.submit(|_| current_thread_index());
                s.spawn(move |_| open.open());
                let here = dead.join().unwrap().is_none();
                mark.mark(if here { "run here" } else { "stolen" });
                gate.pass();
            });
        });
        end(pool);
    });
    seen.check(&["run here", "stolen"]);
}

/// A deque is swept while one of its tasks is cancelled and a thief takes another. Each closure and result is dropped once.
#[test]
fn a_sweep_against_cancel_and_steal() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        // A pool that has ended starts no thread.
        loom::stop_exploring();
        let pool = idle_pool();
        pool.shutdown();
        loom::explore();
        let (first, joined) = queued(&pool, || 1);
        let (second, cancelled, drops) = counted(&pool);
        let (third, stolen, more_drops) = counted(&pool);
        as_owner(|| {
            pool.install(|| {
                let member = context::member().expect("a guest");
                for task in [third, first, second] {
                    member.push_detached(task);
                }
                let canceller = thread::spawn(move || {
                    cancelled.cancel();
                });
                let handle = pool.clone();
                let mark = mark.clone();
                let thief = outsider(0, move || {
                    let found = handle.install(yield_now);
                    mark.mark(if found { "stolen" } else { "nothing there" });
                });
                // Runs the task and sweeps the deque.
                assert_eq!(joined.join().unwrap(), 1);
                while let Some(task) = member.pop_detached() {
                    member.run_task(task);
                }
                canceller.join().unwrap();
                thief.join().unwrap();
            });
        });
        drop(stolen);
        assert_eq!((drops.load(Relaxed), more_drops.load(Relaxed)), (2, 2));
    });
    seen.check(&["stolen", "nothing there"]);
}

/// A task of a scope has spawned another one and sweeps its deque, so that the other one is in no queue for a moment. The scope's owner, which parks then, is woken:
/// there is no other thread, and the sweeper does nothing until the other task has run.
#[test]
fn a_sweep_against_a_scopes_owner() {
    model(Flavour::Strict, || {
        // A pool that has ended starts no thread.
        loom::stop_exploring();
        let pool = idle_pool();
        pool.shutdown();
        let (begun, gate) = (Gate::default(), Gate::default());
        let handle = pool.clone();
        let helper = outsider(0, move || {
            handle.install(|| {
                while !yield_now() {
                    thread::yield_now();
                }
            });
        });
        as_owner(|| {
            pool.scope(|s| {
                let (begin, open) = (begun.clone(), gate.clone());
                let (dead, joined) = queued(&pool, || ());
                s.spawn(move |s| {
                    let gate = open.clone();
                    let member = context::member().expect("a guest");
                    s.spawn(move |_| open.open());
                    member.push_detached(dead);
                    begin.open();
                    joined.join().unwrap();
                    gate.pass();
                });
                // The helper has taken the task.
                begun.pass();
                loom::explore();
            });
        });
        helper.join().unwrap();
        end(pool);
    });
}

/// A shutdown waits for a closure that another thread drops, and sees the effects of its destructor.
#[test]
fn the_end_of_a_late_closure_against_a_shutdown() {
    small_model(Flavour::Strict, || {
        let pool = idle_pool();
        let place = Arc::new(Place::default());
        pool.registry().begin_late();
        let (own, write) = (pool.clone(), Arc::clone(&place));
        let dropper = outsider(0, move || {
            write.set(7);
            own.registry().end_late();
        });
        assert!(pool.registry().wait_late(None));
        assert_eq!(place.get(), 7);
        dropper.join().unwrap();
    });
}
