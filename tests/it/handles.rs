//! Handles: every state of a task against everything that may happen to its handle.

use crate::support::{
    Gate, Held, Ledger, hold_all, on_pool, panic_of, payload_text, pool_with, spin_until, threads,
    watched,
};
use heist::{JoinError, JoinHandle, ThreadPool};
use std::future::Future;
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Queued,
    Running,
    Finished,
    Panicked,
    Cancelled,
    TimedOut,
}

use State::*;

const ALL: [State; 6] = [Queued, Running, Finished, Panicked, Cancelled, TimedOut];
const LONG: Duration = Duration::from_secs(40);
const SOON: Duration = Duration::from_millis(5);

/// What the closure captures and, moved on, the result.
type Thing = Arc<()>;

/// A handle in some state.
struct Case {
    state: State,
    handle: JoinHandle<Thing>,
    held: Held,
    /// Alive as long as closure or result.
    thing: Weak<()>,
}

fn case(pool: &ThreadPool, state: State) -> Case {
    let thing: Thing = Arc::new(());
    let weak = Arc::downgrade(&thing);
    let held = match state {
        Queued | Cancelled | TimedOut => hold_all(pool),
        _ => Held(Gate::default()),
    };
    let gate = held.0.clone();
    let closure = move || {
        if state == Running {
            gate.pass();
        }
        assert!(state != Panicked, "boom");
        thing
    };
    let task = pool.task().name("thing");
    let handle = match state {
        TimedOut => task.deadline(SOON).submit(closure),
        _ => task.submit(closure),
    };
    match state {
        Queued => {}
        Running => spin_until(|| handle.is_running()),
        Finished | Panicked => spin_until(|| handle.is_finished()),
        Cancelled => assert!(handle.cancel()),
        TimedOut => assert!(handle.wait_timeout(LONG)),
    }
    Case {
        state,
        handle,
        held,
        thing: weak,
    }
}

impl Case {
    fn is_open(&self) -> bool {
        matches!(self.state, Queued | Running)
    }
}

#[track_caller]
fn check(state: State, outcome: &Result<Thing, JoinError>) {
    match (state, outcome) {
        (Queued | Running | Finished, outcome) => assert!(outcome.is_ok(), "{state:?}"),
        (Panicked, Err(error)) => assert!(error.is_panic()),
        (Cancelled, Err(error)) => assert!(error.is_cancelled()),
        (TimedOut, Err(error)) => assert!(error.is_timeout()),
        (_, Ok(_)) => panic!("{state:?} gave a result"),
    }
    if let Err(error) = outcome {
        let kinds = [error.is_panic(), error.is_cancelled(), error.is_timeout()];
        assert_eq!(kinds.iter().filter(|kind| **kind).count(), 1);
        assert_eq!(error.name(), Some("thing"));
        assert!(error.to_string().contains("\"thing\""), "{error}");
    }
}

/// The weak one sees its thing go, by whichever thread.
fn goes(thing: &Weak<()>) {
    spin_until(|| thing.strong_count() == 0);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl Woken {
    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

fn poll<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, JoinError>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

#[test]
fn the_questions_have_the_answers_of_the_state() {
    on_pool(|pool| {
        for state in ALL {
            let case = case(pool, state);
            let (handle, id) = (&case.handle, case.handle.id());
            assert_eq!(handle.is_finished(), !case.is_open(), "{state:?}");
            assert_eq!(handle.is_running(), state == Running, "{state:?}");
            assert_eq!(handle.is_cancelled(), state == Cancelled, "{state:?}");
            assert_eq!(handle.name(), Some("thing"));
            assert_eq!(handle.wait_timeout(Duration::ZERO), !case.is_open());
            assert_eq!(handle.wait_timeout(SOON), !case.is_open());
            assert!(format!("{handle:?}").contains("thing"));
            case.held.open();
            assert!(handle.wait_timeout(LONG));
            assert!(handle.is_finished() && !handle.is_running());
            assert_eq!(handle.id(), id);
        }
    });
}

#[test]
fn a_join_gives_the_outcome_of_the_state() {
    on_pool(|pool| {
        for state in ALL {
            let Case {
                handle,
                held,
                thing,
                ..
            } = case(pool, state);
            let id = handle.id();
            let joining = thread::spawn(move || handle.join());
            held.open();
            let outcome = joining.join().unwrap();
            check(state, &outcome);
            if let Err(error) = &outcome {
                assert_eq!(error.id(), id);
            } else {
                // Neither queue nor cell keeps it.
                assert_eq!(thing.strong_count(), 1, "{state:?}");
            }
            drop(outcome);
            // A closure that missed its deadline is dropped on the pool.
            if state == TimedOut {
                goes(&thing);
            }
            assert_eq!(thing.strong_count(), 0, "{state:?}");
        }
    });
}

#[test]
fn a_join_timeout_gives_the_handle_back_or_the_outcome() {
    on_pool(|pool| {
        for timeout in [Duration::ZERO, SOON] {
            for state in ALL {
                let Case { handle, held, .. } = case(pool, state);
                match handle.join_timeout(timeout) {
                    Ok(outcome) => {
                        assert!(!matches!(state, Queued | Running));
                        check(state, &outcome);
                    }
                    Err(handle) => {
                        assert!(matches!(state, Queued | Running));
                        assert!(!handle.is_cancelled());
                        held.open();
                        let outcome = handle.join_timeout(Duration::MAX).unwrap();
                        check(state, &outcome);
                    }
                }
            }
        }
    });
}

#[test]
fn a_wait_without_an_end_runs_the_task_on_the_only_worker() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let inside = pool.submit(move || {
            let handle = own.submit(|| 1);
            assert!(handle.wait_timeout(Duration::MAX));
            let other = own.submit(|| 2).join_timeout(Duration::MAX);
            handle.join().unwrap() + other.unwrap().unwrap()
        });
        assert_eq!(inside.join().unwrap(), 3);
    });
}

#[test]
fn a_wait_with_an_end_leaves_the_task_to_others() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let inside = pool.submit(move || {
            let handle = own.submit(|| 1);
            assert!(!handle.wait_timeout(Duration::from_millis(5)));
            assert!(!handle.is_running());
            handle.join().unwrap()
        });
        assert_eq!(inside.join().unwrap(), 1);
    });
}

#[test]
fn a_cancel_is_true_if_it_will_not_run_or_was_cancelled() {
    on_pool(|pool| {
        for state in ALL {
            let Case {
                handle,
                held,
                thing,
                ..
            } = case(pool, state);
            let answer = handle.cancel();
            assert_eq!(answer, matches!(state, Queued | Cancelled), "{state:?}");
            assert_eq!(handle.cancel(), answer);
            assert_eq!(handle.is_cancelled(), answer);
            if answer {
                assert!(handle.is_finished());
                assert_eq!(thing.strong_count(), 0, "the closure is gone at once");
                assert!(handle.join().unwrap_err().is_cancelled());
            } else {
                held.open();
                check(state, &handle.join());
            }
        }
    });
}

#[test]
fn a_cancel_by_another_thread_that_still_drops_the_closure_counts_already() {
    struct Slow(mpsc::Sender<()>, Gate);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            self.1.pass();
        }
    }
    on_pool(|pool| {
        let held = hold_all(pool);
        let drop_held = Held(Gate::default());
        let (dropping, begun) = mpsc::channel();
        let slow = Slow(dropping, drop_held.0.clone());
        let handle = Arc::new(pool.submit(move || drop(slow)));
        let other = Arc::clone(&handle);
        let canceller = thread::spawn(move || other.cancel());
        begun.recv().unwrap();
        // It will not run: that is decided.
        assert!(handle.is_cancelled() && !handle.is_finished());
        let second = thread::spawn(move || handle.cancel());
        // In case it waits for the first.
        thread::sleep(SOON);
        drop_held.open();
        assert!(second.join().unwrap(), "the second cancel");
        assert!(canceller.join().unwrap());
        drop(held);
    });
}

#[test]
fn a_drop_lets_the_task_go_and_its_result_is_dropped() {
    on_pool(|pool| {
        for detach in [false, true] {
            for state in ALL {
                let before = pool.stats();
                let Case {
                    handle,
                    held,
                    thing,
                    ..
                } = case(pool, state);
                if detach {
                    handle.detach();
                } else {
                    drop(handle);
                }
                let open = matches!(state, Queued | Running);
                // A closure that missed its deadline is dropped on the pool.
                if state != TimedOut {
                    assert_eq!(thing.strong_count(), usize::from(open), "{state:?}");
                }
                held.open();
                goes(&thing);
                pool.wait_idle();
                let after = pool.stats();
                let ran = u64::from(open || state == Finished);
                let others = match state {
                    Queued | Cancelled | TimedOut => pool.num_threads() as u64,
                    _ => 0,
                };
                assert_eq!(after.completed - before.completed, ran + others);
                assert_eq!(
                    after.cancelled - before.cancelled,
                    u64::from(state == Cancelled)
                );
            }
        }
    });
}

#[test]
fn a_poll_gives_the_outcome_or_leaves_a_waker() {
    on_pool(|pool| {
        for state in ALL {
            let mut case = case(pool, state);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let Poll::Ready(outcome) = poll(&mut case.handle, &waker) else {
                assert!(case.is_open(), "{state:?}");
                assert!(poll(&mut case.handle, &waker).is_pending());
                assert_eq!(woken.count(), 0);
                case.held.open();
                spin_until(|| woken.count() > 0);
                let Poll::Ready(outcome) = poll(&mut case.handle, &waker) else {
                    panic!("woken for nothing");
                };
                check(state, &outcome);
                assert_eq!(woken.count(), 1);
                continue;
            };
            assert!(!case.is_open(), "{state:?}");
            check(state, &outcome);
            drop(waker);
            assert_eq!(Arc::strong_count(&woken), 1);
            assert_eq!(woken.count(), 0);
        }
    });
}

#[test]
fn a_poll_after_the_result_panics() {
    on_pool(|pool| {
        let mut handle = pool.submit(|| 1);
        spin_until(|| handle.is_finished());
        assert!(poll(&mut handle, Waker::noop()).is_ready());
        let text = panic_of(|| poll(&mut handle, Waker::noop()));
        assert!(text.contains("polled again"), "{text}");
    });
}

#[test]
fn a_handle_that_was_polled_to_its_end_still_answers() {
    on_pool(|pool| {
        let mut handle = pool.task().name("asked").submit(|| 1);
        let id = handle.id();
        spin_until(|| handle.is_finished());
        assert!(poll(&mut handle, Waker::noop()).is_ready());
        assert_eq!(handle.id(), id);
        assert_eq!(handle.name(), Some("asked"));
        assert!(handle.is_finished() && !handle.is_running() && !handle.is_cancelled());
        assert!(!handle.cancel());
    });
}

#[test]
fn a_replaced_waker_is_released_and_not_woken() {
    on_pool(|pool| {
        for state in [Queued, Running] {
            let mut case = case(pool, state);
            let wokens: Vec<_> = (0..3).map(|_| Arc::new(Woken::default())).collect();
            for woken in &wokens {
                let waker = Waker::from(Arc::clone(woken));
                assert!(poll(&mut case.handle, &waker).is_pending());
            }
            assert_eq!(Arc::strong_count(&wokens[0]), 1);
            assert_eq!(Arc::strong_count(&wokens[1]), 1);
            case.held.open();
            spin_until(|| wokens[2].count() == 1);
            assert_eq!((wokens[0].count(), wokens[1].count()), (0, 0));
            check(state, &case.handle.join());
            spin_until(|| Arc::strong_count(&wokens[2]) == 1);
        }
    });
}

#[test]
fn a_cancel_and_a_deadline_wake_the_waker() {
    on_pool(|pool| {
        for cancel in [true, false] {
            let _held = hold_all(pool);
            let task = match cancel {
                true => pool.task(),
                false => pool.task().deadline(SOON),
            };
            let mut handle = task.submit(|| ());
            let woken = Arc::new(Woken::default());
            if let Poll::Ready(outcome) = poll(&mut handle, &Waker::from(Arc::clone(&woken))) {
                assert!(outcome.unwrap_err().is_timeout());
                continue;
            }
            if cancel {
                handle.cancel();
                assert_eq!(woken.count(), 1);
            }
            spin_until(|| woken.count() == 1);
            let Poll::Ready(Err(error)) = poll(&mut handle, Waker::noop()) else {
                panic!("no error");
            };
            assert_eq!(
                (error.is_cancelled(), error.is_timeout()),
                (cancel, !cancel)
            );
        }
    });
}

#[test]
fn a_waker_that_panics_harms_nobody() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    on_pool(|pool| {
        for state in [Queued, Running] {
            for cancel in [false, true] {
                let mut case = case(pool, state);
                assert!(poll(&mut case.handle, &Waker::from(Arc::new(Bomb))).is_pending());
                if cancel && state == Queued {
                    assert!(case.handle.cancel());
                }
                case.held.open();
                spin_until(|| case.handle.is_finished());
                assert_eq!(case.handle.join().is_ok(), !(cancel && state == Queued));
            }
        }
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
    });
}

#[test]
fn callbacks_are_called_once_in_order_with_the_outcome() {
    on_pool(|pool| {
        // After a deadline they run on the pool, later: see the next test.
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

#[test]
fn a_forgotten_handle_does_not_keep_the_task_from_running() {
    watched(|| {
        for state in ALL {
            let pool = pool_with(|b| b);
            let Case {
                handle,
                held,
                thing,
                ..
            } = case(&pool, state);
            std::mem::forget(handle);
            held.open();
            if matches!(state, Cancelled | TimedOut | Panicked) {
                goes(&thing);
            }
            pool.wait_idle();
            pool.shutdown();
            let stats = pool.stats();
            assert_eq!(
                stats.submitted,
                stats.completed + stats.failed + stats.cancelled
            );
        }
    });
}

#[test]
fn errors_say_which_task_and_why() {
    on_pool(|pool| {
        let named = pool
            .task()
            .name("thumbnail")
            .submit(|| panic!("no luck {}", 7));
        let error: JoinError = named.join().unwrap_err();
        assert_eq!(error.to_string(), "task \"thumbnail\" panicked: no luck 7");
        let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(error);
        assert!(boxed.to_string().contains("thumbnail"));

        let handle = pool.submit(|| panic_any(77_u64));
        let id = handle.id().to_string();
        let error: JoinError = handle.join().unwrap_err();
        assert!(error.to_string().contains(&id), "{error}");
        assert_eq!(*error.into_panic().downcast::<u64>().unwrap(), 77);

        let held = hold_all(pool);
        let handle = pool.submit(|| ());
        assert!(handle.name().is_none());
        handle.cancel();
        let error = handle.join().unwrap_err();
        assert!(error.to_string().contains("cancelled"), "{error}");
        assert!(panic_of(|| error.into_panic()).contains("no panic"));
        let handle = pool.task().deadline(SOON).submit(|| ());
        let error = handle.join().unwrap_err();
        assert!(error.to_string().contains("deadline"), "{error}");
        let error = error.try_into_panic().unwrap_err();
        assert!(error.is_timeout());
        drop(held);
    });
}

#[test]
fn ids_differ_and_are_the_joined_errors() {
    on_pool(|pool| {
        let handles: Vec<_> = (0..2000).map(|_| pool.submit(|| ())).collect();
        let ids: std::collections::HashSet<_> = handles.iter().map(JoinHandle::id).collect();
        assert_eq!(ids.len(), 2000);
        for handle in handles {
            handle.join().unwrap();
        }
    });
}

#[test]
fn a_panic_with_a_resumed_payload_goes_on_at_the_joiner() {
    on_pool(|pool| {
        let handle = pool.submit(|| panic!("over there"));
        let error: JoinError = handle.join().unwrap_err();
        assert_eq!(
            panic_of(|| std::panic::resume_unwind(error.into_panic())),
            "over there"
        );
    });
}

/// Panics when it is dropped.
struct PanicOnDrop(&'static str);

impl Drop for PanicOnDrop {
    fn drop(&mut self) {
        panic!("{}", self.0)
    }
}

#[test]
fn a_capture_that_panics_on_drop_is_the_tasks_panic() {
    on_pool(|pool| {
        let held = PanicOnDrop("drop of a capture");
        let error = pool.submit(move || drop(held)).join().unwrap_err();
        assert!(error.to_string().ends_with("drop of a capture"));
        let held = PanicOnDrop("drop of a borrowed capture");
        let handle = pool.submit(move || {
            let _held = &held;
            5
        });
        let error = handle.join().unwrap_err();
        assert!(error.to_string().ends_with("drop of a borrowed capture"));
    });
}

#[test]
fn a_capture_that_panics_when_cancelled_does_not_reach_the_canceller() {
    on_pool(|pool| {
        for deadline in [false, true] {
            let held = hold_all(pool);
            let bomb = PanicOnDrop("drop of a cancelled capture");
            let task = match deadline {
                false => pool.task(),
                true => pool.task().deadline(SOON),
            };
            let handle = task.submit(move || {
                let _bomb = &bomb;
            });
            if !deadline {
                assert!(handle.cancel());
            }
            assert!(handle.join().is_err());
            held.open();
            pool.wait_idle();
            assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        }
    });
}

#[test]
fn a_result_that_panics_on_drop_costs_no_worker() {
    on_pool(|pool| {
        for state in [Queued, Running, Finished] {
            let held = hold_all(pool);
            let handle = pool.submit(|| PanicOnDrop("drop of a result"));
            if state != Queued {
                held.open();
            }
            if state == Finished {
                spin_until(|| handle.is_finished());
            }
            drop(handle);
            held.open();
            pool.wait_idle();
        }
        let joined = pool.submit(|| PanicOnDrop("of the joiner")).join();
        assert_eq!(panic_of(|| drop(joined)), "of the joiner");
        drop(hold_all(pool));
    });
}

#[test]
fn a_panic_in_a_drop_that_nobody_sees_is_counted() {
    on_pool(|pool| {
        pool.submit(|| PanicOnDrop("drop of a detached result"))
            .detach();
        let held = hold_all(pool);
        let bomb = PanicOnDrop("drop of a cancelled capture");
        let handle = pool.submit(move || {
            let _bomb = &bomb;
        });
        handle.cancel();
        drop(held);
        pool.wait_idle();
        pool.shutdown();
        assert_eq!(pool.stats().lost_panics, 2);
    });
}

#[test]
fn a_payload_that_panics_on_drop_costs_no_worker() {
    on_pool(|pool| {
        for drop_first in [false, true] {
            let held = hold_all(pool);
            let handle = pool.submit(|| panic_any(PanicOnDrop("a payload")));
            if drop_first {
                drop(handle);
                held.open();
            } else {
                held.open();
                spin_until(|| handle.is_finished());
                drop(handle);
            }
            pool.wait_idle();
        }
        drop(hold_all(pool));
        spin_until(|| pool.stats().lost_panics == 2);
    });
}

#[test]
fn a_panic_whose_handle_is_dropped_goes_to_the_handler() {
    watched(|| {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&texts);
        let pool = pool_with(|builder| {
            builder.panic_handler(move |payload| sink.lock().unwrap().push(payload_text(&*payload)))
        });
        let seen = pool.submit(|| panic!("seen")).join();
        drop(seen);
        pool.submit(|| panic!("unseen")).detach();
        spin_until(|| texts.lock().unwrap().len() == 1);
        let handle = pool.submit(|| panic!("too late"));
        spin_until(|| handle.is_finished());
        drop(handle);
        assert_eq!(*texts.lock().unwrap(), ["unseen", "too late"]);
        assert_eq!(pool.stats().failed, 3);
    });
}

#[test]
fn values_are_dropped_once_whatever_becomes_of_the_handle() {
    on_pool(|pool| {
        const COUNT: usize = 600;
        let ledger = Ledger::new(2 * COUNT);
        for n in 0..COUNT {
            let (closure, result) = (ledger.ticket(n), ledger.ticket(COUNT + n));
            let mut handle = pool.submit(move || {
                drop(closure);
                assert!(n % 7 != 0, "one in seven");
                result
            });
            match n % 6 {
                0 => drop(handle.join()),
                1 => drop(handle),
                2 => drop(handle.cancel()),
                3 => drop(handle.join_timeout(Duration::from_micros(10))),
                4 => handle.on_finish(|outcome| assert!(outcome.is_ok() || outcome.is_err())),
                _ => drop(poll(&mut handle, Waker::noop())),
            }
        }
        pool.wait_idle();
        spin_until(|| ledger.dropped() == 2 * COUNT);
        ledger.assert_settled();
    });
}

#[test]
fn big_aligned_and_empty_closures_and_results_arrive() {
    #[repr(align(256))]
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Wide(u8);
    on_pool(|pool| {
        let big = [7_u8; 10_000];
        assert_eq!(pool.submit(move || big).join().unwrap(), big);
        assert_eq!(pool.submit(|| ()).join().unwrap(), ());
        let wide = pool.submit(|| Wide(3)).join().unwrap();
        assert_eq!(wide, Wide(3));
        let wide = Wide(4);
        let address = pool.submit(move || (&raw const wide).addr() % 256 + usize::from(wide.0));
        assert_eq!(address.join().unwrap(), 4);
    });
}

#[test]
fn a_handle_is_joined_on_another_thread_or_moved_into_a_task() {
    on_pool(|pool| {
        let handle = pool.submit(|| "there");
        assert_eq!(
            thread::spawn(|| handle.join()).join().unwrap().unwrap(),
            "there"
        );
        let handle = pool.submit(|| 4);
        let outer = pool.submit(move || handle.join().unwrap() + 1);
        assert_eq!(outer.join().unwrap(), 5);
        let handle = pool.submit(|| 6);
        assert_eq!(pool.install(|| handle.join()).unwrap(), 6);
    });
}

#[test]
fn many_threads_poll_wait_and_cancel_one_handle() {
    on_pool(|pool| {
        for _ in 0..200 {
            let handle = Arc::new(pool.submit(|| 1));
            let cancels: Vec<_> = (0..3)
                .map(|n| {
                    let handle = Arc::clone(&handle);
                    thread::spawn(move || match n {
                        0 => handle.cancel(),
                        1 => handle.wait_timeout(LONG),
                        _ => {
                            let _ = (handle.is_running(), handle.is_finished());
                            handle.wait_timeout(LONG)
                        }
                    })
                })
                .collect();
            let cancelled: Vec<bool> = cancels.into_iter().map(|t| t.join().unwrap()).collect();
            assert!(cancelled[1] && cancelled[2]);
            let handle = Arc::into_inner(handle).unwrap();
            assert_eq!(handle.is_cancelled(), cancelled[0]);
            assert_eq!(handle.join().is_err(), cancelled[0]);
        }
        assert!(pool.num_threads() == threads());
    });
}

#[test]
fn a_waker_whose_clone_cancels_the_task_locks_nothing_up() {
    use heist::CancelToken;
    use std::task::{RawWaker, RawWakerVTable};
    static TOKEN: OnceLock<CancelToken> = OnceLock::new();
    static TABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| (), |_| (), |_| ());
    fn clone(_: *const ()) -> RawWaker {
        TOKEN.get().unwrap().cancel();
        RawWaker::new(std::ptr::null(), &TABLE)
    }
    on_pool(|pool| {
        let _held = hold_all(pool);
        let token = TOKEN.get_or_init(CancelToken::new);
        let mut handle = pool.task().token(token).submit(|| ());
        // SAFETY: the table's functions do nothing with the data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) };
        let Poll::Ready(outcome) = poll(&mut handle, &waker) else {
            panic!("it was cancelled before the handle could wait");
        };
        assert!(outcome.unwrap_err().is_cancelled());
    });
}
