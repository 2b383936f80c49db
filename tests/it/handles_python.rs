//! The cases of CPython's `test_concurrent_futures`, by their names, in terms of this crate. Those about executors are in `pool_python`.
//!
//! # Apply
//! Each case is tested under its name without `test_`.
//!
//! - `test_future.py`: `done_callback_with_result`, `done_callback_with_exception`, `done_callback_with_cancel`,
//!   `done_callback_raises`, `done_callback_already_successful`, `done_callback_already_failed`,
//!   `done_callback_already_cancelled`, `done_callback_raises_already_succeeded`, `cancel`, `cancelled`, `done`, `running`,
//!   `result_with_timeout`, `result_with_success`, `result_with_cancel`, `exception_with_timeout`, `exception_with_success`.
//! - `test_wait.py`: `first_completed`, `first_completed_some_already_completed`, `first_exception`,
//!   `first_exception_some_already_complete`, `first_exception_one_already_failed`, `all_completed`, `timeout`,
//!   `pending_calls_race`.
//! - `test_as_completed.py`: `no_timeout`, `future_times_out`, `free_reference_yielded_future`.
//! - `executor.py`: `submit`, `map`, `map_exception`, `map_timeout`, `shutdown_race_issue12456`, `no_stale_references`,
//!   `free_reference`, and of the newer ones `map_buffersize`, `map_buffersize_on_empty_iterable`,
//!   `map_buffersize_on_infinite_iterable`, `map_buffersize_when_buffer_is_full`.
//! - `test_thread_pool.py`: `saturation`, `idle_thread_reuse`, `executor_map_current_future_cancel`.
//! - `test_shutdown.py`: `run_after_shutdown`, `hang_issue12364`, `cancel_futures`, `hang_gh94440`, `threads_terminate`,
//!   `context_manager_shutdown`, `del_shutdown`, `shutdown_no_wait`, `cancel_futures_wait_false`, `thread_names_assigned`, `thread_names_default`.
//! - `test_init.py`: `initializer`.
//!
//! # Differ
//! - `wait`'s `CANCELLED_FUTURE` cases: there a future that was cancelled and not yet seen by a worker counts as pending; here it has finished.
//! - `first_exception*`: there a cancelled future is no exception and does not end the wait; here it has no result, so it does. The case with a
//!   cancelled one is tested without it as well, and then waits for the exception as there.
//! - `future_times_out`, `correct_timeout_exception_msg`: there an exception; here the iterator ends, and `unfinished` has the handles.
//! - `map_exception`: there the iterator is over after the exception; here the items after it follow.
//! - `map_timeout`: there an exception; here one last item that is an error.
//! - `map_submits_without_iteration`: there `map` submits all input at once; here nothing is pulled before the first `next`, so nothing is
//!   left to run (`submit_many` is the eager one).
//! - `map_buffersize_when_buffer_is_full`: there the buffer is filled by the call of `map`; here by the first `next`. Then it holds as many.
//! - `del_shutdown`: there the last reference goes without waiting for the work, and the test joins the threads; here the drop waits for the work and joins the
//!   threads, as `shutdown` does. The results are the same.
//! - `del_shutdown`, `shutdown_no_wait`: there `map` submits all at once; here `submit_many` does.
//! - `run_after_shutdown`: there `submit` raises; here the handle resolves to an error, and `try_submit` gives the closure back.
//! - `max_workers_negative`: there 0 is an error; here 0 is the automatic size, and less does not compile.
//! - `default_workers`: there the processors and four; here the processors.
//! - `idle_thread_reuse`: there a worker counts as idle before its task's result is seen; here only when it sleeps, so the test waits for that.
//! - `thread_names_default`: there each pool's threads have a number of the pool in their names; here all are `heist-{index}`, as documented.
//! - `FailingInitializerMixin`: there a failing initializer breaks the pool, and its futures fail; here the panic of a start hook goes to the
//!   panic handler, and the thread works.
//! - `map_buffersize_value_validation`: there 0 is an error; here it is 1.
//! - `repr`: there it says the state and type; here whether it has finished, its id and its name.
//! - `interpreter_shutdown`, `hang_gh83386`, `cancel_futures_wait_false`: there the exit waits for running tasks; here `main`'s end is the
//!   end, as for every thread, unless the pool is dropped before, as the test of the last one does.
//!
//! # Do not apply
//! - `multiple_set_result`, `multiple_set_exception`, `get_snapshot`: only the pool sets a result.
//! - `wait`'s `20369`, `duplicate_futures`: a handle cannot be in a list twice.
//! - `submit_keyword`, `class_str`, `map_buffersize_type_validation`: no keyword arguments, no classes, the compiler checks types.
//! - `submit_after_interpreter_shutdown`, `hang_global_shutdown_lock`, `process_fork_from_a_threadpool`: no interpreter; for fork see `tests/fork.rs`.
//! - `map_buffersize_on_multiple_iterables` and similar cases: one input, zipped by the caller.
//! - Everything of `ProcessPool*` and `test_deadlock.py`: this crate has threads only.

use crate::support::{
    Gate, Held, LONG, SOON, hold_all, on_pool, on_pool_of, payload_text, running, threads,
};
use heist::{JoinError, JoinHandle, ThreadPool, WaitFor, as_completed, wait};
use std::panic::resume_unwind;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

fn successful(pool: &ThreadPool) -> JoinHandle<u32> {
    let handle = pool.submit(|| 42);
    assert!(handle.wait_timeout(LONG));
    handle
}

fn failed(pool: &ThreadPool) -> JoinHandle<u32> {
    let handle = pool.submit(|| resume_unwind(Box::new("OSError")));
    assert!(handle.wait_timeout(LONG));
    handle
}

fn cancelled(pool: &ThreadPool) -> JoinHandle<u32> {
    let token = heist::CancelToken::new();
    token.cancel();
    pool.task().token(&token).submit(|| 0)
}

/// A task that does not begin before its gate opens.
fn pending(pool: &ThreadPool) -> (JoinHandle<u32>, Held) {
    let held = hold_all(pool);
    (pool.submit(|| 1), held)
}

/// An outcome as text.
fn told(outcome: &Result<u32, JoinError>) -> String {
    match outcome {
        Ok(value) => value.to_string(),
        Err(error) if error.is_cancelled() => "cancelled".to_owned(),
        Err(error) => error.to_string().split(' ').next_back().unwrap().to_owned(),
    }
}

/// The outcome that a callback gets. `end` ends the task after the callback is added.
fn heard(handle: &mut JoinHandle<u32>, end: impl FnOnce(&JoinHandle<u32>)) -> String {
    let (said, says) = mpsc::channel();
    handle.on_finish(move |outcome| said.send(told(outcome)).unwrap());
    end(handle);
    says.recv().unwrap()
}

#[test]
fn done_callback_with_result() {
    on_pool(|pool| {
        let (mut handle, gate) = running(pool);
        assert_eq!(heard(&mut handle, |_| gate.open()), "1");
    });
}

#[test]
fn done_callback_with_exception() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let mut handle = pool.submit(|| resume_unwind(Box::new("test")));
        assert_eq!(heard(&mut handle, |_| held.open()), "test");
    });
}

#[test]
fn done_callback_with_cancel() {
    on_pool(|pool| {
        let (mut handle, _gate) = pending(pool);
        let told = heard(&mut handle, |handle| assert!(handle.cancel()));
        assert_eq!(told, "cancelled");
    });
}

#[test]
fn done_callback_raises() {
    on_pool(|pool| {
        let (mut handle, gate) = running(pool);
        handle.on_finish(|_| resume_unwind(Box::new("doh!")));
        assert_eq!(heard(&mut handle, |_| gate.open()), "1");
        assert_eq!(handle.join().unwrap(), 1);
        assert_eq!(pool.stats().lost_panics, 1);
    });
}

#[test]
fn done_callback_already_successful() {
    on_pool(|pool| assert_eq!(heard(&mut successful(pool), |_| ()), "42"));
}

#[test]
fn done_callback_already_failed() {
    on_pool(|pool| assert_eq!(heard(&mut failed(pool), |_| ()), "OSError"));
}

#[test]
fn done_callback_already_cancelled() {
    on_pool(|pool| assert_eq!(heard(&mut cancelled(pool), |_| ()), "cancelled"));
}

#[test]
fn done_callback_raises_already_succeeded() {
    on_pool(|pool| {
        let mut handle = successful(pool);
        handle.on_finish(|_| resume_unwind(Box::new("doh!")));
        assert_eq!(pool.stats().lost_panics, 1);
        assert_eq!(handle.join().unwrap(), 42);
    });
}

/// The answers of handles in each state: pending, cancelled, failed, successful.
fn asked<R>(pool: &ThreadPool, question: impl Fn(JoinHandle<u32>) -> R) -> Vec<R> {
    let waiting = {
        let (handle, _gate) = pending(pool);
        question(handle)
    };
    let runs = {
        let (handle, _gate) = running(pool);
        question(handle)
    };
    let ended = [cancelled(pool), failed(pool), successful(pool)].map(question);
    [waiting, runs].into_iter().chain(ended).collect()
}

#[test]
fn cancel() {
    on_pool(|pool| {
        let answers = asked(pool, |handle| (handle.cancel(), handle.is_cancelled()));
        let (yes, no) = ((true, true), (false, false));
        assert_eq!(answers, [yes, no, yes, no, no]);
    });
}

#[test]
fn questions_of_cancelled_done_and_running() {
    on_pool(|pool| {
        let cancelled = asked(pool, |handle| handle.is_cancelled());
        assert_eq!(cancelled, [false, false, true, false, false]);
        let done = asked(pool, |handle| handle.is_finished());
        assert_eq!(done, [false, false, true, true, true]);
        let running = asked(pool, |handle| handle.is_running());
        assert_eq!(running, [false, true, false, false, false]);
    });
}

#[test]
fn result_and_exception_with_timeout() {
    on_pool(|pool| {
        let answers = asked(pool, |handle| match handle.join_timeout(Duration::ZERO) {
            Ok(outcome) => told(&outcome),
            Err(_) => "timeout".to_owned(),
        });
        assert_eq!(
            answers,
            ["timeout", "timeout", "cancelled", "OSError", "42"]
        );
    });
}

#[test]
fn result_with_success() {
    on_pool(|pool| {
        let (handle, gate) = running(pool);
        let setter = thread::spawn(move || gate.open());
        assert_eq!(handle.join_timeout(LONG).unwrap().unwrap(), 1);
        setter.join().unwrap();
    });
}

#[test]
fn result_with_cancel() {
    on_pool(|pool| {
        let (handle, _gate) = pending(pool);
        let handle = Arc::new(handle);
        let other = Arc::clone(&handle);
        let canceller = thread::spawn(move || other.cancel());
        assert!(handle.wait_timeout(LONG));
        assert!(canceller.join().unwrap());
        let handle = Arc::into_inner(handle).unwrap();
        assert!(handle.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn exception_with_success() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handle = pool.submit(|| -> u32 { resume_unwind(Box::new("OSError")) });
        let setter = thread::spawn(move || held.open());
        let error = handle.join_timeout(LONG).unwrap().unwrap_err();
        assert_eq!(payload_text(&*error.into_panic()), "OSError");
        setter.join().unwrap();
    });
}

#[test]
fn first_completed() {
    on_pool_of(threads().max(2), |pool| {
        let (waits, gate) = running(pool);
        let handles = [pool.submit(|| 42), waits];
        let waited = wait(&handles, WaitFor::First, None);
        assert_eq!((waited.done, waited.pending), (vec![0], vec![1]));
        drop(gate);
        // A cancelled task has finished, so the wait ends before the other task begins.
        let (waits, _open) = pending(pool);
        let handles = [cancelled(pool), waits];
        let waited = wait(&handles, WaitFor::First, None);
        assert_eq!((waited.done, waited.pending), (vec![0], vec![1]));
    });
}

#[test]
fn first_completed_some_already_completed() {
    on_pool(|pool| {
        let ended = [cancelled(pool), successful(pool)];
        let (waits, _gate) = running(pool);
        let handles: Vec<_> = ended.into_iter().chain([waits]).collect();
        let waited = wait(&handles, WaitFor::First, None);
        assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![2]));
    });
}

#[test]
fn first_exception() {
    on_pool_of(threads().max(3), |pool| {
        let (waits, _gate) = running(pool);
        let go = Held(Gate::default());
        let gate = go.0.clone();
        let first = pool.submit(|| 42);
        let raises = pool.submit(move || {
            gate.pass();
            resume_unwind(Box::new("this is an exception"))
        });
        let handles = Arc::new([first, raises, waits]);
        let seen = Arc::clone(&handles);
        let opener = thread::spawn(move || {
            assert!(seen[0].wait_timeout(LONG));
            go.open();
        });
        let waited = wait(&*handles, WaitFor::FirstError, None);
        assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![2]));
        opener.join().unwrap();
    });
}

#[test]
fn first_exception_some_already_complete() {
    on_pool_of(threads().max(2), |pool| {
        let (waits, gate) = running(pool);
        let ended = [successful(pool), cancelled(pool)];
        let raises = pool.submit(|| resume_unwind(Box::new("ZeroDivisionError")));
        let handles: Vec<_> = ended.into_iter().chain([raises, waits]).collect();
        let waited = wait(&handles, WaitFor::FirstError, None);
        // The cancelled task is an error too. The other task may or may not have panicked by then.
        assert!(waited.done.starts_with(&[0, 1]) && waited.pending.ends_with(&[3]));
        drop(gate);
        let (waits, _gate) = running(pool);
        let raises = pool.submit(|| resume_unwind(Box::new("ZeroDivisionError")));
        let handles = [successful(pool), raises, waits];
        let waited = wait(&handles, WaitFor::FirstError, None);
        assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![2]));
    });
}

#[test]
fn first_exception_one_already_failed() {
    on_pool(|pool| {
        let ended = failed(pool);
        let (waits, _gate) = running(pool);
        let waited = wait(&[ended, waits], WaitFor::FirstError, None);
        assert_eq!((waited.done, waited.pending), (vec![0], vec![1]));
    });
}

#[test]
fn all_completed() {
    on_pool(|pool| {
        let handles = [
            successful(pool),
            cancelled(pool),
            failed(pool),
            pool.submit(|| resume_unwind(Box::new("ZeroDivisionError"))),
            pool.submit(|| 42),
        ];
        let waited = wait(&handles, WaitFor::All, None);
        assert_eq!((waited.done, waited.pending), ((0..5).collect(), vec![]));
    });
}

#[test]
fn timeout() {
    on_pool(|pool| {
        let ended = [cancelled(pool), failed(pool), successful(pool)];
        let (waits, _gate) = running(pool);
        let handles: Vec<_> = ended.into_iter().chain([waits]).collect();
        let waited = wait(&handles, WaitFor::All, Some(SOON));
        assert_eq!((waited.done, waited.pending), (vec![0, 1, 2], vec![3]));
    });
}

#[test]
fn pending_calls_race() {
    on_pool(|pool| {
        for _ in 0..20 {
            let held = Held(Gate::default());
            let handles: Vec<_> = (0..100)
                .map(|_| {
                    let gate = held.0.clone();
                    pool.submit(move || gate.pass())
                })
                .collect();
            held.open();
            assert_eq!(wait(&handles, WaitFor::All, None).done.len(), 100);
        }
    });
}

#[test]
fn no_timeout() {
    on_pool(|pool| {
        let handles = [
            cancelled(pool),
            failed(pool),
            successful(pool),
            pool.submit(|| 2 * 21),
            pool.submit(|| 7 * 6),
        ];
        let mut seen: Vec<_> = as_completed(handles).map(|(index, _)| index).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn future_times_out() {
    on_pool(|pool| {
        for limit in [Duration::ZERO, SOON] {
            let ended = [cancelled(pool), failed(pool), successful(pool)];
            let (waits, _gate) = running(pool);
            let mut all = as_completed(ended.into_iter().chain([waits])).timeout(limit);
            let seen: Vec<_> = all.by_ref().map(|(index, _)| index).collect();
            assert_eq!(seen, [0, 1, 2]);
            assert!(all.timed_out());
            // "1 (of 4) futures unfinished"
            assert_eq!(all.unfinished().len(), 1);
        }
    });
}

#[test]
fn free_reference_yielded_future() {
    on_pool(|pool| {
        let handles: Vec<_> = (0..10).map(|n| pool.submit(move || Arc::new(n))).collect();
        for (index, outcome) in as_completed(handles) {
            let value = outcome.unwrap();
            assert_eq!((Arc::strong_count(&value), *value), (1, index));
        }
    });
}
