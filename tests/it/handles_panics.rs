//! Panics of tasks, and of destructors of their captures, results and payloads.

use crate::support::State::*;
use crate::support::{
    Ledger, SOON, hold_all, on_pool, panic_of, payload_text, poll, pool_with, spin_until, watched,
};
use heist::{JoinError, JoinHandle};
use std::panic::panic_any;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

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

/// A value that panics when it is dropped.
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
