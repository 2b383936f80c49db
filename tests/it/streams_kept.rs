//! Streams: items that are kept for a consumer which usually takes them itself are run by others when it does not.

use crate::support::{on_pool, on_pool_of, spin_until, threads};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

/// So many cheap items convince a stream that its consumer had better run all of them.
const CHEAP: usize = 2_000;

#[test]
fn items_that_are_kept_run_though_the_consumer_goes_away() {
    on_pool(|pool| {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let run = move |_| count.fetch_add(1, Ordering::Relaxed);
        let mut stream = pool.imap(0.., run).window(64);
        for _ in 0..CHEAP {
            assert!(stream.next().unwrap().is_ok());
        }
        // 63 more items were pulled, unless the last result was there before the window was full.
        spin_until(|| pool.stats().queued == 0);
        assert!(begun.load(Ordering::Relaxed) >= CHEAP);
        assert_eq!(stream.take(CHEAP).count(), CHEAP);
    });
}

#[test]
fn a_cheap_stream_goes_on_if_an_item_waits_for_the_next_one() {
    // A worker perhaps takes the item that waits. On a pool of one thread no other then runs what it waits for.
    on_pool_of(threads().max(2), |pool| {
        for cheap in [0, CHEAP, CHEAP + 1] {
            let meeting = Barrier::new(2);
            let run = move |n| {
                if n == cheap || n == cheap + 1 {
                    meeting.wait();
                }
            };
            let stream = pool.imap(0..cheap + 100, run).window(8);
            assert_eq!(stream.filter(Result::is_ok).count(), cheap + 100);
        }
    });
}

#[test]
fn while_the_consumer_runs_a_long_item_others_run_the_rest_of_the_window() {
    // A worker perhaps takes the item that waits. On a pool of one thread no other then runs what it waits for.
    on_pool_of(threads().max(2), |pool| {
        for cheap in [0, CHEAP] {
            let (window, ended) = (5, AtomicUsize::new(0));
            let run = move |n| {
                if n == cheap {
                    // The item before this one was given out, so that the window holds this one and four more.
                    spin_until(|| ended.load(Ordering::Relaxed) == window - 1);
                } else if n > cheap {
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            };
            let mut stream = pool.imap(0.., run).window(window);
            assert!(stream.by_ref().take(cheap + 1).all(|result| result.is_ok()));
        }
    });
}

#[test]
fn a_shutdown_runs_what_is_kept() {
    on_pool(|pool| {
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let mut stream = pool
            .imap(0.., move |_| count.fetch_add(1, Ordering::Relaxed))
            .window(64);
        for _ in 0..CHEAP {
            assert!(stream.next().unwrap().is_ok());
        }
        pool.shutdown();
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.cancelled), (0, 0));
        assert_eq!(stats.completed, begun.load(Ordering::Relaxed) as u64);
    });
}

#[test]
fn other_tasks_run_beside_a_stream_that_its_consumer_runs_alone() {
    on_pool(|pool| {
        let over = Arc::new(AtomicBool::new(false));
        let mut stream = pool.imap(0.., |n| n).window(64);
        for round in 0..CHEAP {
            assert!(stream.next().unwrap().is_ok());
            if round == CHEAP / 2 {
                let over = Arc::clone(&over);
                pool.spawn(move || over.store(true, Ordering::Relaxed));
            }
        }
        spin_until(|| over.load(Ordering::Relaxed));
    });
}
