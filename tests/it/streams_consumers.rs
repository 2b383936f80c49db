//! Consumers: on the only worker, inside scopes, joins and maps, beside blocked workers and full queues.

use crate::support::{
    KINDS, LONG, SOON, Settings, collected, hold_all, on_pool, on_pool_of, pool_with, stream,
    threads, timeout, watched, window,
};
use heist::{ThreadPool, WhenFull};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

#[test]
fn a_stream_is_consumed_on_the_one_worker_of_a_pool() {
    watched(|| {
        for spares in [0, 1] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(spares));
            let own = pool.clone();
            let consumer = pool.submit(move || {
                for kind in KINDS {
                    for settings in [Settings::default(), window(1, 1), window(5, 2)] {
                        let results =
                            stream(&own, kind, settings, 0..100, |n| n, |s| collected(kind, s));
                        let sum: usize = results.into_iter().map(Result::unwrap).sum();
                        assert_eq!(sum, 4950, "{kind:?} {settings:?}");
                    }
                }
            });
            consumer.join().unwrap();
        }
    });
}

#[test]
fn a_stream_with_a_timeout_goes_on_on_the_one_worker_of_a_pool() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1));
        let own = pool.clone();
        let consumer = pool.submit(move || {
            for kind in KINDS {
                let results = stream(
                    &own,
                    kind,
                    timeout(LONG),
                    0..20,
                    |n| n,
                    |s| collected(kind, s),
                );
                assert!(results.into_iter().map(Result::unwrap).eq(0..20));
            }
        });
        consumer.join().unwrap();
    });
}

#[test]
fn a_stream_with_a_timeout_ends_on_the_one_worker_without_spares() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let own = pool.clone();
        let consumer = pool.submit(move || {
            for kind in KINDS {
                // Nobody may run an item, so the time limit passes.
                let results: Vec<_> =
                    stream(&own, kind, timeout(SOON), 0..20, |n| n, |s| s.collect());
                let errors = results.iter().filter(|(_, result)| result.is_err());
                assert!(errors.count() <= 1);
                assert!(!results.is_empty());
            }
        });
        consumer.join().unwrap();
    });
}

#[test]
fn a_stream_is_consumed_inside_scope_join_and_map() {
    for size in [1, threads()] {
        on_pool_of(size, |pool| {
            for kind in KINDS {
                let sum = |upto: u64| {
                    let results = stream(
                        pool,
                        kind,
                        window(4, 1),
                        0..upto,
                        |n| n,
                        |s| collected(kind, s),
                    );
                    results.into_iter().map(Result::unwrap).sum::<u64>()
                };
                assert_eq!(pool.join(|| sum(50), || sum(60)), (1225, 1770));
                let sums = pool.map(0..20_u64, sum);
                let expected = (0..20_u64).map(|n| n * n.saturating_sub(1) / 2);
                assert!(sums.into_iter().eq(expected));
                let (a, b) = (AtomicUsize::new(0), AtomicUsize::new(0));
                pool.scope(|s| {
                    s.spawn(|_| a.store(sum(10) as usize, Ordering::Relaxed));
                    s.spawn(|_| b.store(sum(20) as usize, Ordering::Relaxed));
                    assert_eq!(sum(5), 10);
                });
                assert_eq!((a.into_inner(), b.into_inner()), (45, 190));
                assert_eq!(pool.run(|| sum(7)), 21);
                assert_eq!(pool.install(|| sum(7)), 21);
            }
        });
    }
}

#[test]
fn streams_nest() {
    for size in [1, threads()] {
        on_pool_of(size, |pool| {
            for outer in KINDS {
                for inner in KINDS {
                    let own = pool.clone();
                    let f = move |n: usize| -> usize {
                        let results = stream(
                            &own,
                            inner,
                            window(3, 1),
                            0..n,
                            |m| m,
                            |s| collected(inner, s),
                        );
                        results.into_iter().map(Result::unwrap).sum()
                    };
                    let results =
                        stream(pool, outer, window(4, 1), 0..12, f, |s| collected(outer, s));
                    let sums = results.into_iter().map(Result::unwrap);
                    assert!(sums.eq((0..12_usize).map(|n| n * n.saturating_sub(1) / 2)));
                }
            }
        });
    }
}

#[test]
fn a_scopes_stream_borrows_and_its_results_too() {
    on_pool(|pool| {
        let words: Vec<String> = (0..50).map(|n| format!("{n} {n}")).collect();
        let seen = AtomicUsize::new(0);
        let firsts: Vec<&str> = pool.scope(|s| {
            let stream = s.imap(&words, |word| {
                seen.fetch_add(1, Ordering::Relaxed);
                word.split(' ').next().unwrap()
            });
            stream.window(5).map(Result::unwrap).collect()
        });
        let pairs: BTreeSet<(usize, &str)> = pool.scope(|s| {
            let stream = s.imap_unordered(words.iter(), |word| word.split(' ').nth(1).unwrap());
            stream
                .chunk(3)
                .map(|(n, word)| (n, word.unwrap()))
                .collect()
        });
        assert_eq!(seen.into_inner(), 50);
        assert_eq!(firsts.len(), 50);
        assert!(pairs.into_iter().eq(firsts.into_iter().enumerate()));
    });
}

#[test]
fn a_scopes_stream_changes_borrowed_data() {
    on_pool(|pool| {
        let mut numbers: Vec<usize> = (0..100).collect();
        pool.scope(|s| {
            let stream = s.imap(&mut numbers, |n| *n *= 2);
            assert_eq!(stream.map(Result::unwrap).count(), 100);
        });
        assert!(numbers.into_iter().eq((0..100).map(|n| 2 * n)));
    });
}

#[test]
fn a_scope_ends_after_the_running_items_of_a_dropped_stream() {
    on_pool(|pool| {
        for _ in 0..50 {
            let (started, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
            pool.scope(|s| {
                let f = |_| {
                    started.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    ended.fetch_add(1, Ordering::Relaxed);
                };
                s.imap(0.., f).window(8).next().unwrap().unwrap();
            });
            assert_eq!(started.into_inner(), ended.into_inner());
        }
    });
}

#[test]
fn a_queue_smaller_than_the_window_is_no_obstacle() {
    watched(|| {
        for when_full in [WhenFull::Block, WhenFull::CallerRuns, WhenFull::Reject] {
            for capacity in [1, 2] {
                let pool = pool_with(|b| b.queue_capacity(capacity).when_full(when_full));
                for kind in KINDS {
                    let own = pool.clone();
                    let all = move || {
                        let results = stream(
                            &own,
                            kind,
                            window(16, 1),
                            0..100,
                            |n| n,
                            |s| collected(kind, s),
                        );
                        assert!(results.into_iter().map(Result::unwrap).eq(0..100));
                    };
                    all();
                    pool.submit(all).join().unwrap();
                }
            }
        }
    });
}

/// The pool rejects other submits, and the stream waits until their tasks have made room.
#[test]
fn a_stream_waits_for_room_where_others_are_rejected() {
    on_pool_of(1, |_| {
        for kind in KINDS {
            let pool = pool_with(|b| {
                let b = b.num_threads(1).queue_capacity(2);
                b.when_full(WhenFull::Reject)
            });
            let held = hold_all(&pool);
            let others = [0, 1].map(|n| pool.submit(move || n));
            assert!(pool.submit(|| 2).join().is_err());
            let opener = thread::spawn(move || held.open());
            let results = stream(
                &pool,
                kind,
                window(8, 1),
                0..500,
                |n| n,
                |s| collected(kind, s),
            );
            assert!(results.into_iter().map(Result::unwrap).eq(0..500));
            for (n, other) in others.into_iter().enumerate() {
                assert_eq!(other.join().unwrap(), n);
            }
            opener.join().unwrap();
        }
    });
}

/// The items need no worker while an item is running.
#[test]
fn a_stream_beside_blocked_workers_needs_no_more_room_than_one_place() {
    watched(|| {
        for when_full in [WhenFull::Block, WhenFull::CallerRuns, WhenFull::Reject] {
            for kind in KINDS {
                let pool = pool_with(|b| b.queue_capacity(1).when_full(when_full));
                let held = hold_all(&pool);
                let results = stream(
                    &pool,
                    kind,
                    window(8, 1),
                    0..100,
                    |n| n,
                    |s| collected(kind, s),
                );
                assert!(results.into_iter().map(Result::unwrap).eq(0..100));
                held.open();
            }
        }
    });
}

#[test]
fn a_cancelled_token_of_the_consumers_task_cancels_items_but_not_a_scopes() {
    on_pool(|pool| {
        for kind in KINDS {
            let token = heist::CancelToken::new();
            let (own, cancels) = (pool.clone(), token.clone());
            let consumer = pool.task().token(&token).submit(move || {
                cancels.cancel();
                stream(
                    &own,
                    kind,
                    window(3, 1),
                    0..20,
                    |n| n,
                    |s| {
                        let mut count = 0;
                        for (_, result) in s {
                            count += 1;
                            match result {
                                Ok(_) => assert!(kind.is_scoped()),
                                Err(error) => {
                                    assert!(error.is_cancelled() && !kind.is_scoped(), "{kind:?}");
                                }
                            }
                        }
                        count
                    },
                )
            });
            assert_eq!(consumer.join().unwrap(), 20);
        }
    });
}

#[test]
fn many_threads_consume_streams_of_one_pool() {
    on_pool(|pool| {
        let consumers: Vec<_> = (0..4)
            .map(|n| {
                let (own, kind) = (pool.clone(), KINDS[n]);
                thread::spawn(move || {
                    for settings in [Settings::default(), window(5, 2)] {
                        let results =
                            stream(&own, kind, settings, 0..2000, |n| n, |s| collected(kind, s));
                        assert!(results.into_iter().map(Result::unwrap).eq(0..2000));
                    }
                })
            })
            .collect();
        for consumer in consumers {
            consumer.join().unwrap();
        }
    });
}

#[test]
fn the_consumer_may_leave_the_rest_to_another_pool() {
    watched(|| {
        let (pool, other) = (pool_with(|b| b), pool_with(|b| b.num_threads(1)));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sink, own) = (Arc::clone(&log), pool.clone());
        let consumer = other.submit(move || {
            for kind in KINDS {
                let results = stream(
                    &own,
                    kind,
                    window(3, 1),
                    0..30,
                    |n| n,
                    |s| collected(kind, s),
                );
                sink.lock().unwrap().push(results.len());
            }
        });
        consumer.join().unwrap();
        assert_eq!(*log.lock().unwrap(), [30; 4]);
    });
}

/// Three of four workers block in items, and say so. The fourth runs items beside the consumer.
#[test]
fn items_that_block_leave_their_places() {
    watched(|| {
        for spares in [0, 4] {
            let builder = ThreadPool::builder().num_threads(4).spare_threads(spares);
            let pool = builder.build().unwrap();
            let consumer = thread::current().id();
            let (blocked, elsewhere) =
                (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let (count, ran) = (Arc::clone(&blocked), Arc::clone(&elsewhere));
            let (release, released) = mpsc::channel::<()>();
            let released = Mutex::new(released);
            let mut stream = pool.imap_unordered(0.., move |_: u64| {
                thread::sleep(Duration::from_micros(30));
                if thread::current().id() == consumer {
                    return;
                }
                if count.fetch_add(1, Ordering::Relaxed) < 3 {
                    heist::blocking(|| {
                        // Until the sender is dropped.
                        let _ = released.lock().unwrap().recv();
                    });
                } else {
                    ran.fetch_add(1, Ordering::Relaxed);
                }
            });
            // The consumer is there all the time.
            while blocked.load(Ordering::Relaxed) < 3 || elsewhere.load(Ordering::Relaxed) < 100 {
                stream.next().unwrap().1.unwrap();
            }
            drop(release);
        }
    });
}
