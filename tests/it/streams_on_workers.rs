//! Streams whose items run on workers only, and which item comes first where order does not matter.

use crate::support::{
    Gate, Held, KINDS, Kind, Ledger, SOON, Settings, collected, hold_all, on_workers, payload_text,
    pool_with, settle, stream, timeout, watched, window,
};
use heist::{JoinError, ThreadPool, ThreadPoolBuilder, Waits, WhenFull};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

thread_local! {
    /// Set by the start hook of [`hooked`] pools.
    static HOOKED: Cell<bool> = const { Cell::new(false) };
}

/// A pool whose workers, and no other threads, have [`HOOKED`] set. It has no spares, which call no hook.
fn hooked(configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder) -> ThreadPool {
    pool_with(|b| configure(b.spare_threads(0).on_thread_start(|_| HOOKED.set(true))))
}

#[test]
fn a_stream_on_workers_runs_no_item_on_a_consumer_from_outside() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = hooked(|b| b.waits(waits));
            for kind in KINDS {
                for settings in [Settings::default(), window(1, 1), window(7, 3)] {
                    let consume = || {
                        let f = |n| (n, HOOKED.get());
                        let settings = on_workers(settings);
                        let results =
                            stream(&pool, kind, settings, 0..100, f, |s| collected(kind, s));
                        let results = results.into_iter().map(Result::unwrap);
                        assert!(
                            results.eq((0..100).map(|n| (n, true))),
                            "{kind:?} {waits:?}"
                        );
                    };
                    consume();
                    // The consumer may be a guest too.
                    pool.install(consume);
                    pool.scope(|_| consume());
                }
            }
        }
    });
}

/// The scope's body counts as the only thread when the items come, and no thread has been started.
#[test]
fn a_stream_on_workers_starts_the_only_worker_of_its_pool() {
    watched(|| {
        for kind in KINDS {
            for waits in [Waits::Own, Waits::Any] {
                let pool = hooked(|b| b.num_threads(1).waits(waits));
                let settings = on_workers(window(3, 1));
                let f = |_| HOOKED.get();
                let results = stream(&pool, kind, settings, 0..20, f, |s| collected(kind, s));
                assert!(
                    results.into_iter().all(|result| result.unwrap()),
                    "{kind:?}"
                );
            }
        }
    });
}

#[test]
fn a_stream_on_workers_waits_for_room_whatever_the_pool_does_when_it_is_full() {
    watched(|| {
        for when_full in [WhenFull::Block, WhenFull::CallerRuns, WhenFull::Reject] {
            let pool = hooked(|b| b.queue_capacity(1).when_full(when_full));
            for kind in KINDS {
                // The first item finds the queue full.
                let held = hold_all(&pool);
                let other = pool.submit(|| HOOKED.get());
                let opener = thread::spawn(move || held.open());
                let f = |_| HOOKED.get();
                let settings = on_workers(window(8, 1));
                let results = stream(&pool, kind, settings, 0..200, f, |s| collected(kind, s));
                assert_eq!(results.len(), 200);
                assert!(
                    results.into_iter().all(|result| result.unwrap()),
                    "{kind:?}"
                );
                assert!(other.join().unwrap());
                opener.join().unwrap();
            }
        }
    });
}

#[test]
fn a_stream_on_workers_is_consumed_on_the_one_worker_of_a_pool() {
    watched(|| {
        for spares in [0, 1] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(spares));
            let own = pool.clone();
            let consumer = pool.submit(move || {
                for kind in KINDS {
                    for settings in [Settings::default(), window(1, 1), window(5, 2)] {
                        let settings = on_workers(settings);
                        let results =
                            stream(&own, kind, settings, 0..100, |n| n, |s| collected(kind, s));
                        assert!(results.into_iter().map(Result::unwrap).eq(0..100));
                    }
                }
            });
            consumer.join().unwrap();
        }
    });
}

/// Calls `body` where more than half of a stack of 2 MiB is used.
fn deep_in_the_stack(body: &mut dyn FnMut()) {
    fn descend(levels: usize, body: &mut dyn FnMut()) {
        let frame = std::hint::black_box([levels as u8; 16 << 10]);
        if levels == 0 {
            body();
        } else {
            descend(levels - 1, body);
        }
        std::hint::black_box(&frame);
    }
    // An unoptimised frame may hold the array twice.
    descend(if cfg!(debug_assertions) { 45 } else { 80 }, body);
}

#[test]
fn a_stream_on_workers_goes_on_where_little_stack_is_left() {
    watched(|| {
        for threads in [1, 2] {
            for spares in [0, 1] {
                let pool = pool_with(|b| {
                    let b = b.num_threads(threads).spare_threads(spares);
                    b.stack_size(3 << 20)
                });
                let own = pool.clone();
                let consumer = pool.submit(move || {
                    for kind in KINDS {
                        deep_in_the_stack(&mut || {
                            let inner = own.clone();
                            // The item consumes a stream itself, on any thread.
                            let f = move |n: usize| {
                                let set = on_workers(window(2, 1));
                                let all =
                                    stream(&inner, kind, set, 0..n, |m| m, |s| collected(kind, s));
                                all.into_iter().map(Result::unwrap).sum::<usize>()
                            };
                            let settings = on_workers(window(3, 1));
                            let sums =
                                stream(&own, kind, settings, 0..4, f, |s| collected(kind, s));
                            assert!(sums.into_iter().map(Result::unwrap).eq([0, 0, 1, 3]));
                        });
                    }
                });
                consumer.join().unwrap();
            }
        }
    });
}

#[test]
fn a_stream_on_workers_is_consumed_while_the_consumer_unwinds() {
    struct Consumes(ThreadPool, Kind, Arc<AtomicUsize>);
    impl Drop for Consumes {
        fn drop(&mut self) {
            assert!(thread::panicking());
            let f = |n: usize| {
                assert!(!thread::panicking());
                n
            };
            let Consumes(pool, kind, sum) = self;
            let results = stream(pool, *kind, on_workers(window(3, 1)), 0..10, f, |s| {
                collected(*kind, s)
            });
            let all: usize = results.into_iter().map(Result::unwrap).sum();
            sum.fetch_add(all, Ordering::Relaxed);
        }
    }
    watched(|| {
        for size in [1, 2] {
            let pool = pool_with(|b| b.num_threads(size).spare_threads(0));
            for kind in KINDS {
                let sum = Arc::new(AtomicUsize::new(0));
                let consumes = Consumes(pool.clone(), kind, Arc::clone(&sum));
                let error = pool.submit(move || {
                    let _consumes = consumes;
                    panic!("in the task")
                });
                let error: JoinError = error.join().map(|never: ()| never).unwrap_err();
                assert_eq!(payload_text(&*error.into_panic()), "in the task");
                assert_eq!(sum.load(Ordering::Relaxed), 45);
            }
        }
    });
}

#[test]
fn a_panic_of_an_item_on_workers_is_its_error() {
    watched(|| {
        let pool = hooked(|b| b);
        for kind in KINDS {
            for chunk in [1, 4] {
                let f = |n: usize| assert!(n % 5 != 2, "no {n}");
                let set = on_workers(window(8, chunk));
                let results = stream(&pool, kind, set, 0..30, f, |s| collected(kind, s));
                for (n, result) in results.into_iter().enumerate() {
                    assert_eq!(result.is_err_and(|error| error.is_panic()), n % 5 == 2);
                }
            }
        }
    });
}

#[test]
fn a_stream_on_workers_times_out_and_is_dropped_like_any_other() {
    watched(|| {
        let pool = hooked(|b| b);
        for kind in KINDS {
            let held = hold_all(&pool);
            let ledger = Ledger::new(20);
            let settings = on_workers(timeout(SOON));
            stream(&pool, kind, settings, ledger.tickets(), drop, |mut s| {
                assert!(s.next().unwrap().1.is_err_and(|error| error.is_timeout()));
                assert!(s.next().is_none() && s.has_timed_out());
            });
            held.open();
            let settings = on_workers(window(3, 1));
            stream(
                &pool,
                kind,
                settings,
                0..,
                |n: usize| n,
                |mut s| {
                    s.next().unwrap().1.unwrap();
                },
            );
            settle(&pool);
            assert_eq!(ledger.dropped(), 20);
            ledger.assert_settled();
        }
    });
}

/// Items of a scope run on the consumer once the threads have ended. Items of the pool are refused.
#[test]
fn a_stream_on_workers_hangs_in_no_shutdown() {
    watched(|| {
        for kind in KINDS {
            for now in [false, true] {
                for before in [0, 10] {
                    let pool = pool_with(|b| b);
                    let settings = on_workers(window(6, 1));
                    stream(
                        &pool,
                        kind,
                        settings,
                        0..60,
                        |n| n,
                        |mut s| {
                            for _ in 0..before {
                                s.next().unwrap().1.unwrap();
                            }
                            thread::scope(|threads| {
                                threads.spawn(|| match now {
                                    true => drop(pool.shutdown_now()),
                                    false => pool.shutdown(),
                                });
                                // The pool is closing.
                                for (index, result) in s {
                                    match result {
                                        Ok(n) => assert_eq!(n, index),
                                        Err(error) => {
                                            assert!(error.is_cancelled() && !kind.is_scoped());
                                        }
                                    }
                                }
                            });
                        },
                    );
                    let stats = pool.stats();
                    let ended = stats.completed + stats.failed + stats.cancelled;
                    assert_eq!((stats.submitted, ended), (60, 60));
                }
            }
        }
    });
}

/// Each pool needs a thread of the other, and a spare that stands in for its own.
#[test]
fn two_pools_consume_each_others_streams_on_workers() {
    watched(|| {
        for kind in KINDS {
            let pools = [0, 1].map(|_| pool_with(|b| b.num_threads(1).spare_threads(1)));
            let consumers: Vec<_> = [0, 1]
                .map(|n| {
                    let other = pools[1 - n].clone();
                    pools[n].submit(move || {
                        let set = on_workers(window(3, 1));
                        let results =
                            stream(&other, kind, set, 0..50, |n| n, |s| collected(kind, s));
                        results.into_iter().map(Result::unwrap).sum::<usize>()
                    })
                })
                .into();
            for consumer in consumers {
                assert_eq!(consumer.join().unwrap(), 1225);
            }
        }
    });
}

/// Checks that the first result is that of the item that is not held at the gate, which opens afterwards.
fn first_is_given_out(pool: &ThreadPool, kind: Kind, settings: Settings, quick: usize, len: usize) {
    let held = Held(Gate::default());
    let gate = held.0.clone();
    let f = move |n| {
        if n != quick {
            gate.pass();
        }
        n
    };
    stream(pool, kind, settings, 0..len, f, |mut s| {
        assert_eq!(s.next().unwrap().0, quick, "{kind:?}");
        held.open();
        assert_eq!(s.count(), len - 1);
    });
}

#[test]
fn inside_a_task_the_first_item_that_finishes_is_given_out_first() {
    watched(|| {
        let inside = |pool: &ThreadPool, kind, set, quick, len| {
            let own = pool.clone();
            let task = move || first_is_given_out(&own, kind, set, quick, len);
            pool.submit(task).join().unwrap();
        };
        for kind in [Kind::Unordered, Kind::ScopedUnordered] {
            for set in [Settings::default(), on_workers(Settings::default())] {
                for quick in 0..2 {
                    // A spare, another worker, or both take the items that the consumer leaves.
                    for pool in [
                        pool_with(|b| b.num_threads(1)),
                        pool_with(|b| b.num_threads(2).spare_threads(0)),
                        pool_with(|b| b.num_threads(2)),
                    ] {
                        inside(&pool, kind, set, quick, 2);
                    }
                }
                let pool = pool_with(|b| b.num_threads(4));
                for quick in 0..4 {
                    inside(&pool, kind, set, quick, 4);
                }
            }
        }
    });
}

#[test]
fn on_workers_the_first_item_that_finishes_is_given_out_first_to_a_consumer_from_outside() {
    watched(|| {
        for kind in [Kind::Unordered, Kind::ScopedUnordered] {
            let pool = pool_with(|b| b.num_threads(3));
            for quick in 0..3 {
                first_is_given_out(&pool, kind, on_workers(window(3, 1)), quick, 3);
            }
        }
    });
}

/// All other threads that could run the items wait for a lock that the consumer holds.
#[test]
fn an_unordered_stream_goes_on_though_all_other_threads_want_its_consumers_lock() {
    watched(|| {
        for kind in [Kind::Unordered, Kind::ScopedUnordered] {
            for spares in [0, 2] {
                let pool = pool_with(|b| b.num_threads(2).spare_threads(spares));
                let (own, lock) = (pool.clone(), Arc::new(Mutex::new(())));
                let consumer = pool.submit(move || {
                    let guard = lock.lock().unwrap();
                    for _ in 0..10 {
                        let mutex = Arc::clone(&lock);
                        own.spawn(move || drop(mutex.lock().unwrap()));
                    }
                    let set = window(3, 1);
                    let results = stream(&own, kind, set, 0..20, |n| n, |s| collected(kind, s));
                    drop(guard);
                    results.len()
                });
                assert_eq!(consumer.join().unwrap(), 20);
                pool.wait_idle();
            }
        }
    });
}
