//! What CPython's `test_concurrent_futures` pins, by the names of its cases, in this crate's terms.
//!
//! # Apply
//! Each is tested here, under its own name without `test_`.
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
//!   `context_manager_shutdown`, `del_shutdown`, `shutdown_no_wait`, `thread_names_assigned`, `thread_names_default`.
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
//! - `del_shutdown`: there the last reference goes without waiting for the work; here the drop waits, as `shutdown` does.
//! - `shutdown_no_wait`: there `shutdown(wait=False)`; here `shutdown_timeout` with no time. A `shutdown_now` that does not wait does not exist:
//!   cancel a token of the tasks first.
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
//!   end, as for every thread, unless the pool is dropped before.
//!
//! # Do not apply
//! - `multiple_set_result`, `multiple_set_exception`, `get_snapshot`: nobody but the pool sets a result.
//! - `wait`'s `20369`, `duplicate_futures`: a handle cannot be in a list twice.
//! - `submit_keyword`, `class_str`, `map_buffersize_type_validation`: no keyword arguments, no classes, the compiler checks types.
//! - `submit_after_interpreter_shutdown`, `hang_global_shutdown_lock`, `process_fork_from_a_threadpool`: no interpreter; for fork see `tests/fork.rs`.
//! - `map_buffersize_on_multiple_iterables` and its kin: one input, zipped by the caller.
//! - Everything of `ProcessPool*` and `test_deadlock.py`: threads only.

use crate::support::{
    Gate, Held, hold_all, named_pool, on_pool, on_pool_of, payload_text, pool_with, spin_until,
    threads, threads_named, watched,
};
use heist::{JoinError, JoinHandle, ThreadPool, WaitFor, as_completed, wait};
use std::cell::Cell;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(40);

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

/// Runs until its gate opens.
fn running(pool: &ThreadPool) -> (JoinHandle<u32>, Held) {
    let held = Held(Gate::default());
    let gate = held.0.clone();
    let handle = pool.submit(move || {
        gate.pass();
        1
    });
    spin_until(|| handle.is_running());
    (handle, held)
}

/// Does not begin before its gate opens.
fn pending(pool: &ThreadPool) -> (JoinHandle<u32>, Held) {
    let held = hold_all(pool);
    (pool.submit(|| 1), held)
}

/// How an outcome looks to a callback.
fn told(outcome: &Result<u32, JoinError>) -> String {
    match outcome {
        Ok(value) => value.to_string(),
        Err(error) if error.is_cancelled() => "cancelled".to_owned(),
        Err(error) => error.to_string().split(' ').next_back().unwrap().to_owned(),
    }
}

/// What a callback hears that is added before or after the end.
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

/// A question to a handle in each state: pending, running, cancelled, failed, successful.
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
        // A cancelled one has finished: the wait is over before the other one begins.
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
        // The cancelled one is an error too: whether the other one has been raised by then is open.
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

#[test]
fn submit() {
    on_pool(|pool| assert_eq!(pool.submit(|| 2_u32.pow(8)).join().unwrap(), 256));
}

#[test]
fn map() {
    on_pool(|pool| {
        let expected: Vec<u64> = (0..10).map(|n: u64| n.pow(n as u32)).collect();
        let pow = |(base, exponent): (u64, u32)| base.pow(exponent);
        for chunk in [1, 3] {
            let results = pool.imap((0..10).zip(0..10), pow).chunk(chunk);
            assert!(results.map(Result::unwrap).eq(expected.iter().copied()));
        }
        let input: Vec<(u64, u32)> = (0..10).zip(0..10).collect();
        assert_eq!(pool.map(input, pow), expected);
    });
}

#[test]
fn map_exception() {
    on_pool(|pool| {
        let divmod = |(a, b): (u32, u32)| (a / b, a % b);
        let mut results = pool.imap([(1, 2), (1, 3), (1, 0), (1, 5)], divmod);
        assert_eq!(results.next().unwrap().unwrap(), (0, 1));
        assert_eq!(results.next().unwrap().unwrap(), (0, 1));
        assert!(results.next().unwrap().unwrap_err().is_panic());
        assert_eq!(results.next().unwrap().unwrap(), (0, 1));
        assert!(results.next().is_none());
    });
}

#[test]
fn map_timeout() {
    on_pool(|pool| {
        let held = Held(Gate::default());
        let gate = held.0.clone();
        let f = move |slow| {
            if slow {
                gate.pass();
            }
        };
        // Far longer than two empty calls take.
        let limit = Duration::from_millis(500);
        let results = pool.imap([false, false, true], f).timeout(limit);
        let results: Vec<_> = results
            .map(|result| result.map_err(|e| e.is_timeout()))
            .collect();
        assert_eq!(results, [Ok(()), Ok(()), Err(true)]);
    });
}

#[test]
fn shutdown_race_issue12456() {
    watched(|| {
        for _ in 0..50 {
            let pool = pool_with(|b| b);
            drop(pool.submit_many((0..threads() + 1).map(|_| || 2.to_string())));
            pool.shutdown();
            assert_eq!(pool.stats().completed as usize, threads() + 1);
        }
    });
}

#[test]
fn no_stale_references() {
    on_pool(|pool| {
        let object = Arc::new(());
        let weak = Arc::downgrade(&object);
        pool.submit(move || drop(Arc::clone(&object))).detach();
        spin_until(|| weak.strong_count() == 0);
    });
}

#[test]
fn free_reference() {
    on_pool(|pool| {
        for result in pool.imap(0..10, Arc::new) {
            let weak = Arc::downgrade(&result.unwrap());
            assert!(weak.upgrade().is_none());
        }
    });
}

#[test]
fn map_buffersize() {
    on_pool(|pool| {
        for size in [1, 2, 4, 8] {
            let results = pool.imap(0..4, |n| n.to_string()).window(size);
            assert!(results.map(Result::unwrap).eq(["0", "1", "2", "3"]));
        }
    });
}

#[test]
fn map_buffersize_on_empty_iterable() {
    on_pool(|pool| assert!(pool.imap(0..0, |n| n).window(4).next().is_none()));
}

#[test]
fn map_buffersize_on_infinite_iterable() {
    on_pool(|pool| {
        let mut results = pool.imap(0_u64.., |n| n.to_string()).window(4);
        for expected in ["0", "1", "2"] {
            assert_eq!(results.next().unwrap().unwrap(), expected);
        }
    });
}

#[test]
fn map_buffersize_when_buffer_is_full() {
    on_pool(|pool| {
        let taken = Cell::new(0);
        let input = (0..8).inspect(|_| taken.set(taken.get() + 1));
        let held = hold_all(pool);
        let gate = Held(Gate::default());
        let stands = gate.0.clone();
        let f = move |n| {
            if n > 0 {
                stands.pass();
            }
            n
        };
        let mut results = pool.imap(input, f).window(4);
        assert_eq!(taken.get(), 0);
        // No item has finished before the buffer is full, and one more is taken for each that is given out.
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert_eq!(taken.get(), 4);
        held.open();
        gate.open();
        for given in 1..8 {
            assert_eq!(results.next().unwrap().unwrap(), given);
            assert!(taken.get() <= (given + 4).min(8));
        }
        assert!(results.next().is_none());
        assert_eq!(taken.get(), 8);
    });
}

#[test]
fn saturation() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(4).spare_threads(0));
        let held = Held(Gate::default());
        for _ in 0..15 * 4 {
            let gate = held.0.clone();
            pool.spawn(move || gate.pass());
        }
        // Each that starts has the next one started.
        spin_until(|| threads_named(&name) == 4);
        held.open();
        pool.shutdown();
        assert_eq!(pool.stats().completed, 15 * 4);
    });
}

#[test]
fn idle_thread_reuse() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(8));
        for (a, b) in [(21, 2), (6, 7), (3, 14)] {
            assert_eq!(pool.submit(move || a * b).join().unwrap(), 42);
            spin_until(|| pool.stats().active == 0);
        }
        assert_eq!(threads_named(&name), 1);
    });
}

#[test]
fn executor_map_current_future_cancel() {
    on_pool_of(1, |pool| {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (first, gate) = running(pool);
        let sink = Arc::clone(&log);
        let mut results = pool
            .imap(["second", "third"], move |name| {
                sink.lock().unwrap().push(name)
            })
            .timeout(Duration::ZERO);
        assert!(results.next().unwrap().unwrap_err().is_timeout());
        drop(results);
        gate.open();
        assert_eq!(first.join().unwrap(), 1);
        pool.wait_idle();
        assert!(log.lock().unwrap().is_empty());
    });
}

#[test]
fn run_after_shutdown() {
    on_pool(|pool| {
        pool.shutdown();
        assert!(pool.submit(|| 32).join().unwrap_err().is_cancelled());
        let back = pool.try_submit(|| 32).unwrap_err();
        assert!(!back.is_full());
        assert_eq!((back.into_inner())(), 32);
    });
}

#[test]
fn hang_issue12364() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handles: Vec<_> = (0..50).map(|n| pool.submit(move || n)).collect();
        // The shutdown comes while all of them are queued.
        let own = pool.clone();
        let ending = thread::spawn(move || own.shutdown());
        spin_until(|| pool.try_submit(|| ()).is_err());
        assert!(handles.iter().all(|handle| !handle.is_finished()));
        held.open();
        ending.join().unwrap();
        for (n, handle) in handles.into_iter().enumerate() {
            assert!(handle.is_finished());
            assert_eq!(handle.join().unwrap(), n);
        }
    });
}

#[test]
fn del_shutdown() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(5));
        let handles = pool.submit_many((-5..5_i32).map(|n| move || n.abs()));
        drop(pool);
        assert_eq!(threads_named(&name), 0);
        let results = handles.into_iter().map(|handle| handle.join().unwrap());
        assert!(results.eq([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]));
    });
}

#[test]
fn shutdown_no_wait() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(5));
        let held = hold_all(&pool);
        let handles = pool.submit_many((-5..5_i32).map(|n| move || n.abs()));
        let error = pool.shutdown_timeout(Duration::ZERO).unwrap_err();
        assert_eq!((error.running().len(), error.queued()), (5, 10));
        assert!(pool.try_submit(|| ()).is_err());
        held.open();
        let results = handles.into_iter().map(|handle| handle.join().unwrap());
        assert!(results.eq([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]));
        spin_until(|| threads_named(&name) == 0);
    });
}

#[test]
fn initializer() {
    watched(|| {
        thread_local! {
            static STATUS: Cell<&'static str> = const { Cell::new("uninitialized") };
        }
        let initialized = || STATUS.with(Cell::get);
        let pool = pool_with(|b| b.on_thread_start(|_| STATUS.set("initialized")));
        let handles: Vec<_> = (0..10).map(|_| pool.submit(initialized)).collect();
        for handle in handles {
            assert_eq!(handle.join().unwrap(), "initialized");
        }
        // One that fails costs neither the thread nor a task.
        let pool = pool_with(|b| b.on_thread_start(|_| resume_unwind(Box::new("error in init"))));
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!(stats.completed, 1);
        assert!(stats.lost_panics >= 1);
    });
}

#[test]
fn cancel_futures() {
    on_pool(|pool| {
        let (runs, gate) = running(pool);
        let held = (threads() > 1).then(|| {
            let more: Vec<_> = (1..threads()).map(|_| running(pool)).collect();
            more.into_iter().map(|(_, held)| held).collect::<Vec<_>>()
        });
        let handles: Vec<_> = (0..50).map(|n| pool.submit(move || n)).collect();
        let own = pool.clone();
        let ending = thread::spawn(move || own.shutdown_now());
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        gate.open();
        drop(held);
        assert_eq!(ending.join().unwrap(), 50);
        assert!(runs.is_finished());
        assert_eq!(runs.join().unwrap(), 1);
    });
}

#[test]
fn hang_gh94440() {
    watched(|| {
        for _ in 0..100 {
            let pool = pool_with(|b| b.num_threads(1));
            pool.submit(|| ()).join().unwrap();
            pool.submit(|| ()).cancel();
            pool.shutdown();
        }
    });
}

#[test]
fn threads_terminate() {
    watched(|| {
        let (pool, name) = named_pool(|b| b.num_threads(3));
        drop(hold_all(&pool));
        pool.shutdown();
        spin_until(|| threads_named(&name) == 0);
    });
}

#[test]
fn context_manager_shutdown() {
    watched(|| {
        let name = {
            let (pool, name) = named_pool(|b| b.num_threads(5));
            let absolute = pool.imap(-5..5, i32::abs).map(Result::unwrap);
            assert!(absolute.eq([5, 4, 3, 2, 1, 0, 1, 2, 3, 4]));
            name
        };
        spin_until(|| threads_named(&name) == 0);
    });
}

#[test]
fn thread_names_assigned_and_default() {
    let name = || thread::current().name().map(str::to_owned);
    watched(move || {
        let pool = pool_with(|b| b.thread_name(|index| format!("SpecialPool_{index}")));
        for given in pool.broadcast(move |index| (index, name())) {
            assert_eq!(given.1, Some(format!("SpecialPool_{}", given.0)));
        }
        let pool = pool_with(|b| b);
        for given in pool.broadcast(move |index| (index, name())) {
            assert_eq!(given.1, Some(format!("heist-{}", given.0)));
        }
    });
}
