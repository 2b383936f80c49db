//! Streams: `imap` and `imap_unordered`, of the pool and of a scope.

use crate::support::{
    Gate, Held, Ledger, Ticket, hold_all, isolated, on_pool, on_pool_of, panic_of, payload_text,
    pool_with, spin_until, threads, watched,
};
use heist::{JoinError, ThreadPool, WhenFull};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::iter;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordered,
    Unordered,
    ScopedOrdered,
    ScopedUnordered,
}

const KINDS: [Kind; 4] = [
    Kind::Ordered,
    Kind::Unordered,
    Kind::ScopedOrdered,
    Kind::ScopedUnordered,
];

impl Kind {
    fn is_scoped(self) -> bool {
        matches!(self, Kind::ScopedOrdered | Kind::ScopedUnordered)
    }

    fn is_ordered(self) -> bool {
        matches!(self, Kind::Ordered | Kind::ScopedOrdered)
    }
}

/// None: as it comes.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    window: Option<usize>,
    chunk: Option<usize>,
    timeout: Option<Duration>,
}

fn window(window: usize, chunk: usize) -> Settings {
    Settings {
        window: Some(window),
        chunk: Some(chunk),
        timeout: None,
    }
}

fn timeout(timeout: Duration) -> Settings {
    Settings {
        timeout: Some(timeout),
        ..Settings::default()
    }
}

/// What a stream is to a test: items with their indices.
trait Stream<R>: Iterator<Item = (usize, Result<R, JoinError>)> {
    fn has_timed_out(&self) -> bool;
    fn debug(&self) -> String;
}

/// Numbers what comes in order.
struct Numbered<'a, R>(heist::Imap<'a, R>, usize);

impl<R> Iterator for Numbered<'_, R> {
    type Item = (usize, Result<R, JoinError>);

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.0.next()?;
        self.1 += 1;
        Some((self.1 - 1, item))
    }
}

impl<R> Stream<R> for Numbered<'_, R> {
    fn has_timed_out(&self) -> bool {
        self.0.timed_out()
    }

    fn debug(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl<R> Stream<R> for heist::ImapUnordered<'_, R> {
    fn has_timed_out(&self) -> bool {
        self.timed_out()
    }

    fn debug(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! set {
    ($stream:expr, $settings:expr) => {{
        let mut stream = $stream;
        if let Some(window) = $settings.window {
            stream = stream.window(window);
        }
        if let Some(chunk) = $settings.chunk {
            stream = stream.chunk(chunk);
        }
        if let Some(timeout) = $settings.timeout {
            stream = stream.timeout(timeout);
        }
        stream
    }};
}

/// What `body` makes of a stream of that kind.
fn stream<I, R, O>(
    pool: &ThreadPool,
    kind: Kind,
    settings: Settings,
    input: I,
    f: impl Fn(I::Item) -> R + Send + Sync + 'static,
    body: impl FnOnce(Box<dyn Stream<R> + '_>) -> O,
) -> O
where
    I: IntoIterator<Item: Send + 'static>,
    R: Send + 'static,
{
    match kind {
        Kind::Ordered => body(Box::new(Numbered(set!(pool.imap(input, f), settings), 0))),
        Kind::Unordered => body(Box::new(set!(pool.imap_unordered(input, f), settings))),
        Kind::ScopedOrdered => {
            pool.scope(|s| body(Box::new(Numbered(set!(s.imap(input, f), settings), 0))))
        }
        Kind::ScopedUnordered => {
            pool.scope(|s| body(Box::new(set!(s.imap_unordered(input, f), settings))))
        }
    }
}

/// All results, by index.
fn collected<R>(kind: Kind, stream: Box<dyn Stream<R> + '_>) -> Vec<Result<R, JoinError>> {
    let mut all: Vec<_> = stream.collect();
    if !kind.is_ordered() {
        all.sort_by_key(|(index, _)| *index);
    }
    assert!(all.iter().map(|(index, _)| *index).eq(0..all.len()));
    all.into_iter().map(|(_, result)| result).collect()
}

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

/// Neither it nor what it has is `Send`.
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
                        // The consumer runs it itself.
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
    // A scope's body keeps its seat as a guest.
    on_pool_of(threads().max(2), |pool| {
        for kind in [Kind::Unordered, Kind::ScopedUnordered] {
            let held = Held(Gate::default());
            let (gate, begun) = (held.0.clone(), Arc::new(AtomicBool::new(false)));
            let seen = Arc::clone(&begun);
            // A worker has begun the first one before there is a second.
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

/// Exact totals of a stream of ten, of which one panics.
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
                        // What was pulled before comes still, and then it ends.
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
                    // Or the whole window, if there was time to fill it.
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
    // A scope's body keeps its seat as a guest.
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
                        // So that the next result has come before it is asked for.
                        settle(pool);
                        assert!(start.elapsed() < 100 * SOON, "{kind:?} goes on");
                    }
                    assert!(s.next().is_none() && s.has_timed_out());
                },
            );
        }
    });
}

/// All that was submitted has ended. (`wait_idle` is not for a scope's body.)
fn settle(pool: &ThreadPool) {
    spin_until(|| {
        let stats = pool.stats();
        stats.submitted == stats.completed + stats.failed + stats.cancelled
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
                    // Run by the consumer, for all workers stand.
                    drop(s.next().unwrap().1.unwrap());
                    assert_eq!(seen.dropped(), 1);
                    drop(s);
                    // Input and window, at once.
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
    // A scope's body keeps its seat as a guest.
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
                // Nobody may run an item; then the time passes.
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
fn a_stream_feeds_a_stream() {
    for size in [1, threads()] {
        on_pool_of(size, |pool| {
            let first = pool.imap(0..200_u64, |n| n + 1).map(Result::unwrap);
            let second = pool.imap(first, |n| n * 2).window(3).map(Result::unwrap);
            let third = pool.imap_unordered(second, |n| n).chunk(4);
            let sum: u64 = third.map(|(_, n)| n.unwrap()).sum();
            assert_eq!(sum, 200 * 201);
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
                        // The body may not: it is inside.
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

/// The pool rejects what others submit, and the stream waits for their tasks.
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

/// Its items need no worker while there is something under way.
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

/// How many values are alive, and the most there were.
#[derive(Default)]
struct Census {
    alive: AtomicUsize,
    most: AtomicUsize,
}

struct Citizen(Arc<Census>);

impl Citizen {
    fn new(census: &Arc<Census>) -> Citizen {
        let alive = census.alive.fetch_add(1, Ordering::Relaxed) + 1;
        census.most.fetch_max(alive, Ordering::Relaxed);
        Citizen(Arc::clone(census))
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How much memory this process has in use, in kB. 0: unknown.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

fn constant_memory(kind: Kind, items: usize) {
    let items = match std::env::var_os("HEIST_TEST_LONG") {
        Some(_) => 10 * items,
        None => items,
    };
    let pool = pool_with(|b| b.num_threads(1));
    let own = pool.clone();
    let consumer = pool.submit(move || {
        let census = Arc::new(Census::default());
        let book = Arc::clone(&census);
        let input = (0..items).map(move |_| Citizen::new(&book));
        let mut after_warm_up = 0;
        let count = stream(
            &own,
            kind,
            window(8, 1),
            input,
            |citizen| citizen,
            |s| {
                let mut count = 0;
                for (_, result) in s {
                    drop(result.unwrap());
                    count += 1;
                    if count == items / 10 {
                        after_warm_up = resident();
                    }
                }
                count
            },
        );
        assert_eq!(count, items);
        assert_eq!(census.alive.load(Ordering::Relaxed), 0);
        let most = census.most.load(Ordering::Relaxed);
        assert!(most <= 8, "{most} items alive");
        let grown = resident().saturating_sub(after_warm_up);
        assert!(
            grown < 4096,
            "{kind:?}: {grown} kB more after {items} items"
        );
    });
    consumer.join().unwrap();
}

#[test]
fn a_million_items_take_constant_memory_on_the_one_worker() {
    let name = "streams::a_million_items_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_memory(Kind::Ordered, 1_000_000));
}

#[test]
fn many_unordered_items_take_constant_memory_on_the_one_worker() {
    let name = "streams::many_unordered_items_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_memory(Kind::Unordered, 200_000));
}

#[test]
fn many_items_of_a_scope_take_constant_memory_on_the_one_worker() {
    let name = "streams::many_items_of_a_scope_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_memory(Kind::ScopedOrdered, 200_000));
}

#[test]
fn many_unordered_items_of_a_scope_take_constant_memory_on_the_one_worker() {
    let name = "streams::many_unordered_items_of_a_scope_take_constant_memory_on_the_one_worker";
    isolated(name, || constant_memory(Kind::ScopedUnordered, 200_000));
}

/// How much more memory is in use after `items` rounds than after the first tenth of them.
fn growth(items: usize, mut round: impl FnMut(usize)) -> usize {
    let mut after_warm_up = 0;
    for n in 0..items {
        if n == items / 10 {
            after_warm_up = resident();
        }
        round(n);
    }
    resident().saturating_sub(after_warm_up)
}

/// No worker comes by to take the blocks of what the consumer has run itself out of the queue.
#[test]
fn a_consumer_beside_blocked_workers_takes_constant_memory() {
    let name = "streams::a_consumer_beside_blocked_workers_takes_constant_memory";
    isolated(name, || {
        let pool = pool_with(|b| b.spare_threads(0));
        let held = hold_all(&pool);
        // It stays in the queue, and in front of it all.
        let first = pool.submit(|| 7);
        for kind in [Kind::Ordered, Kind::Unordered] {
            let input = 0..300_000_usize;
            let mut grown = 0;
            let set = window(8, 1);
            stream(
                &pool,
                kind,
                set,
                input,
                |n| n,
                |mut s| {
                    grown = growth(300_000, |_| assert!(s.next().unwrap().1.is_ok()));
                    assert!(s.next().is_none());
                },
            );
            assert!(grown < 4096, "{kind:?}: {grown} kB more");
        }
        let grown = growth(300_000, |n| assert!(pool.submit(move || n).cancel()));
        assert!(grown < 4096, "cancelled: {grown} kB more");
        assert!(pool.stats().queued <= 1);
        held.open();
        assert_eq!(first.join().unwrap(), 7);
    });
}

/// Results that are there before they are asked for, behind one that is not.
#[test]
fn a_slow_first_item_costs_no_memory_for_each_that_passes_it() {
    let name = "streams::a_slow_first_item_costs_no_memory_for_each_that_passes_it";
    isolated(name, || {
        let pool = pool_with(|b| b.num_threads(2));
        let held = Held(Gate::default());
        let (gate, begun) = (held.0.clone(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&begun);
        let items = 200_000;
        let input = (0..items).inspect(|&n| {
            if n == 1 {
                spin_until(|| begun.load(Ordering::Acquire));
            }
        });
        let f = move |n| {
            if n == 0 {
                seen.store(true, Ordering::Release);
                gate.pass();
            }
        };
        let mut results = pool.imap_unordered(input, f).window(16);
        let mut after_warm_up = 0;
        for count in 1..items {
            results.next().unwrap().1.unwrap();
            if count == items / 10 {
                after_warm_up = resident();
            }
        }
        let grown = resident().saturating_sub(after_warm_up);
        assert!(grown < 16_384, "{grown} kB more");
        held.open();
        assert_eq!(results.next().unwrap().0, 0);
        assert!(results.next().is_none());
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
