//! Streams: items that are kept for a consumer which usually takes them itself are run by others when it does not.

use crate::support::{on_pool, on_pool_of, spin_until, threads};
use heist::{CancelToken, JoinError, ThreadPool};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

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

/// A cheap stream of each kind of so many items, whose function panics at each hundredth item. Returns the results by index.
fn cheap_with_panics(pool: &ThreadPool, is_ordered: bool) -> Vec<Result<usize, String>> {
    let f = |n: usize| match n % 100 {
        99 => panic!("item {n}"),
        _ => n,
    };
    let text = |error: JoinError| match error.into_panic().downcast::<String>() {
        Ok(text) => *text,
        Err(_) => unreachable!("the panics carry text"),
    };
    let mut results: Vec<_> = match is_ordered {
        true => pool.imap(0..CHEAP, f).enumerate().collect(),
        false => pool.imap_unordered(0..CHEAP, f).collect(),
    };
    results.sort_by_key(|&(index, _)| index);
    assert!(results.iter().map(|&(index, _)| index).eq(0..CHEAP));
    let results = results.into_iter();
    results.map(|(_, result)| result.map_err(text)).collect()
}

#[test]
fn each_item_of_a_cheap_stream_has_its_own_outcome() {
    on_pool(|pool| {
        for is_ordered in [true, false] {
            let before = pool.stats();
            for (n, result) in cheap_with_panics(pool, is_ordered).into_iter().enumerate() {
                match n % 100 {
                    99 => assert_eq!(result, Err(format!("item {n}"))),
                    _ => assert_eq!(result, Ok(n)),
                }
            }
            pool.wait_idle();
            let stats = pool.stats();
            assert_eq!(stats.submitted - before.submitted, CHEAP as u64);
            assert_eq!(stats.failed - before.failed, CHEAP as u64 / 100);
            assert_eq!(stats.submitted, stats.completed + stats.failed);
        }
    });
}

#[test]
fn a_wait_for_idleness_waits_for_what_a_cheap_stream_has_pulled() {
    on_pool(|pool| {
        let pulled = Cell::new(0);
        let input = (0..).inspect(|_| pulled.set(pulled.get() + 1));
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let run = move |_: usize| count.fetch_add(1, Ordering::Relaxed);
        let mut stream = pool.imap(input, run).window(64);
        assert_eq!(
            stream.by_ref().take(CHEAP).filter(Result::is_ok).count(),
            CHEAP
        );
        pool.wait_idle();
        assert_eq!(ended.load(Ordering::Relaxed), pulled.get());
    });
}

#[test]
fn the_drop_of_a_cheap_stream_cancels_what_has_not_begun() {
    on_pool(|pool| {
        for is_ordered in [true, false] {
            let before = pool.stats();
            let items = Arc::new(());
            let input = (0..).map({
                let items = Arc::clone(&items);
                move |_: usize| Arc::clone(&items)
            });
            match is_ordered {
                true => drop(pool.imap(input, drop).window(64).take(CHEAP).last()),
                false => drop(
                    pool.imap_unordered(input, drop)
                        .window(64)
                        .take(CHEAP)
                        .last(),
                ),
            }
            pool.wait_idle();
            let stats = pool.stats();
            assert!(stats.completed - before.completed >= CHEAP as u64);
            assert_eq!(stats.submitted, stats.completed + stats.cancelled);
            spin_until(|| Arc::strong_count(&items) == 1);
        }
    });
}

#[test]
fn a_cheap_stream_takes_a_token_and_a_time_limit_in_the_middle() {
    on_pool(|pool| {
        let (token, own) = (CancelToken::new(), pool.clone());
        let begun = token.clone();
        let consumer = pool.task().token(&token).submit(move || {
            let mut stream = own.imap(0.., |n: usize| n).window(8);
            assert!(stream.by_ref().take(CHEAP).all(|result| result.is_ok()));
            begun.cancel();
            // Up to a window of items may have run before.
            stream.take(CHEAP).filter(Result::is_err).count()
        });
        assert!(consumer.join().unwrap() >= CHEAP - 8);

        let mut stream = pool.imap(0..2 * CHEAP, |n| n).window(8);
        assert!(stream.by_ref().take(CHEAP).map(Result::unwrap).eq(0..CHEAP));
        let rest = stream.timeout(Duration::from_secs(600));
        assert!(rest.map(Result::unwrap).eq(CHEAP..2 * CHEAP));
    });
}

#[test]
fn an_immediate_shutdown_cancels_what_a_cheap_stream_has_pulled() {
    on_pool(|pool| {
        let mut stream = pool.imap(0.., |n: usize| n).window(64);
        assert!(stream.by_ref().take(CHEAP).all(|result| result.is_ok()));
        pool.shutdown_now();
        let stats = pool.stats();
        assert_eq!(stats.queued, 0);
        assert_eq!(stats.submitted, stats.completed + stats.cancelled);
        let rest: Vec<_> = stream.take(100).collect();
        assert!(rest[64..].iter().all(Result::is_err));
    });
}

#[test]
fn a_panic_of_the_input_leaves_a_cheap_stream_sound() {
    on_pool(|pool| {
        let input = (0..).inspect(|&n| assert!(n < CHEAP, "the input panics"));
        let mut stream = pool.imap(input, |n| n).window(8);
        let mut next = || catch_unwind(AssertUnwindSafe(|| stream.next()));
        let mut results = Vec::new();
        let mut panics = 0;
        loop {
            match next() {
                Ok(Some(result)) => results.push(result.unwrap()),
                Ok(None) => break,
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 1);
        assert!(results.into_iter().eq(0..CHEAP));
    });
}
