//! The global pool: it is built at its first use, or once by `build_global`.

#[path = "it/support/mod.rs"]
mod support;

use heist::{ThreadPool, ThreadPoolBuilder};
use std::sync::mpsc;
use std::thread;
use support::{fib, isolated, isolated_with, serial_fib};

#[test]
fn the_global_pool_is_made_on_first_use() {
    isolated("the_global_pool_is_made_on_first_use", || {
        assert!(ThreadPool::current().is_none());
        let pool = heist::global();
        assert!(pool.num_threads() >= 1);
        assert!(std::ptr::eq(pool, heist::global()));
        assert!(ThreadPool::current().is_none(), "looking is not working");
    });
}

#[test]
fn free_functions_outside_any_pool_use_the_global_one() {
    isolated("free_functions_outside_any_pool_use_the_global_one", || {
        ThreadPoolBuilder::new()
            .num_threads(7)
            .build_global()
            .unwrap();
        let size = || ThreadPool::current().map(|pool| pool.num_threads());
        assert_eq!(heist::join(size, size), (Some(7), Some(7)));
        assert_eq!(heist::scope(|_| size()), Some(7));
        heist::scope(|s| s.spawn(|_| assert_eq!(size(), Some(7))));
        let (send, receive) = mpsc::channel();
        heist::spawn(move || send.send(size()).unwrap());
        assert_eq!(receive.recv(), Ok(Some(7)));
        assert_eq!(size(), None);
        assert_eq!(heist::current_thread_index(), None);
        assert_eq!(fib(12), serial_fib(12));
        assert!(heist::global().stats().submitted >= 2);
    });
}

#[test]
fn yield_now_outside_any_pool_returns() {
    isolated("yield_now_outside_any_pool_returns", || {
        assert!(!heist::yield_now());
        assert_eq!(heist::join(|| 1, || 2), (1, 2));
        assert!(!heist::yield_now());
    });
}

#[test]
fn build_global_decides_what_the_global_pool_is() {
    isolated("build_global_decides_what_the_global_pool_is", || {
        ThreadPoolBuilder::new()
            .num_threads(3)
            .thread_name(|index| format!("global {index}"))
            .build_global()
            .unwrap();
        assert_eq!(heist::global().num_threads(), 3);
        let names = heist::global().broadcast(|_| thread::current().name().map(str::to_owned));
        assert_eq!(names[2].as_deref(), Some("global 2"));
    });
}

#[test]
fn a_second_build_global_is_an_error_that_says_so() {
    isolated("a_second_build_global_is_an_error_that_says_so", || {
        let build = |count| ThreadPoolBuilder::new().num_threads(count).build_global();
        build(2).unwrap();
        let message = build(3).unwrap_err().to_string().to_lowercase();
        assert!(message.contains("global"), "{message}");
        assert!(message.contains("already"), "{message}");
        assert_eq!(heist::global().num_threads(), 2);
    });
}

#[test]
fn build_global_after_the_first_use_is_an_error_that_says_so() {
    isolated(
        "build_global_after_the_first_use_is_an_error_that_says_so",
        || {
            assert_eq!(heist::join(|| 1, || 2), (1, 2));
            let before = heist::global().num_threads();
            let error = ThreadPoolBuilder::new().num_threads(9).build_global();
            let message = error.unwrap_err().to_string().to_lowercase();
            assert!(message.contains("global"), "{message}");
            assert_eq!(heist::global().num_threads(), before);
        },
    );
}

#[test]
fn threads_that_race_for_the_first_use_get_one_pool() {
    isolated("threads_that_race_for_the_first_use_get_one_pool", || {
        let start = std::sync::Barrier::new(8);
        let pools: Vec<usize> = thread::scope(|threads| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    threads.spawn(|| {
                        start.wait();
                        assert_eq!(fib(8), serial_fib(8));
                        std::ptr::from_ref(heist::global()).addr()
                    })
                })
                .collect();
            racers.into_iter().map(|r| r.join().unwrap()).collect()
        });
        assert!(pools.iter().all(|pool| *pool == pools[0]));
    });
}

#[test]
fn the_global_pool_obeys_the_environment() {
    isolated_with(
        "the_global_pool_obeys_the_environment",
        &[("HEIST_NUM_THREADS", "5")],
        || assert_eq!(heist::global().num_threads(), 5),
    );
}

#[test]
fn a_process_ends_while_the_global_pool_is_at_work() {
    isolated("a_process_ends_while_the_global_pool_is_at_work", || {
        for _ in 0..4 {
            heist::spawn(|| {
                loop {
                    std::hint::spin_loop();
                }
            });
        }
    });
}
