//! Streams: every result comes once, in the promised order, and no more is pulled than the window holds.

use crate::support::{
    Gate, Held, KINDS, Kind, Ledger, Settings, Ticket, collected, hold_all, on_pool, on_pool_of,
    panic_of, payload_text, spin_until, stream, threads, window,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{iter, thread};

#[test]
fn every_result_comes_once_with_its_index() {
    on_pool(|pool| {
        let settings = [(1, 1), (4, 1), (7, 3), (2, 5), (1, 9), (100, 1), (9, 9)]
            .map(|(items, chunk)| window(items, chunk));
        for kind in KINDS {
            for settings in settings.into_iter().chain([Settings::default()]) {
                for len in [0_u64, 1, 2, 3, 9, 10, 57] {
                    let results = stream(
                        pool,
                        kind,
                        settings,
                        0..len,
                        |n| n * n,
                        |s| collected(kind, s),
                    );
                    let values: Vec<_> = results.into_iter().map(Result::unwrap).collect();
                    let expected: Vec<_> = (0..len).map(|n| n * n).collect();
                    assert_eq!(values, expected, "{kind:?} {settings:?}");
                }
            }
        }
    });
}

#[test]
fn a_stream_that_has_ended_stays_ended() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 3] {
                let input = [1, 2, 3, 4];
                stream(pool, kind, window(6, chunk), input, drop, |mut s| {
                    assert_eq!(s.by_ref().count(), 4);
                    for _ in 0..3 {
                        assert!(s.next().is_none());
                    }
                    assert!(!s.has_timed_out());
                });
            }
        }
    });
}

#[test]
fn the_input_is_not_asked_again_after_its_end() {
    on_pool(|pool| {
        for kind in KINDS {
            for (len, chunk) in [(4, 1), (4, 3), (6, 3), (1, 5), (0, 2)] {
                let (mut left, mut ended) = (len, false);
                let input = iter::from_fn(|| {
                    assert!(!ended, "{kind:?}: asked again, {len} by {chunk}");
                    ended = left == 0;
                    left -= usize::from(!ended);
                    (!ended).then_some(left)
                });
                let count = stream(
                    pool,
                    kind,
                    window(6, chunk),
                    input,
                    |n| n,
                    |mut s| {
                        let count = s.by_ref().count();
                        assert!(s.next().is_none());
                        count
                    },
                );
                assert_eq!(count, len);
            }
        }
    });
}

#[test]
fn nothing_is_pulled_or_run_before_the_first_next() {
    on_pool(|pool| {
        for kind in KINDS {
            let pulled = Cell::new(0);
            let before = pool.stats().submitted;
            let input = (0..10).inspect(|_| pulled.set(pulled.get() + 1));
            stream(
                pool,
                kind,
                window(4, 1),
                input,
                |n| n,
                |mut s| {
                    assert_eq!(pulled.get(), 0);
                    s.next().unwrap().1.unwrap();
                    assert!((1..=4).contains(&pulled.get()), "{}", pulled.get());
                    drop(s);
                },
            );
            assert!(pulled.get() <= 4);
            let submitted = pool.stats().submitted - before;
            assert_eq!(submitted, pulled.get(), "{kind:?}");
            let endless = input_of_rcs();
            stream(pool, kind, Settings::default(), endless, drop, |s| drop(s));
            assert_eq!(pool.stats().submitted - before, submitted);
        }
    });
}

/// An input that is not `Send`, and holds what is not `Send`.
fn input_of_rcs() -> impl Iterator<Item = usize> {
    let shared = Rc::new(RefCell::new(0));
    iter::repeat_with(move || {
        *shared.borrow_mut() += 1;
        Rc::strong_count(&shared) + *shared.borrow()
    })
}

#[test]
fn the_input_is_pulled_on_the_consumers_thread_and_may_be_infinite_and_not_send() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 3] {
                let consumer = thread::current().id();
                let input =
                    input_of_rcs().inspect(|_| assert_eq!(thread::current().id(), consumer));
                stream(
                    pool,
                    kind,
                    window(7, chunk),
                    input,
                    |n| n,
                    |s| {
                        for (_, result) in s.take(500) {
                            assert!(result.unwrap() >= 2);
                        }
                    },
                );
            }
        }
    });
}

#[test]
fn no_more_than_the_window_is_pulled_and_not_given_out() {
    on_pool(|pool| {
        for kind in KINDS {
            let default = 4 * pool.num_threads();
            for (settings, limit) in [
                (window(1, 1), 1),
                (window(3, 1), 3),
                (window(8, 3), 8),
                (window(3, 3), 3),
                (window(2, 7), 2),
                (window(0, 0), 1),
                (Settings::default(), default),
            ] {
                let (alive, most) = (Cell::new(0), Cell::new(0));
                let input = (0..200).inspect(|_| {
                    alive.set(alive.get() + 1);
                    most.set(most.get().max(alive.get()));
                });
                stream(
                    pool,
                    kind,
                    settings,
                    input,
                    |n| n,
                    |s| {
                        for (_, result) in s {
                            result.unwrap();
                            alive.set(alive.get() - 1);
                        }
                    },
                );
                assert_eq!(alive.get(), 0);
                assert!(
                    (1..=limit).contains(&most.get()),
                    "{kind:?} {settings:?}: {} alive",
                    most.get()
                );
            }
        }
    });
}

#[test]
fn the_window_is_filled_while_the_first_result_is_missing() {
    on_pool(|pool| {
        for kind in KINDS {
            for (settings, expected) in [
                (window(5, 1), 5),
                (window(7, 3), 6),
                (Settings::default(), 4 * pool.num_threads()),
            ] {
                let held = hold_all(pool);
                let pulled = Cell::new(0);
                let input = (0..).inspect(|_| pulled.set(pulled.get() + 1));
                stream(
                    pool,
                    kind,
                    settings,
                    input,
                    |n: usize| n,
                    |mut s| {
                        // The consumer runs the item itself.
                        assert_eq!(s.next().unwrap().1.unwrap(), 0);
                        assert_eq!(pulled.get(), expected, "{kind:?} {settings:?}");
                        assert!(!s.debug().is_empty());
                    },
                );
                drop(held);
            }
        }
    });
}

#[test]
fn a_slow_item_does_not_keep_the_others_back_if_order_does_not_matter() {
    // A scope's body counts as a guest.
    on_pool_of(threads().max(2), |pool| {
        for kind in [Kind::Unordered, Kind::ScopedUnordered] {
            let held = Held(Gate::default());
            let (gate, begun) = (held.0.clone(), Arc::new(AtomicBool::new(false)));
            let seen = Arc::clone(&begun);
            // A worker begins the first item before there is a second one.
            let input = (0..20).inspect(|&n| {
                if n == 1 {
                    spin_until(|| begun.load(Ordering::Acquire));
                }
            });
            let f = move |n| {
                if n == 0 {
                    seen.store(true, Ordering::Release);
                    gate.pass();
                }
                n
            };
            stream(pool, kind, window(4, 1), input, f, |mut s| {
                for _ in 1..20 {
                    assert_ne!(s.next().unwrap().0, 0, "{kind:?}");
                }
                held.open();
                assert_eq!(s.next().unwrap().0, 0);
                assert!(s.next().is_none());
            });
        }
    });
}

#[test]
fn a_panic_is_the_error_of_its_item_and_the_next_ones_follow() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 3, 30] {
                let f = |n: usize| {
                    assert!(n % 5 != 2, "no {n}");
                    n
                };
                let results = stream(pool, kind, window(7, chunk), 0..30, f, |s| {
                    collected(kind, s)
                });
                assert_eq!(results.len(), 30);
                for (n, result) in results.into_iter().enumerate() {
                    match result {
                        Ok(value) => assert!(value == n && n % 5 != 2),
                        Err(error) => {
                            assert!(error.is_panic() && n % 5 == 2, "{kind:?} {n}: {error}");
                            assert!(error.to_string().ends_with(&format!("no {n}")));
                            assert_eq!(payload_text(&*error.into_panic()), format!("no {n}"));
                        }
                    }
                }
            }
        }
        assert_eq!(pool.stats().lost_panics, 0);
    });
}

/// Checks the exact totals of a stream of ten items, of which one panics.
fn totals(chunk: usize) {
    on_pool(move |pool| {
        for kind in KINDS {
            let before = pool.stats();
            let f = |n| assert!(n != 4, "four");
            let errors = stream(pool, kind, window(6, chunk), 0..10, f, |s| {
                s.filter(|(_, result)| result.is_err()).count()
            });
            assert_eq!(errors, 1);
            pool.wait_idle();
            let after = pool.stats();
            let counts = [
                after.submitted - before.submitted,
                after.completed - before.completed,
                after.failed - before.failed,
                after.cancelled - before.cancelled,
            ];
            assert_eq!(counts, [10, 9, 1, 0], "{kind:?}");
        }
    });
}

#[test]
fn the_totals_count_items() {
    totals(1);
}

#[test]
fn the_totals_count_items_in_chunks_too() {
    totals(3);
}

#[test]
fn an_input_that_panics_panics_at_the_consumer_and_leaves_a_sound_stream() {
    on_pool(|pool| {
        for kind in KINDS {
            for chunk in [1, 3] {
                let ledger = Ledger::new(8);
                let book = ledger.clone();
                let input = (0..8).map(move |n| {
                    assert!(n != 5, "in the input");
                    book.ticket(n)
                });
                stream(
                    pool,
                    kind,
                    window(3, chunk),
                    input,
                    |t: Ticket| t,
                    |mut s| {
                        let mut given = 0;
                        let text = panic_of(|| {
                            for (index, result) in &mut s {
                                assert_eq!(result.unwrap().index(), index);
                                given += 1;
                            }
                        });
                        assert_eq!(text, "in the input");
                        // The results of items that were pulled before still come. Then the stream ends.
                        for (index, result) in &mut s {
                            assert_eq!(result.unwrap().index(), index);
                            given += 1;
                        }
                        let whole = 5 - 5 % chunk;
                        assert_eq!(given, whole, "{kind:?} {chunk}");
                        assert!(s.next().is_none());
                    },
                );
                pool.wait_idle();
                spin_until(|| ledger.dropped() == ledger.made());
                ledger.assert_settled();
            }
        }
    });
}
