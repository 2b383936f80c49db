//! How streams end: by a time limit, a drop or a shutdown. Items and results are dropped once.

use crate::support::{
    Gate, Held, KINDS, Kind, LONG, Ledger, SOON, Settings, Ticket, hold_all, on_pool, on_pool_of,
    pool_with, settle, spin_until, stream, threads, timeout, watched, window,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn a_timeout_ends_with_one_error_and_cancels_the_rest() {
    on_pool(|pool| {
        for kind in KINDS {
            for limit in [Duration::ZERO, SOON] {
                let held = hold_all(pool);
                let ledger = Ledger::new(100);
                let before = pool.stats().cancelled;
                let settings = Settings {
                    window: Some(5),
                    ..timeout(limit)
                };
                stream(pool, kind, settings, ledger.tickets(), drop, |mut s| {
                    assert!(!s.has_timed_out());
                    let error = s.next().unwrap().1.unwrap_err();
                    assert!(error.is_timeout() && !error.is_panic(), "{kind:?}: {error}");
                    assert!(s.has_timed_out());
                    assert!(s.next().is_none() && s.next().is_none());
                    assert!(s.has_timed_out());
                    let cancelled = pool.stats().cancelled - before;
                    assert!((1..=5).contains(&cancelled), "{kind:?}: {cancelled}");
                    // The whole window may have run, if there was time to fill it.
                    assert!(limit.is_zero() || cancelled == 5, "{kind:?}: {cancelled}");
                    assert_eq!(ledger.dropped() as u64, cancelled, "closures are gone");
                });
                held.open();
                pool.wait_idle();
                assert_eq!(ledger.dropped(), 100);
                ledger.assert_settled();
            }
        }
    });
}

#[test]
fn a_timeout_passes_while_an_item_runs() {
    on_pool(|pool| {
        for kind in KINDS {
            let held = Held(Gate::default());
            let gate = held.0.clone();
            let ledger = Ledger::new(3);
            let f = move |ticket: Ticket| {
                gate.pass();
                ticket
            };
            let tickets = ledger.tickets();
            stream(pool, kind, timeout(SOON), tickets, f, |mut s| {
                assert!(s.next().unwrap().1.is_err_and(|error| error.is_timeout()));
                assert!(s.next().is_none() && s.has_timed_out());
                held.open();
            });
            pool.wait_idle();
            spin_until(|| ledger.dropped() == 3);
            ledger.assert_settled();
        }
    });
}

#[test]
fn a_stream_that_ends_in_time_has_not_timed_out() {
    on_pool(|pool| {
        for kind in KINDS {
            for limit in [LONG, Duration::MAX] {
                stream(
                    pool,
                    kind,
                    timeout(limit),
                    0..20,
                    |n| n,
                    |mut s| {
                        for _ in 0..20 {
                            s.next().unwrap().1.unwrap();
                        }
                        assert!(s.next().is_none() && !s.has_timed_out());
                    },
                );
            }
        }
    });
}

#[test]
fn a_timeout_ends_an_endless_stream_whose_results_are_always_there() {
    // A scope's body counts as a guest.
    on_pool_of(threads().max(2), |pool| {
        for kind in KINDS {
            let settings = Settings {
                window: Some(4),
                ..timeout(SOON)
            };
            stream(
                pool,
                kind,
                settings,
                0_u64..,
                |n| n,
                |mut s| {
                    let start = std::time::Instant::now();
                    for (_, result) in &mut s {
                        if let Err(error) = result {
                            assert!(error.is_timeout(), "{error}");
                            break;
                        }
                        // The next result must be available before the consumer asks for it.
                        settle(pool);
                        assert!(start.elapsed() < 100 * SOON, "{kind:?} goes on");
                    }
                    assert!(s.next().is_none() && s.has_timed_out());
                },
            );
        }
    });
}

#[test]
fn a_drop_cancels_what_has_not_begun() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 3] {
                let held = hold_all(pool);
                let ran = Arc::new(AtomicUsize::new(0));
                let count = Arc::clone(&ran);
                let ledger = Ledger::new(50);
                let (before, seen) = (pool.stats().cancelled, ledger.clone());
                let f = move |ticket: Ticket| {
                    count.fetch_add(1, Ordering::Relaxed);
                    ticket
                };
                let settings = window(9, chunk);
                stream(pool, kind, settings, ledger.tickets(), f, move |mut s| {
                    // The consumer runs the item, since all workers are held.
                    drop(s.next().unwrap().1.unwrap());
                    assert_eq!(seen.dropped(), 1);
                    drop(s);
                    // The input and the window are dropped at once.
                    assert_eq!(seen.dropped(), 50, "{kind:?}");
                });
                held.open();
                pool.wait_idle();
                assert_eq!(ran.load(Ordering::Relaxed), chunk);
                let cancelled = pool.stats().cancelled - before;
                assert!(cancelled > 0, "{kind:?}");
                if chunk == 1 {
                    assert_eq!(cancelled, 8, "{kind:?}");
                }
                ledger.assert_settled();
            }
        }
    });
}

#[test]
fn a_drop_lets_what_has_begun_end() {
    // A scope's body counts as a guest.
    on_pool_of(threads().max(2), |pool| {
        for kind in KINDS {
            let held = Held(Gate::default());
            let gate = held.0.clone();
            let begun = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&begun);
            let ledger = Ledger::new(5);
            let tickets = ledger.tickets();
            let f = move |ticket: Ticket| {
                if ticket.index() == 1 {
                    count.fetch_add(1, Ordering::Release);
                    gate.pass();
                }
                ticket
            };
            let input = tickets.into_iter().inspect(|ticket| {
                if ticket.index() == 2 {
                    spin_until(|| begun.load(Ordering::Acquire) == 1);
                }
            });
            stream(pool, kind, window(3, 1), input, f, |mut s| {
                // Item 1 may have begun in the first call or in this one.
                drop(s.next().unwrap().1.unwrap());
                drop(s);
                held.open();
            });
            pool.wait_idle();
            spin_until(|| ledger.dropped() == 5);
            ledger.assert_settled();
        }
    });
}

#[test]
fn items_and_results_are_dropped_once_wherever_the_stream_ends() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 4] {
                for taken in [0, 1, 5, 39, 40] {
                    let (items, results) = (Ledger::new(40), Ledger::new(40));
                    let book = results.clone();
                    let f = move |item: Ticket| {
                        let result = book.ticket(item.index());
                        assert!(item.index() % 7 != 3, "with both");
                        result
                    };
                    let tickets = items.tickets();
                    stream(pool, kind, window(8, chunk), tickets, f, |s| {
                        assert_eq!(s.take(taken).count(), taken);
                    });
                    pool.wait_idle();
                    spin_until(|| items.dropped() == 40 && results.dropped() == results.made());
                    items.assert_settled();
                    results.assert_settled();
                }
            }
        }
    });
}

#[test]
fn neither_item_nor_result_is_kept_after_it_was_given_out() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 3] {
                let captured = Arc::new(());
                let kept = Arc::clone(&captured);
                let f = move |item: Arc<usize>| {
                    let _kept = &kept;
                    (Arc::downgrade(&item), Arc::new(*item))
                };
                let input = (0..40).map(Arc::new);
                stream(pool, kind, window(6, chunk), input, f, |s| {
                    for (_, result) in s {
                        let (item, result) = result.unwrap();
                        assert_eq!(item.strong_count(), 0, "{kind:?}");
                        assert_eq!(Arc::strong_count(&result), 1, "{kind:?}");
                    }
                });
                pool.wait_idle();
                spin_until(|| Arc::strong_count(&captured) == 1);
            }
        }
    });
}

#[test]
fn a_shutdown_refuses_what_the_stream_pulls_on() {
    watched(|| {
        for kind in [Kind::Ordered, Kind::Unordered] {
            for now in [false, true] {
                for chunk in [1, 3] {
                    let pool = pool_with(|b| b);
                    let ledger = Ledger::new(60);
                    let settings = window(6, chunk);
                    let tickets = ledger.tickets();
                    let (mut ok, mut refused) = (0, 0);
                    stream(
                        &pool,
                        kind,
                        settings,
                        tickets,
                        |t| t,
                        |mut s| {
                            for _ in 0..10 {
                                s.next().unwrap().1.unwrap();
                            }
                            if now {
                                pool.shutdown_now();
                            } else {
                                pool.shutdown();
                            }
                            for (_, result) in &mut s {
                                match result {
                                    Ok(_) => ok += 1,
                                    Err(error) => {
                                        assert!(error.is_cancelled(), "{error}");
                                        refused += 1;
                                    }
                                }
                            }
                        },
                    );
                    assert_eq!(ok + refused, 50);
                    assert!(ok <= 6 && refused >= 44, "{ok} ok, {refused} refused");
                    ledger.assert_settled();
                    assert_eq!(ledger.dropped(), 60);
                }
            }
        }
    });
}

#[test]
fn a_shutdown_by_another_thread_while_the_consumer_waits_hangs_nobody() {
    watched(|| {
        for kind in [Kind::Ordered, Kind::Unordered] {
            for now in [false, true] {
                for _ in 0..30 {
                    let pool = pool_with(|b| b);
                    let (own, begun) = (pool.clone(), Arc::new(AtomicUsize::new(0)));
                    let count = Arc::clone(&begun);
                    let other = thread::spawn(move || {
                        spin_until(|| begun.load(Ordering::Acquire) >= 20);
                        if now {
                            own.shutdown_now();
                        } else {
                            own.shutdown();
                        }
                    });
                    let f = move |n: usize| {
                        count.fetch_add(1, Ordering::Release);
                        n
                    };
                    stream(&pool, kind, Settings::default(), 0.., f, |s| {
                        for (index, result) in s {
                            match result {
                                Ok(n) => assert_eq!(n, index),
                                Err(error) => {
                                    assert!(error.is_cancelled());
                                    break;
                                }
                            }
                        }
                    });
                    other.join().unwrap();
                    pool.wait_idle();
                    let stats = pool.stats();
                    let ended = stats.completed + stats.failed + stats.cancelled;
                    assert_eq!(stats.submitted, ended);
                }
            }
        }
    });
}

#[test]
fn a_scopes_stream_completes_after_a_shutdown() {
    watched(|| {
        for kind in KINDS.into_iter().filter(|kind| kind.is_scoped()) {
            for now in [false, true] {
                let pool = pool_with(|b| b);
                stream(
                    &pool,
                    kind,
                    window(6, 1),
                    0..60,
                    |n| n,
                    |mut s| {
                        for _ in 0..10 {
                            s.next().unwrap().1.unwrap();
                        }
                        // The scope's body must not wait for the shutdown, since it counts as a guest.
                        thread::scope(|threads| {
                            threads.spawn(|| match now {
                                true => drop(pool.shutdown_now()),
                                false => pool.shutdown(),
                            });
                        });
                        for _ in 10..60 {
                            s.next().unwrap().1.unwrap();
                        }
                        assert!(s.next().is_none());
                    },
                );
            }
        }
    });
}

#[test]
fn a_stream_keeps_its_pool() {
    watched(|| {
        let pool = pool_with(|b| b);
        let mut ordered = pool.imap(0..10, |n| n);
        drop(pool);
        assert!(ordered.by_ref().map(Result::unwrap).eq(0..10));
        drop(ordered);
    });
}

#[test]
fn an_item_that_panics_on_drop_costs_no_worker() {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0.fetch_add(1, Ordering::Relaxed) % 4 == 3 {
                panic!("on drop");
            }
        }
    }
    on_pool(|pool| {
        for kind in KINDS {
            let dropped = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&dropped);
            let input = (0..20).map(move |_| Bomb(Arc::clone(&count)));
            let errors = stream(pool, kind, window(4, 1), input, drop, |s| {
                s.filter(|(_, result)| result.is_err()).count()
            });
            assert_eq!(errors, 5, "{kind:?}");
            assert_eq!(dropped.load(Ordering::Relaxed), 20);
        }
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
    });
}
