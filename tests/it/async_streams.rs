//! Streams that async code consumes.

use crate::support::{assert_balanced, hold_all, on_pool, on_pool_of, spin_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn every_result_comes_once_and_in_order() {
    on_pool(|pool| {
        for (window, chunk) in [(1, 1), (4, 1), (7, 3), (64, 8), (usize::MAX, usize::MAX)] {
            for len in [0_u64, 1, 2, 9, 57] {
                let stream = pool.imap_async(0..len, |n| n * n);
                let mut stream = stream.window(window).chunk(chunk);
                let results = pool.submit_async(async move {
                    let mut results = Vec::new();
                    while let Some(result) = stream.next().await {
                        results.push(result.unwrap());
                    }
                    assert!(stream.next().await.is_none());
                    results
                });
                let expected: Vec<_> = (0..len).map(|n| n * n).collect();
                assert_eq!(results.join().unwrap(), expected);
            }
        }
    });
}

#[test]
fn every_result_comes_once_with_its_index() {
    on_pool(|pool| {
        let mut stream = pool.imap_unordered_async(0..100_usize, |n| n + 1).window(5);
        let mut results = heist::block_on(async {
            let mut results = Vec::new();
            while let Some((index, result)) = stream.next().await {
                results.push((index, result.unwrap()));
            }
            results
        });
        results.sort_unstable();
        assert!(results.into_iter().eq((0..100).map(|n| (n, n + 1))));
    });
}

#[test]
fn a_panic_is_the_error_of_its_item() {
    on_pool(|pool| {
        let mut stream = pool.imap_async(0..5, |n| assert_ne!(n, 2));
        let failed = heist::block_on(async {
            let mut failed = Vec::new();
            while let Some(result) = stream.next().await {
                failed.push(result.is_err_and(|error| error.is_panic()));
            }
            failed
        });
        assert_eq!(failed, [false, false, true, false, false]);
    });
}

#[test]
fn no_item_runs_on_the_thread_that_polls() {
    on_pool(|pool| {
        let polls = thread::current().id();
        let mut stream = pool.imap_async(0..200, move |_| thread::current().id() == polls);
        heist::block_on(async {
            while let Some(result) = stream.next().await {
                assert!(!result.unwrap());
            }
        });
    });
}

#[test]
fn the_only_worker_consumes_a_stream_that_it_runs() {
    on_pool_of(1, |pool| {
        let mut stream = pool.imap_async(0..1000_u64, |n| n).window(3);
        let sum = pool.submit_async(async move {
            let mut sum = 0;
            while let Some(result) = stream.next().await {
                sum += result.unwrap();
            }
            sum
        });
        assert_eq!(sum.join().unwrap(), 499_500);
    });
}

#[test]
fn a_future_of_the_next_result_that_is_dropped_loses_none() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let mut stream = pool.imap_async(0..3, |n| n);
        heist::block_on(async {
            let early = heist::timeout(Duration::from_millis(1), stream.next());
            assert!(early.await.is_err());
            drop(held);
            for n in 0..3 {
                assert_eq!(stream.next().await.unwrap().unwrap(), n);
            }
        });
    });
}

#[test]
fn a_drop_cancels_what_has_not_begun() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let mut stream = pool.imap_async(0.., move |_| count.fetch_add(1, Ordering::Relaxed));
        let early = heist::timeout(Duration::from_millis(1), stream.next());
        assert!(heist::block_on(early).is_err());
        drop(stream);
        drop(held);
        spin_until(|| pool.stats().queued == 0);
        assert_eq!(begun.load(Ordering::Relaxed), 0);
        pool.wait_idle();
        assert_balanced(pool);
    });
}
