//! Loom models of the ends of futures from outside: by a deadline, and by the end of the pool.

use super::futures::{Until, Watch, raiser, suspend, threadless, until, waker};
use super::runner;
use crate::barrier::Flavour;
use crate::executor::options::Options;
use crate::executor::task::TaskRef;
use crate::job::Fate;
use crate::pool::ThreadPool;
use crate::pool::models::{as_owner, model, outsider, pool, small_model};
use crate::testing::Seen;
use loom::thread;
use std::sync::Arc;
use std::time::Duration;

// ---- deadlines ----

/// A deadline so far away that the timer is not told of it. The model expires the task.
fn timed() -> Options {
    Options {
        deadline: Some(Duration::MAX),
        ..Options::default()
    }
}

/// The deadline of a future passes before, during or after a poll in which the future is ready.
#[test]
fn a_deadline_against_a_last_poll() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, timed(), 0);
        let timer = handle.task().clone();
        let runner = runner(&pool, 0, task);
        expire(timer);
        let is_ready = handle.join().is_ok();
        mark.mark(if is_ready { "in time" } else { "late" });
        runner.join().unwrap();
        assert!(watch.is_dropped());
    });
    seen.check(&["in time", "late"]);
}

/// The deadline of a future passes before, during or after a poll in which the future is not ready.
#[test]
fn a_deadline_against_a_poll() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, timed(), 1);
        let timer = handle.task().clone();
        let runner = runner(&pool, 0, task);
        expire(timer);
        runner.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        assert!(handle.join().is_err_and(|error| error.is_timeout()));
        mark.mark(match watch.steps.get() {
            1 => "never polled",
            _ => "polled",
        });
        assert_eq!(pool.stats().suspended, 0);
    });
    seen.check(&["never polled", "polled"]);
}

/// The timer looks at a future while it is polled, and goes on once the future is suspended.
#[test]
fn a_deadline_on_the_timer_against_a_poll() {
    model(Flavour::Strict, || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, timed(), 1);
        let timer = handle.task().clone();
        let other = outsider(0, move || expire(timer));
        as_owner(|| pool.install(|| task.resolve(Fate::Run, None)));
        other.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        assert!(handle.join().is_err_and(|error| error.is_timeout()));
        assert_eq!(pool.stats().suspended, 0);
    });
}

/// The deadline of a suspended future passes while the future is woken.
#[test]
fn a_deadline_against_a_wake() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, timed(), 1);
        suspend(&pool, task);
        let timer = handle.task().clone();
        let other = raiser(0, 1, &handle, &watch);
        expire(timer);
        other.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        let is_ready = handle.join().is_ok();
        mark.mark(if is_ready { "in time" } else { "late" });
        assert_eq!(pool.stats().suspended, 0);
    });
    seen.check(&["in time", "late"]);
}

/// The deadline of a suspended future passes while the future is cancelled.
#[test]
fn a_deadline_against_cancel() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, timed(), 1);
        suspend(&pool, task);
        let timer = handle.task().clone();
        let other = outsider(0, move || expire(timer));
        let cancelled = handle.cancel();
        other.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        let error = handle.join().map(drop).unwrap_err();
        assert_eq!(
            (error.is_cancelled(), error.is_timeout()),
            (cancelled, !cancelled)
        );
        mark.mark(if cancelled { "cancelled" } else { "late" });
    });
    seen.check(&["cancelled", "late"]);
}

/// A future is woken, and then its deadline passes, while another thread polls it.
#[test]
fn a_deadline_against_a_wake_and_a_poll() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, timed(), 1);
        let timer = handle.task().clone();
        let runner = runner(&pool, 0, task);
        watch.raise(1, waker(&handle));
        expire(timer);
        runner.join().unwrap();
        assert!(handle.is_finished() && watch.is_dropped());
        let is_ready = handle.join().is_ok();
        mark.mark(if is_ready { "in time" } else { "late" });
    });
    seen.check(&["in time", "late"]);
}

/// What the timer does when the deadline has passed.
fn expire(task: TaskRef) {
    task.expire();
}

// ---- the end of the pool ----

/// The way in which a model ends its pool.
type Ending = fn(&ThreadPool);

/// The pool ends while a thread outside wakes a suspended future. Returns whether the future was ready.
fn a_wake_against_the_end(ending: Ending) -> bool {
    let pool = threadless();
    let (task, handle, watch) = until(&pool, Options::default(), 1);
    suspend(&pool, task);
    let other = raiser(0, 1, &handle, &watch);
    ending(&pool);
    let is_ready = handle.join().is_ok();
    other.join().unwrap();
    assert!(watch.is_dropped());
    drop(pool);
    is_ready
}

/// A shutdown waits for a suspended future.
#[test]
fn a_wake_against_shutdown() {
    small_model(Flavour::Strict, || {
        assert!(a_wake_against_the_end(ThreadPool::shutdown));
    });
}

/// A closed pool that has a suspended future ends when the future has ended.
#[test]
fn a_wake_against_close() {
    model(Flavour::Strict, || {
        assert!(a_wake_against_the_end(ThreadPool::close));
    });
}

#[test]
fn a_wake_against_shutdown_now() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let is_ready = a_wake_against_the_end(|pool| _ = pool.shutdown_now());
        mark.mark(if is_ready { "ready" } else { "dropped" });
    });
    seen.check(&["ready", "dropped"]);
}

#[test]
fn a_wake_against_close_now() {
    let seen = Seen::default();
    let mark = seen.clone();
    model(Flavour::Strict, move || {
        let is_ready = a_wake_against_the_end(|pool| _ = pool.close_now());
        mark.mark(if is_ready { "ready" } else { "dropped" });
    });
    seen.check(&["ready", "dropped"]);
}

/// A pool that drops its futures ends during the first poll of one that is never woken.
#[test]
fn shutdown_now_against_a_first_poll() {
    small_model(Flavour::Strict, || {
        let pool = threadless();
        let (task, handle, watch) = until(&pool, Options::default(), 1);
        let runner = runner(&pool, 0, task);
        pool.shutdown_now();
        assert!(handle.join().is_err());
        runner.join().unwrap();
        assert!(watch.is_dropped());
    });
}

/// A thread of the pool polls a future that another thread wakes, and that thread closes the pool then. The pool's thread ends when the future is ready.
#[test]
fn a_worker_polls_what_a_closing_thread_has_woken() {
    model(Flavour::Strict, || {
        let pool = pool(1, 0);
        let watch = Arc::new(Watch::default());
        let handle = pool.submit_async(Until::new(1, &watch));
        watch.raise(1, waker(&handle));
        pool.shutdown();
        assert!(handle.join().is_ok() && watch.is_dropped());
    });
}

/// Two threads submit futures while a third one closes the pool. The closing thread learns of each future that is admitted.
#[test]
fn the_use_of_a_roster_against_close() {
    let seen = Seen::default();
    let mark = seen.clone();
    small_model(Flavour::Strict, move || {
        let pool = threadless();
        let submitters = [0, 1].map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let registry = pool.registry();
                registry.roster.begin_use();
                registry.admission.enter(false).is_ok()
            })
        });
        pool.registry().admission.close();
        let is_used = pool.registry().roster.is_used();
        let admitted = submitters.map(|submitter| submitter.join().unwrap());
        assert!(is_used || admitted == [false, false]);
        mark.mark(if is_used { "used" } else { "unused" });
    });
    seen.check(&["used", "unused"]);
}
