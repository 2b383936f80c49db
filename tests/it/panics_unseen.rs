//! Panics that no caller sees, of detached tasks and hooks, go to the panic handler.

use crate::support::{
    fib, named_pool, pool, pool_with, serial_fib, spin_until, threads_named, watched,
};
use heist::{Start, ThreadPool};
use std::panic::panic_any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

/// A pool, and the messages that its handler receives.
fn noted(
    configure: impl FnOnce(heist::ThreadPoolBuilder) -> heist::ThreadPoolBuilder,
) -> (ThreadPool, Arc<Mutex<Vec<String>>>) {
    let texts = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&texts);
    let pool = pool_with(|builder| {
        configure(builder.panic_handler(move |payload| {
            sink.lock()
                .unwrap()
                .push(crate::support::payload_text(&*payload));
        }))
    });
    (pool, texts)
}

/// Runs a task on every worker at the same time.
fn assert_every_worker_lives(pool: &ThreadPool) {
    let together = Arc::new(Barrier::new(pool.num_threads() + 1));
    for _ in 0..pool.num_threads() {
        let together = Arc::clone(&together);
        pool.spawn(move || {
            together.wait();
        });
    }
    together.wait();
}

#[test]
fn a_panic_of_a_detached_task_goes_to_the_handler() {
    watched(|| {
        let (pool, texts) = noted(|builder| builder);
        for number in 0..20 {
            pool.spawn(move || panic!("task {number}"));
        }
        spin_until(|| texts.lock().unwrap().len() == 20);
        let mut texts = texts.lock().unwrap().clone();
        texts.sort();
        let mut expected: Vec<String> = (0..20).map(|n| format!("task {n}")).collect();
        expected.sort();
        assert_eq!(texts, expected);
        assert_every_worker_lives(&pool);
    });
}

#[test]
fn a_panic_that_a_caller_sees_does_not_go_to_the_handler() {
    watched(|| {
        let (pool, texts) = noted(|builder| builder);
        crate::support::panic_of(|| pool.join(|| (), || panic!("b")));
        crate::support::panic_of(|| pool.scope(|s| s.spawn(|_| panic!("task"))));
        crate::support::panic_of(|| pool.for_each(0..10, |_| panic!("item")));
        crate::support::panic_of(|| pool.run(|| panic!("run")));
        // Everything that was queued behind these tasks is done.
        pool.broadcast(|_| ());
        let texts = texts.lock().unwrap();
        // If several items of a map panic, the panics that the caller does not get may be reported.
        assert!(texts.iter().all(|text| text == "item"), "{texts:?}");
    });
}

#[test]
fn panics_without_a_handler_are_counted_and_lose_no_worker() {
    watched(|| {
        let pool = pool();
        for _ in 0..50 {
            pool.spawn(|| panic!("nobody sees this"));
        }
        spin_until(|| pool.stats().failed == 50);
        assert_every_worker_lives(&pool);
    });
}

#[test]
fn a_handler_that_panics_loses_no_worker() {
    watched(|| {
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        let pool = pool_with(|builder| {
            builder.panic_handler(move |_| {
                count.fetch_add(1, Ordering::AcqRel);
                panic!("in the handler")
            })
        });
        for _ in 0..20 {
            pool.spawn(|| panic!("in the task"));
        }
        spin_until(|| called.load(Ordering::Acquire) == 20);
        assert_every_worker_lives(&pool);
    });
}

#[test]
fn a_payload_that_panics_on_drop_loses_no_worker() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("in the drop of a payload")
        }
    }
    watched(|| {
        for handled in [false, true] {
            let pool = pool_with(|builder| {
                if handled {
                    builder.panic_handler(drop)
                } else {
                    builder
                }
            });
            for _ in 0..20 {
                pool.spawn(|| panic_any(PanicOnDrop));
            }
            spin_until(|| pool.stats().failed == 20);
            assert_every_worker_lives(&pool);
        }
    });
}

#[test]
fn a_panic_in_the_drop_of_a_detached_tasks_capture_goes_to_the_handler() {
    struct PanicOnDrop;
    impl Drop for PanicOnDrop {
        fn drop(&mut self) {
            panic!("in the drop of a capture")
        }
    }
    watched(|| {
        let (pool, texts) = noted(|builder| builder);
        let held = PanicOnDrop;
        pool.spawn(move || {
            let _held = &held;
        });
        spin_until(|| texts.lock().unwrap().len() == 1);
        assert_eq!(*texts.lock().unwrap(), ["in the drop of a capture"]);
        assert_every_worker_lives(&pool);
    });
}

#[test]
fn a_panic_in_the_start_hook_goes_to_the_handler_and_the_thread_works() {
    watched(|| {
        for start in [Start::Lazy, Start::Eager] {
            let (pool, texts) = noted(|builder| {
                builder
                    .start(start)
                    .on_thread_start(|index| panic!("start {index}"))
            });
            assert_every_worker_lives(&pool);
            assert_eq!(pool.install(|| fib(10)), serial_fib(10));
            spin_until(|| texts.lock().unwrap().len() >= pool.num_threads());
            assert!(
                texts
                    .lock()
                    .unwrap()
                    .iter()
                    .all(|t| t.starts_with("start "))
            );
        }
    });
}

#[test]
fn a_panic_in_the_exit_hook_does_not_stop_the_shutdown() {
    watched(|| {
        let called = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&called);
        let (pool, names) = named_pool(|builder| {
            builder.start(Start::Eager).on_thread_exit(move |index| {
                count.fetch_add(1, Ordering::AcqRel);
                panic!("exit {index}")
            })
        });
        let workers = pool.num_threads();
        assert_every_worker_lives(&pool);
        drop(pool);
        assert!(called.load(Ordering::Acquire) >= workers);
        spin_until(|| threads_named(&names) == 0);
    });
}
