//! The free functions use the pool of the current thread, or else the global pool.

use crate::support::{on_pool, watched};
use heist::ThreadPool;

/// The number of workers of the current thread's pool.
fn workers() -> usize {
    heist::current_num_threads().expect("a thread that takes part in a pool")
}

#[test]
fn with_threads_makes_a_pool_of_so_many_workers() {
    watched(|| {
        let pool = ThreadPool::with_threads(3).unwrap();
        assert_eq!(pool.num_threads(), 3);
        assert_eq!(pool.broadcast(|index| index), [0, 1, 2]);
        let automatic = ThreadPool::with_threads(0).unwrap();
        assert_eq!(
            automatic.num_threads(),
            ThreadPool::new().unwrap().num_threads()
        );
        let error = ThreadPool::with_threads(usize::MAX).unwrap_err();
        assert!(error.to_string().contains("ask for fewer"), "{error}");
    });
}

#[test]
fn the_free_maps_run_on_the_pool_of_the_current_thread() {
    watched(|| {
        let pool = ThreadPool::with_threads(5).unwrap();
        pool.install(|| {
            assert_eq!(heist::map(0..3, |_| workers()), [5, 5, 5]);
            heist::for_each(0..3, |_| assert_eq!(workers(), 5));
            let all_at_home = heist::map_reduce(0..9, |_| workers() == 5, || true, |a, b| a && b);
            assert!(all_at_home);
        });
    });
}

#[test]
fn the_free_maps_run_on_the_global_pool_elsewhere() {
    watched(|| {
        let global = heist::global().num_threads();
        assert_eq!(heist::map(0..2, |_| workers()), [global; 2]);
        heist::for_each(0..2, |_| assert_eq!(workers(), global));
        assert_eq!(heist::map_reduce(1..=4, |n| n, || 0, |a, b| a + b), 10);
        assert!(!heist::in_pool());
    });
}

#[test]
fn the_free_submit_and_imap_use_the_pool_of_the_current_thread() {
    on_pool(|pool| {
        let before = pool.stats().submitted;
        let sum = pool.install(|| {
            let streamed: i32 = heist::imap(0..4, |n| n).map(Result::unwrap).sum();
            streamed + heist::submit(|| 36).join().unwrap()
        });
        assert_eq!(sum, 42);
        assert_eq!(pool.stats().submitted - before, 5);
    });
}

#[test]
fn the_free_submit_and_imap_use_the_global_pool_elsewhere() {
    watched(|| {
        let handle = heist::submit(workers);
        assert_eq!(handle.join().unwrap(), heist::global().num_threads());
        let streamed: Vec<_> = heist::imap(0..3, |n| n + 1).map(Result::unwrap).collect();
        assert_eq!(streamed, [1, 2, 3]);
    });
}
