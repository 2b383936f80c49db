//! Handles: every state of a task against everything that may happen to its handle.

use crate::support::State::*;
use crate::support::{
    ALL, Case, Gate, Held, LONG, SOON, case, check, goes, hold_all, on_pool, pool_with, threads,
    watched,
};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

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
                // Neither the queue nor the task's block keeps it.
                assert_eq!(thing.strong_count(), 1, "{state:?}");
            }
            drop(outcome);
            // A separate thread drops a closure that missed its deadline.
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
        // It is decided that the task does not run.
        assert!(handle.is_cancelled() && !handle.is_finished());
        let second = thread::spawn(move || handle.cancel());
        // The second cancel may wait for the first one.
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
                // A separate thread drops a closure that missed its deadline.
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
