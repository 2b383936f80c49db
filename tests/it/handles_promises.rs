//! Promises: handles that other code completes. Guards that cancel on drop.

use crate::support::{Gate, Held, LONG, Ledger, hold_all, on_pool, on_pool_of, panic_of, watched};
use heist::{JoinHandle, JoinSet, Promise, WaitFor, promise};
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// A waker that counts its wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn a_promise_completes_its_handle_from_any_thread() {
    on_pool(|pool| {
        let (promise, handle) = promise();
        assert!(!handle.is_finished() && !handle.is_running() && !handle.is_cancelled());
        assert_eq!(promise.id(), handle.id());
        assert_eq!(handle.name(), None);
        let resolver = thread::spawn(move || promise.resolve("done"));
        assert_eq!(handle.join().unwrap(), "done");
        assert_eq!(resolver.join().unwrap(), Ok(()));
        // A worker waits, and a task behind it in the queue resolves the promise.
        let (promise, handle) = heist::promise::<u32>();
        let waiter = pool.submit(move || handle.join().unwrap());
        pool.spawn(move || promise.resolve(7).unwrap());
        assert_eq!(waiter.join().unwrap(), 7);
    });
}

#[test]
fn a_promise_that_is_dropped_completes_its_handle_with_an_error() {
    watched(|| {
        let (promise, handle) = promise::<u32>();
        drop(promise);
        let error = handle.join().unwrap_err();
        assert!(error.is_broken_promise());
        assert!(!error.is_panic() && !error.is_cancelled() && !error.is_timeout());
        assert!(error.to_string().contains("the promise was dropped"));
        // A panic of the thread that holds the promise resolves it too.
        let (promise, handle) = heist::promise::<u32>();
        let text = panic_of(move || {
            let _promise = promise;
            panic!("no reply")
        });
        assert_eq!(text, "no reply");
        assert!(handle.join().unwrap_err().is_broken_promise());
    });
}

#[test]
fn a_promise_fails_with_an_error_that_is_the_source() {
    watched(|| {
        let (promise, handle) = promise::<u32>();
        assert!(promise.fail(io::Error::from(io::ErrorKind::ConnectionReset)));
        let error = handle.join().unwrap_err();
        assert!(error.is_failed());
        let source = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains("failed: "), "{error}");
    });
}

#[test]
fn a_promise_passes_the_error_of_another_handle_on() {
    on_pool(|pool| {
        let inner = pool
            .task()
            .name("inner")
            .submit(|| -> u32 { panic!("inside") });
        let (outer, handle) = promise::<u32>();
        let error = inner.join().unwrap_err();
        let id = error.id();
        assert!(outer.fail(error));
        let error = handle.join().unwrap_err();
        assert!(error.is_panic());
        assert_eq!((error.id(), error.name()), (id, Some("inner")));
        assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "inside");
    });
}

#[test]
fn a_cancelled_handle_ends_its_promise_and_the_value_comes_back() {
    watched(|| {
        let ledger = Ledger::new(1);
        let (promise, handle) = promise();
        assert!(handle.cancel() && handle.cancel());
        assert!(promise.is_cancelled() && handle.is_finished());
        let ticket = promise
            .resolve(ledger.ticket(0))
            .map_err(|ticket| ticket.index());
        assert_eq!(ticket, Err(0));
        assert!(handle.join().err().unwrap().is_cancelled());
        let (promise, handle) = heist::promise::<u32>();
        handle.cancel();
        assert!(!promise.fail("too late"));
        // A resolved promise cannot be cancelled.
        let (promise, handle) = heist::promise();
        promise.resolve(1).unwrap();
        assert!(!handle.cancel());
        assert_eq!(handle.join().unwrap(), 1);
        ledger.assert_settled();
    });
}

#[test]
fn on_cancel_is_called_by_a_cancel_only() {
    fn counted(calls: &Arc<AtomicUsize>) -> (Promise<u32>, JoinHandle<u32>) {
        let (promise, handle) = promise();
        let calls = Arc::clone(calls);
        promise.on_cancel(move || {
            calls.fetch_add(1, Ordering::AcqRel);
        });
        (promise, handle)
    }
    on_pool(|pool| {
        let calls = Arc::new(AtomicUsize::new(0));
        let (promise, handle) = counted(&calls);
        promise.resolve(1).unwrap();
        assert_eq!(handle.join().unwrap(), 1);
        let (promise, handle) = counted(&calls);
        drop((promise, handle));
        let (promise, handle) = counted(&calls);
        // An error that another task was cancelled.
        let gate = hold_all(pool);
        let other = pool.submit(|| 1);
        other.cancel();
        promise.fail(other.join().unwrap_err());
        gate.open();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(calls.load(Ordering::Acquire), 0);

        let (promise, handle) = counted(&calls);
        assert!(handle.cancel());
        assert_eq!(calls.load(Ordering::Acquire), 1);
        let late = Arc::clone(&calls);
        promise.on_cancel(move || {
            late.fetch_add(10, Ordering::AcqRel);
        });
        assert_eq!(calls.load(Ordering::Acquire), 11);
    });
}

#[test]
fn a_promises_handle_calls_back_and_wakes() {
    watched(|| {
        let (send, receive) = mpsc::channel();
        let (promise, mut handle) = promise();
        handle.on_finish(move |outcome| send.send(*outcome.as_ref().unwrap()).unwrap());
        let woken = Arc::new(Woken::default());
        assert!(poll(&mut handle, &Waker::from(Arc::clone(&woken))).is_pending());
        promise.resolve(42).unwrap();
        assert_eq!(receive.try_recv(), Ok(42));
        assert_eq!(woken.0.load(Ordering::Acquire), 1);
        assert!(matches!(
            poll(&mut handle, Waker::noop()),
            Poll::Ready(Ok(42))
        ));
    });
}

#[test]
fn a_promises_handle_works_with_every_wait_for_several() {
    on_pool(|pool| {
        let (a, handle_a) = promise();
        let (b, handle_b) = promise();
        let (c, handle_c) = promise();
        let handles = [handle_a, handle_b];
        let waited = heist::wait(&handles, WaitFor::First, Some(Duration::ZERO));
        assert!(waited.done.is_empty());
        b.resolve(2).unwrap();
        assert_eq!(heist::wait(&handles, WaitFor::First, None).done, [1]);
        let mut all = heist::as_completed(handles.into_iter().chain([handle_c]));
        assert_eq!(all.next().unwrap().1.unwrap(), 2);
        c.resolve(3).unwrap();
        assert_eq!(all.next().unwrap().1.unwrap(), 3);
        drop(a);
        assert!(all.next().unwrap().1.unwrap_err().is_broken_promise());

        let mut set = JoinSet::new(pool);
        let (d, handle) = promise();
        let id = set.insert(handle);
        assert_eq!(d.id(), id);
        // The promise comes before a task, which the waiter must find although nobody else runs it.
        set.spawn(|| 5);
        assert_eq!(set.join_next().unwrap().unwrap(), 5);
        d.resolve(4).unwrap();
        assert_eq!(set.join_next().unwrap().unwrap(), 4);
        drop(set);
        let (e, handle) = promise();
        let first = heist::first_finished([handle, pool.submit(|| 6)]).unwrap();
        assert_eq!(first.1.unwrap(), 6);
        assert!(e.is_cancelled());
    });
}

#[test]
fn a_task_of_the_set_behind_a_promise_runs_on_the_only_worker_that_waits() {
    watched(|| {
        let pool = heist::ThreadPool::builder().num_threads(1).spare_threads(0);
        let pool = pool.build().unwrap();
        let own = pool.clone();
        let sum = pool.submit(move || {
            let mut set = JoinSet::new(&own);
            let (promise, handle) = promise();
            set.insert(handle);
            set.spawn(|| 1);
            let first = set.join_next().unwrap().unwrap();
            promise.resolve(2).unwrap();
            first + set.join_next().unwrap().unwrap()
        });
        assert_eq!(sum.join().unwrap(), 3);
    });
}

#[test]
fn values_of_promises_are_dropped_once_whatever_becomes_of_them() {
    watched(|| {
        let ledger = Ledger::new(4);
        let (promise, handle) = promise();
        drop(handle);
        assert!(!promise.is_cancelled());
        assert!(promise.resolve(ledger.ticket(0)).is_ok());
        let (promise, handle) = heist::promise();
        assert!(promise.resolve(ledger.ticket(1)).is_ok());
        drop(handle);
        let (promise, handle) = heist::promise();
        assert!(promise.resolve(ledger.ticket(2)).is_ok());
        drop(handle.join().unwrap());
        let (promise, handle) = heist::promise();
        handle.cancel();
        drop(handle);
        drop(promise.resolve(ledger.ticket(3)));
        assert_eq!(ledger.dropped(), 4);
        ledger.assert_settled();
    });
}

#[test]
fn resolvers_and_cancellers_race_and_one_wins() {
    watched(|| {
        for round in 0..500 {
            let (promise, handle) = promise();
            thread::scope(|s| {
                let resolver = s.spawn(move || promise.resolve(round));
                let cancelled = handle.cancel();
                assert_eq!(resolver.join().unwrap().is_err(), cancelled);
                assert!(handle.wait_timeout(LONG));
                match handle.join() {
                    Ok(value) => assert!(!cancelled && value == round),
                    Err(error) => assert!(cancelled && error.is_cancelled()),
                }
            });
        }
    });
}

#[test]
fn no_pool_counts_a_promise() {
    on_pool(|pool| {
        let handles: Vec<_> = (0..10).map(|_| promise::<u32>()).collect();
        pool.install(|| {
            handles
                .into_iter()
                .for_each(|(promise, _)| promise.resolve(1).unwrap())
        });
        pool.wait_idle();
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.completed), (0, 0));
    });
}

#[test]
fn a_guard_that_is_dropped_cancels_a_task_that_has_not_begun() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let guard = pool.submit(|| unreachable!("cancelled")).abort_on_drop();
        assert!(!guard.is_finished());
        drop(guard);
        assert_eq!(pool.stats().cancelled, 1);
        let guard = pool.submit(|| 1).abort_on_drop();
        let text = panic_of(|| {
            let _guard = guard;
            panic!("an early end")
        });
        assert_eq!(text, "an early end");
        assert_eq!(pool.stats().cancelled, 2);
        held.open();
        assert_eq!(pool.submit(|| 2).abort_on_drop().join().unwrap(), 2);
    });
}

#[test]
fn a_guard_that_is_dropped_lets_a_task_that_has_begun_run_to_its_end() {
    on_pool_of(1, |pool| {
        let held = Held(Gate::default());
        let (gate, (send, receive)) = (held.0.clone(), mpsc::channel());
        let guard = pool.submit(move || {
            send.send("begun").unwrap();
            gate.pass();
            send.send("ended").unwrap();
        });
        let guard = guard.abort_on_drop();
        assert_eq!(receive.recv(), Ok("begun"));
        drop(guard);
        held.open();
        assert_eq!(receive.recv(), Ok("ended"));
        pool.wait_idle();
        assert_eq!((pool.stats().completed, pool.stats().cancelled), (1, 0));
    });
}

#[test]
fn a_guard_is_a_future_and_gives_its_handle_back() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let mut guard = pool.submit(|| 1).abort_on_drop();
        guard.on_finish(|outcome| assert_eq!(*outcome.as_ref().unwrap(), 1));
        assert!(poll(&mut guard, Waker::noop()).is_pending());
        let handle = guard.disarm();
        held.open();
        assert_eq!(handle.join().unwrap(), 1);
        let (promise, handle) = promise();
        let mut guard = handle.abort_on_drop();
        promise.resolve(2).unwrap();
        assert!(matches!(
            poll(&mut guard, Waker::noop()),
            Poll::Ready(Ok(2))
        ));
        drop(guard);
    });
}

#[test]
fn a_join_error_becomes_an_io_error_of_a_kind_that_fits() {
    on_pool(|pool| {
        let kind = |error: heist::JoinError| {
            let text = error.to_string();
            let error = io::Error::from(error);
            assert_eq!(error.to_string(), text);
            assert!(error.get_ref().unwrap().is::<heist::JoinError>());
            error.kind()
        };
        let held = hold_all(pool);
        let late = pool.task().deadline(Duration::from_millis(1)).submit(|| ());
        assert_eq!(kind(late.join().unwrap_err()), io::ErrorKind::TimedOut);
        let cancelled = pool.submit(|| ());
        cancelled.cancel();
        assert_eq!(kind(cancelled.join().unwrap_err()), io::ErrorKind::Other);
        held.open();
        let panicked = pool.submit(|| panic!("for the test"));
        assert_eq!(kind(panicked.join().unwrap_err()), io::ErrorKind::Other);
        let (promise, handle) = promise::<()>();
        promise.fail(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(kind(handle.join().unwrap_err()), io::ErrorKind::NotFound);
    });
}
