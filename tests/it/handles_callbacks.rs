//! Callbacks of tasks: when they are called, in which order, and with what.

use crate::support::State::*;
use crate::support::{
    LONG, SOON, case, check, goes, hold_all, on_pool, payload_text, pool_with, spin_until, watched,
};
use heist::{JoinError, JoinHandle};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

#[test]
fn callbacks_are_called_once_in_order_with_the_outcome() {
    on_pool(|pool| {
        // After a missed deadline, callbacks run on the pool, and later.
        for state in [Queued, Running, Finished, Panicked, Cancelled] {
            for cancel in [false, true] {
                let mut case = case(pool, state);
                let called = Arc::new(Mutex::new(Vec::new()));
                for n in 0..5 {
                    let called = Arc::clone(&called);
                    case.handle.on_finish(move |outcome| {
                        called.lock().unwrap().push((n, outcome.is_ok()));
                    });
                }
                let before = called.lock().unwrap().len();
                assert_eq!(before, if case.is_open() { 0 } else { 5 }, "{state:?}");
                if cancel {
                    case.handle.cancel();
                }
                case.held.open();
                let ok = case.handle.join().is_ok();
                let expected: Vec<_> = (0..5).map(|n| (n, ok)).collect();
                assert_eq!(*called.lock().unwrap(), expected, "{state:?}");
                assert_eq!(Arc::strong_count(&called), 1);
            }
        }
    });
}

#[test]
fn callbacks_of_a_missed_deadline_are_called_though_all_workers_are_busy_later() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (called, calls) = mpsc::channel();
        let mut handle = pool.task().deadline(SOON).submit(|| ());
        for n in 0..3 {
            let called = called.clone();
            handle.on_finish(move |outcome| {
                let timeout = outcome.as_ref().is_err_and(JoinError::is_timeout);
                called.send((n, timeout)).unwrap();
            });
        }
        assert!(handle.join().unwrap_err().is_timeout());
        held.open();
        drop(called);
        let seen: std::collections::BTreeSet<_> = calls.iter().collect();
        assert_eq!(seen, [(0, true), (1, true), (2, true)].into());
    });
}

#[test]
fn callbacks_of_a_missed_deadline_keep_their_order() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let (called, calls) = mpsc::channel();
        let mut handle = pool
            .task()
            .deadline(Duration::from_millis(50))
            .submit(|| ());
        let first = called.clone();
        handle.on_finish(move |_| first.send(0).unwrap());
        assert!(handle.wait_timeout(LONG));
        handle.on_finish(move |_| called.send(1).unwrap());
        held.open();
        assert_eq!(calls.iter().collect::<Vec<_>>(), [0, 1]);
    });
}

#[test]
fn a_callback_runs_before_the_handle_reports_finished() {
    on_pool(|pool| {
        for cancelled in [false, true] {
            let held = hold_all(pool);
            let shared: Arc<OnceLock<JoinHandle<u32>>> = Arc::default();
            let (seen, sees) = mpsc::channel();
            let mut handle = pool.submit(|| 7);
            let weak = Arc::downgrade(&shared);
            handle.on_finish(move |outcome| {
                assert_eq!(outcome.is_ok(), !cancelled);
                let shared = weak.upgrade().unwrap();
                let handle = shared.get().unwrap();
                let now = (handle.is_finished(), handle.is_running());
                seen.send((now, handle.wait_timeout(Duration::ZERO)))
                    .unwrap();
            });
            shared.set(handle).unwrap();
            if cancelled {
                assert!(shared.get().unwrap().cancel());
            }
            held.open();
            assert_eq!(sees.recv().unwrap(), ((false, false), false));
            assert!(shared.get().unwrap().wait_timeout(LONG));
        }
    });
}

#[test]
fn callbacks_outlive_their_handle() {
    on_pool(|pool| {
        for state in [Queued, Running] {
            let mut case = case(pool, state);
            let (called, calls) = mpsc::channel();
            case.handle
                .on_finish(move |outcome| called.send(outcome.is_ok()).unwrap());
            drop(case.handle);
            case.held.open();
            assert_eq!(calls.recv(), Ok(true));
            goes(&case.thing);
        }
    });
}

#[test]
fn a_callback_that_panics_is_counted_and_the_next_is_called() {
    watched(|| {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&texts);
        let pool = pool_with(|builder| {
            builder.panic_handler(move |payload| sink.lock().unwrap().push(payload_text(&*payload)))
        });
        for state in [Queued, Running, Finished, Panicked, Cancelled, TimedOut] {
            let mut case = case(&pool, state);
            let (called, calls) = mpsc::channel();
            case.handle.on_finish(|_| panic!("in a callback"));
            case.handle.on_finish(move |_| called.send(()).unwrap());
            case.held.open();
            calls.recv().unwrap();
            check(state, &case.handle.join());
        }
        spin_until(|| texts.lock().unwrap().len() == 6);
        assert!(
            texts
                .lock()
                .unwrap()
                .iter()
                .all(|text| text == "in a callback")
        );
        assert_eq!(pool.stats().lost_panics, 6);
        assert_eq!(pool.stats().failed, 2);
    });
}

#[test]
fn a_callback_may_submit_and_join() {
    on_pool(|pool| {
        for state in [Queued, Running, Cancelled, Finished] {
            let mut case = case(pool, state);
            let (called, calls) = mpsc::channel();
            let own = pool.clone();
            let on_cancelled = state == Cancelled;
            if on_cancelled {
                case.held.open();
            }
            case.handle.on_finish(move |_| {
                called.send(own.submit(|| 5).join().unwrap()).unwrap();
            });
            case.held.open();
            assert_eq!(calls.recv(), Ok(5));
        }
    });
}
